"""How deep, wide and large a language model is, read from its config: no weights, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import SiteError, StudyError, UserError
from pipeline.study.names import Site, Source
from pipeline.study.variants import SITE_KINDS

if TYPE_CHECKING:
    from pipeline.study.config import ModelConfig

_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_WIDTH = ("hidden_size", "n_embd", "d_model", "dim")
_INNER = ("intermediate_size", "n_inner", "ffn_dim", "d_ff")
_POSITIONS = ("max_position_embeddings", "n_positions")


@dataclass(frozen=True)
class ModelShape:
    """Depth, d of the residual stream, width inside the MLP; None where the config is silent."""

    n_layers: int | None
    width: int | None
    inner_width: int | None

    def site_width(self, site: Site) -> int | None:
        """d of a site."""
        return self.inner_width if site.kind == "mlp_act" else self.width

    def flops_per_token(self, n_layers: int) -> float | None:
        """FLOPs of a forward pass through the first layers: 2 (4 d² + 2 d · inner) each.

        An estimate for plans: attention's quadratic part and gated MLPs are left out.
        """
        if self.width is None or self.inner_width is None:
            return None
        return 2.0 * n_layers * (4 * self.width**2 + 2 * self.width * self.inner_width)


def model_shape(config: ModelConfig) -> ModelShape:
    """The shape that the model's own config states."""
    fields = _config_fields(config)
    width = _first(fields, _WIDTH)
    inner = _first(fields, _INNER)
    return ModelShape(
        n_layers=_first(fields, _LAYERS),
        width=width,
        inner_width=inner if inner is not None or width is None else 4 * width,
    )


def check_layer(config: ModelConfig, source: Source) -> None:
    """Raises SiteError for a layer beyond the model's depth."""
    depth = model_shape(config).n_layers
    if depth is not None and source.site.layer >= depth:
        raise SiteError(
            f"{source}: layer {source.site.layer} is beyond the depth of {source.model!r}, which "
            f"has {depth} layers. Allowed: 0 to {depth - 1}. {site_listing(source.model, config)} "
            "Choose other layers."
        )


def check_context(config: ModelConfig) -> None:
    """Raises StudyError for a context longer than the positions that the model's config states."""
    positions = _first(_config_fields(config), _POSITIONS)
    if positions is not None and 0 < positions < config.context:
        raise StudyError(
            f"context {config.context} is longer than the {positions} positions that "
            f"{config.path!r} knows. Set context to at most {positions}."
        )


def site_listing(name: str, config: ModelConfig) -> str:
    """A sentence with the sites of a model as its config tells them.

    A kind that its blocks lack, such as mlp_act in a mixture of experts, is only known, and told,
    when the model itself is read.
    """
    depth = model_shape(config).n_layers
    if depth is None:
        return f"Kinds of site: {', '.join(SITE_KINDS)}; the config of {name!r} tells no depth."
    layers = "0" if depth == 1 else f"0-{depth - 1}"
    return f"The sites of {name!r}: {', '.join(f'{kind}.{layers}' for kind in SITE_KINDS)}."


def known_site_listing(models: Mapping[str, ModelConfig], folder: Path) -> str:
    """The same for those of a study's models that lie on this machine; empty where none does."""
    listings = []
    for name, config in models.items():
        path = folder / Path(config.path).expanduser()
        if config.path == "embedded" or path.is_dir():
            here = {} if config.path == "embedded" else {"path": str(path)}
            with suppress(UserError):
                listings.append(site_listing(name, config.model_copy(update=here)))
    return " ".join(listings)


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        if isinstance(fields.get(name), int):
            return int(fields[name])
    inner = fields.get("text_config")
    return _first(inner, names) if isinstance(inner, dict) else None


def _config_fields(config: ModelConfig) -> dict[str, Any]:
    from pipeline.language_model.files import model_files

    path = model_files(config).folder / "config.json"
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StudyError(
            f"model {config.path!r}: {path} cannot be read ({error}). A model folder holds "
            "config.json, the weights and the tokenizer. Check the path of the model."
        ) from error
    return dict(fields)
