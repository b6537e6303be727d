"""An SAE that reads or writes several sites: what transcoders and crosscoders share."""

from __future__ import annotations

import torch
from sae_kernels import sparse_decode

from sae_core.code import SparseCode
from sae_core.config import SaeConfig
from sae_core.plain import PlainSae
from sae_core.sae import Sae


class SitesSae(Sae):
    """Codes of the sites it reads, and reconstructions of the sites it writes.

    The activations of several sites stand side by side: site l has columns of its own, d_l of
    them. A training batch x (n, Σ d_l) holds every site; `encode` needs those that are read, which
    come first; `decode` gives those that are written, side by side, in raw units.
    Inside, each site is scaled by its own number s_l with E‖s_l x^l‖² = d_l, and b_dec is not
    subtracted before encoding: z = Σ_l W_enc^l s_l x^l + b_enc, s_l x̂^l = Σ_i a_i d_i^l + b_dec^l.
    A code's values are a / s of the first site that is written.
    Buffers: `input_scale` and `output_scale`, s_l for each column that is read and written.
    """

    subtracts_bias = False
    not_plain = "it reads and writes several sites side by side, each in a unit of its own"

    def __init__(
        self, config: SaeConfig, *, widths: tuple[int, ...], n_read: int, first_written: int
    ) -> None:
        read, written = sum(widths[:n_read]), sum(widths[first_written:])
        super().__init__(config, width=read, written_width=written)
        self._widths, self._n_read, self._first_written = widths, n_read, first_written
        self.register_buffer("input_scale", torch.ones(read))
        self.register_buffer("output_scale", torch.ones(written))

    @property
    def widths(self) -> tuple[int, ...]:
        """d of each site of a training batch."""
        return self._widths

    @property
    def reads(self) -> range:
        """Which of the sites are encoded."""
        return range(self._n_read)

    @property
    def writes(self) -> range:
        """Which of the sites are reconstructed."""
        return range(self._first_written, len(self._widths))

    @property
    def written_scale(self) -> torch.Tensor:
        """s of each column that is written, (d,)."""
        return self.output_scale

    @property
    def unit(self) -> torch.Tensor:
        """s of the first site that is written, 0-d: a code's values are a / s."""
        return self.output_scale[0]

    def scaled(self, x: torch.Tensor) -> torch.Tensor:
        """s x of the sites that are read (n, d), of their columns or of a whole training batch."""
        return super().scaled(x[:, : self.W_enc.shape[1]] if x.ndim == 2 else x)

    def scaled_target(self, x: torch.Tensor) -> torch.Tensor:
        """s x of the sites that are written (n, d), of a whole training batch."""
        columns = x[:, -self.width :].to(self.W_enc.dtype)
        return (columns * self.output_scale).contiguous()

    def centred(self, x: torch.Tensor) -> torch.Tensor:
        """What the encoder sees: s x, as nothing is subtracted."""
        return self.scaled(x)

    def training_bias(self) -> torch.Tensor:
        """b_enc: nothing reaches b_dec through the encoder."""
        return self.b_enc

    def norms_of_sites(self) -> torch.Tensor:
        """‖d_i^l‖ of each latent at each written site (f, written sites), in scaled units."""
        parts = self.W_dec.split([self._widths[i] for i in self.writes], 1)
        return torch.stack([torch.linalg.vector_norm(part, dim=1) for part in parts], 1)

    @torch.no_grad()
    def plain(self) -> PlainSae | None:
        """The same as plain data in raw units, of one site read and one written; else None."""
        rule = self.rule()
        if rule is None or len(self.reads) > 1 or len(self.writes) > 1:
            return None
        W_enc = self.W_enc.detach() * (self.input_scale / self.unit)
        b_enc, b_dec = (bias.detach() / self.unit for bias in (self.b_enc, self.b_dec))
        maps = (W_enc, b_enc, self.W_dec.detach().clone(), b_dec)
        return PlainSae(*maps, rule, centred=False)

    def decode(self, code: SparseCode) -> torch.Tensor:
        """Reconstructions (n, d) of a code, sites side by side, without a skip's part."""
        values = code.values * self.unit
        return sparse_decode(code.indices, values, self.W_dec, self.b_dec) / self.output_scale
