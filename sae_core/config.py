"""What every SAE's configuration holds."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

CALIBRATED_ROWS = 4096  # one scalar is measured on them: its error is far below 1 %
LossScale = Literal["none", "dataset_variance", "token_variance", "token_deviation"]
InputKind = Literal["source", "sites", "dictionary", "token_rows"]
_OF_RESAMPLING = (
    "resample_window_share",
    "resample_window_tokens",
    "resample_encoder_scale",
    "resample_warmup_share",
)


class SaeConfig(BaseModel):
    """Configuration of one SAE: its architecture, size, optimiser and token budget.

    Windows and schedules are shares of the token budget, so that a short run passes through all
    of their phases. Each architecture's subclass adds its own fields. `inputs` says what a training
    batch holds: the source's activations; those and other sites' side by side; rows of an SAE's
    dictionary; or tokens, in whole rows.
    Raises pydantic's ValidationError (a ValueError) for unknown fields and impossible values.
    """

    inputs: ClassVar[InputKind] = "source"
    # Why an architecture's latents cannot be resampled, its batches not be split, its products not
    # be made in bfloat16; none where they can.
    no_resampling: ClassVar[str | None] = None
    needs_whole_batch: ClassVar[str | None] = None
    # Whether ranks that divide such a batch ask each other for what its loss must know of it.
    ranks_make_it_whole: ClassVar[bool] = False
    float32_only: ClassVar[str | None] = "its products know no other precision"
    # Settings of other architectures that one may look for here, and why there are none.
    refused: ClassVar[Mapping[str, str]] = MappingProxyType({})
    # Why the host waits for the device in every training step; none where it never does.
    waits_in_steps: ClassVar[str | None] = None
    # Whether a code and the dictionary give the reconstruction, but for one bias for all tokens.
    code_is_all: ClassVar[bool] = True

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: str = Field(description="Name of the architecture: a file in architectures/.")
    n_latents: int = Field(ge=1, description="Number of latents f.")
    tokens: int = Field(ge=1, description="Token budget; beyond the stored rows it means epochs.")
    batch_size: int = Field(2048, ge=1, description="Tokens per step.")
    micro_batch: int | None = Field(
        None,
        ge=1,
        description="A step's tokens are processed this many at a time, which bounds memory; the "
        "gradients add up to the whole batch's; none: all at once.",
    )
    compute: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Precision of a training step's dense products; parameters, optimiser and "
        "inference are float32 in any case.",
    )
    lr: float | None = Field(
        None,
        gt=0,
        description="Adam's learning rate at its highest; none means 2e-4 · sqrt(2^14 / f).",
    )
    warmup_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the budget over which lr rises linearly (papers: 1,000 steps).",
    )
    decay_share: float = Field(
        0.2, ge=0, le=1, description="Last share of the budget, over which lr falls linearly to 0."
    )
    beta1: float = Field(0.9, ge=0, lt=1, description="Adam's decay of the mean gradient.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's decay of the squared gradient.")
    eps: float = Field(1e-8, gt=0, description="Adam's floor under the gradient's scale.")
    moments: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Precision in which Adam's moments are kept; bfloat16 takes half the memory, "
        "rounded by a chance that seed, step and place decide.",
    )
    clip: float | None = Field(
        1.0,
        gt=0,
        description="Largest gradient norm of one latent's row (b_dec: of the whole); none: any.",
    )
    clip_by: Literal["row", "global"] = Field(
        "row", description="Whether `clip` bounds each row, or all gradients' norm together."
    )
    loss_scale: LossScale = Field(
        "none",
        description="What the squared error is divided by: 1, the inputs' variance, or each "
        "token's ‖x − x̄‖² or its root; penalties' weights and clip are not rescaled, AuxK is.",
    )
    bias_init: Literal["geometric_median", "mean", "zero"] = Field(
        "geometric_median", description="Where b_dec starts, from the source's statistics."
    )
    dictionary_init: Literal["random", "data"] = Field(
        "random", description="Directions at the start: random ones, or centred data rows."
    )
    encoder_init: Literal["transpose", "independent"] = Field(
        "transpose", description="Encoder rows at the start: the decoder's, or other random ones."
    )
    encoder_scale: Literal["fixed", "calibrated"] = Field(
        "fixed",
        description="The encoder's size at the start: the architecture's, or such that "
        "reconstructions of calibration rows have the size of their inputs.",
    )
    ema_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the budget that a moving average of the weights looks back on; the "
        "SAE that is saved and evaluated is the average; none: the last step's weights.",
    )
    dead_window_share: float = Field(
        0.1, gt=0, le=1, description="A latent is dead after this share of the budget unfired ..."
    )
    dead_window_tokens: int = Field(
        10_000_000, ge=1, description="... or after this many tokens, whichever is less (paper's)."
    )

    resample_at: tuple[float, ...] = Field(
        (),
        description="Shares of the budget at which dead latents start anew in the directions of "
        "inputs with a large loss (paper: at 25,000, 50,000, 75,000 and 100,000 steps); "
        "none: never.",
    )
    resample_window_share: float = Field(
        0.1, gt=0, le=1, description="Inputs are drawn from this share of the budget before ..."
    )
    resample_window_tokens: int = Field(
        819_200, ge=1, description="... or from this many tokens, whichever is less (paper's)."
    )
    resample_encoder_scale: float = Field(
        0.2,
        gt=0,
        description="Norm of their encoder rows over the alive latents' mean (paper's, for ReLU; "
        "where only the largest fire, a fifth seldom does).",
    )
    resample_warmup_share: float = Field(
        0.0, ge=0, le=1, description="Share of the budget over which lr rises again after each."
    )

    @property
    def named_inputs(self) -> tuple[str, ...]:
        """Names of further sites, or of the SAE whose dictionary is the data; none by default."""
        return ()

    @property
    def idle_settings(self) -> Mapping[str, str]:
        """Fields that change nothing beside the other ones' values, and why."""
        idle = {} if self.resample_at else dict.fromkeys(_OF_RESAMPLING, "nothing is resampled")
        return idle if self.clip is not None else idle | {"clip_by": "nothing is clipped"}

    @property
    def learning_rate(self) -> float:
        """The learning rate at its highest."""
        return self.lr if self.lr is not None else 2e-4 * (2**14 / self.n_latents) ** 0.5

    @property
    def dead_window(self) -> int:
        """Tokens without firing after which a latent counts as dead."""
        return max(1, min(self.dead_window_tokens, int(self.tokens * self.dead_window_share)))

    @property
    def looks_at_dead_latents(self) -> bool:
        """Whether the loss depends on which latents are dead."""
        return False

    @property
    def has_experts(self) -> bool:
        """Whether latents are divided among experts, of which a token sees some."""
        return False

    @property
    def one_rank_only(self) -> str | None:
        """Why a batch cannot be divided among ranks; None where it can."""
        return None if self.ranks_make_it_whole else self.needs_whole_batch

    @property
    def resample_window(self) -> int:
        """Tokens before a resampling from which inputs are drawn."""
        return max(
            1, min(self.resample_window_tokens, int(self.tokens * self.resample_window_share))
        )

    @property
    def init_rows(self) -> int:
        """Calibration rows that the start is made from; 0 where statistics are enough."""
        data = 2 * self.n_latents if self.dictionary_init == "data" else 0
        return max(data, CALIBRATED_ROWS if self.encoder_scale == "calibrated" else 0)

    @model_validator(mode="after")
    def _resampling_fits(self) -> SaeConfig:
        shares = self.resample_at
        inside = all(0 < share < 1 for share in shares)
        if not inside or list(shares) != sorted(set(shares)):
            raise ValueError(
                f"resample_at is {list(shares)}. Allowed: shares of the budget above 0 and below "
                "1, each larger than the one before. Try [0.25, 0.5, 0.75]."
            )
        if shares and self.no_resampling:
            raise ValueError(
                f"resample_at {list(shares)} with architecture {self.architecture!r}: "
                f"{self.no_resampling}. Allowed: an empty list. Remove resample_at."
            )
        if shares and shares[0] * self.tokens < self.dead_window:
            raise ValueError(
                f"resample_at starts at {shares[0]} of {self.tokens} tokens, before any latent can "
                f"have been dead for {self.dead_window} tokens. Allowed: from "
                f"{self.dead_window / self.tokens:.3g} on. Start later, or lower dead_window_share."
            )
        return self

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_no_answers(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind is not bool:
            raise ValueError(
                f"{str(value).lower()} was given. Allowed: no true, false, yes or no here. Give "
                "the number or name."
            )
        return value

    @model_validator(mode="after")
    def _nothing_idle(self) -> SaeConfig:
        for field, why in self.idle_settings.items():
            value, default = getattr(self, field), type(self).model_fields[field].default
            if value != default:
                raise ValueError(
                    f"{field} {value!r} changes nothing: {why}. Allowed: {default!r}, which is "
                    f"what it is when left out. Remove {field}."
                )
        return self

    @model_validator(mode="after")
    def _precision_fits(self) -> SaeConfig:
        if self.compute != "float32" and self.float32_only:
            raise ValueError(
                f"compute {self.compute!r} with architecture {self.architecture!r}: "
                f"{self.float32_only}. Allowed: 'float32'. Remove compute."
            )
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> SaeConfig:
        if self.micro_batch is None:
            return self
        if self.needs_whole_batch:
            raise ValueError(
                f"micro_batch {self.micro_batch} with architecture {self.architecture!r}: "
                f"{self.needs_whole_batch}, so that a batch cannot be processed in parts. Allowed: "
                "none. Remove micro_batch, or lower batch_size."
            )
        if self.micro_batch > self.batch_size:
            raise ValueError(
                f"micro_batch {self.micro_batch} is more than batch_size {self.batch_size}. "
                f"Allowed: 1 to {self.batch_size}. Lower it, or remove it."
            )
        return self

    @model_validator(mode="after")
    def _phases_fit(self) -> SaeConfig:
        if self.warmup_share + self.decay_share > 1:
            raise ValueError(
                f"warmup_share {self.warmup_share} and decay_share {self.decay_share} overlap. "
                "Allowed: a sum of at most 1. Shorten one of them."
            )
        return self
