"""A study: which SAEs on which activations; one YAML file, frozen once read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipeline.corpus.documents import CALIBRATION_SHARE, HELD_OUT_SHARE
from pipeline.errors import StudyError, did_you_mean
from pipeline.hashing import content_hash
from pipeline.labels import AUTO, is_file, labellers
from pipeline.launch.config import LaunchConfig, check_launch
from pipeline.model_shape import known_site_listing
from pipeline.study.explain import refuse
from pipeline.study.inputs import check_cycles, check_inputs, check_rows, check_start
from pipeline.study.names import SaeKey, Site, Source, Weights, check_name
from pipeline.study.recipes import recipe
from pipeline.study.variants import UnknownSiteError, parse_device, parse_sites, parse_weights


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


class CorpusConfig(_Frozen):
    """Where text comes from, and how its documents are split."""

    kind: Literal["builtin", "text", "jsonl", "parquet", "hf"] = Field(
        "builtin", description="builtin: the running Python's standard library; others need path"
    )
    path: str | None = Field(None, description="file or folder for text, jsonl and parquet")
    text_field: str = Field("text", description="field or column that holds the text")
    dataset: str | None = Field(None, description="dataset name on the hub, for kind hf")
    dataset_config: str | None = Field(None, description="configuration of the dataset")
    dataset_split: str = Field("train", description="split of the dataset to read")
    max_documents: int | None = Field(None, ge=1, description="read at most so many documents")
    max_tokens: int | None = Field(None, ge=1, description="pack at most so many tokens")
    held_out_share: float = Field(
        HELD_OUT_SHARE, gt=0, lt=0.5, description="documents kept for evaluation"
    )
    calibration_share: float = Field(
        CALIBRATION_SHARE, gt=0, lt=0.5, description="documents kept for statistics and thresholds"
    )

    @model_validator(mode="after")
    def _where_the_text_is(self) -> CorpusConfig:
        if self.kind in ("text", "jsonl", "parquet") and not self.path:
            raise ValueError(f"kind '{self.kind}' reads local files: set 'path'")
        if self.kind == "hf" and not self.dataset:
            raise ValueError("kind 'hf' reads a dataset from the hub: set 'dataset'")
        if self.kind not in ("text", "jsonl", "parquet") and self.path:
            raise ValueError(f"kind '{self.kind}' does not read 'path': remove it")
        if self.kind == "builtin" and self.held_out_share > HELD_OUT_SHARE:
            raise ValueError(
                f"held_out_share is {self.held_out_share}; kind 'builtin' holds out at most "
                f"{HELD_OUT_SHARE}: the embedded model was trained on the rest. Lower it"
            )
        return self


class HarvestConfig(_Frozen):
    """How activations are stored."""

    tokens: int | None = Field(None, ge=1, description="rows to store; none: all train tokens")
    dtype: Literal["auto", "float16", "bfloat16", "float32"] = Field(
        "auto", description="storage type; auto: float16 unless values would overflow it"
    )
    shuffle: Literal["global", "buffer", "sequence", "none"] = Field(
        "global", description="how rows are shuffled before training"
    )
    shuffle_seed: int = Field(0, ge=0, description="key of the permutation")
    shard_rows: int = Field(65536, ge=256, description="rows of one shard")
    calibration_tokens: int = Field(32768, ge=1, description="rows of the calibration split")
    memory_mb: int = Field(1024, ge=16, description="memory the shuffle may use, in MB")
    high_norm_factor: float = Field(
        10.0, gt=1, description="rows whose norm exceeds this many medians are masked"
    )
    max_masked_share: float = Field(0.01, ge=0, le=1, description="masked share that is an error")


class ModelConfig(_Frozen):
    """A language model with its corpus."""

    path: str = Field("embedded", description="'embedded', a local folder, or a hub id")
    revision: str | None = Field(None, description="hub revision; pinned when first resolved")
    device: str = Field("auto", description="where it runs: auto, cpu, mps, cuda or cuda:NUMBER")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="type the model computes in"
    )
    safetensors_only: bool = Field(True, description="refuse pickled weights")
    trust_remote_code: bool = Field(False, description="run code that the model's repository ships")
    context: int = Field(256, ge=8, description="tokens of one packed row")
    batch_rows: int = Field(16, ge=1, description="rows of one forward pass")
    corpus: CorpusConfig = Field(default_factory=CorpusConfig, description="its text")
    harvest: HarvestConfig = Field(default_factory=HarvestConfig, description="its storage")
    pretraining_curve: str | None = Field(
        None, description="JSON of (FLOPs, held-out loss), for compute_recovered"
    )

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        return parse_device(device)


class EvaluationConfig(_Frozen):
    """What the held-out numbers rest on."""

    tokens: int = Field(65536, ge=256, description="held-out tokens")
    curve_tokens: int = Field(
        8192, ge=256, description="of these, tokens on which losses along curves are measured"
    )
    bootstrap: int = Field(1000, ge=100, description="resamples of documents per interval")
    bootstrap_seed: int = Field(0, ge=0, description="seed of the resampling")
    probe_tokens: int = Field(
        16384, ge=0, description="of these, labelled tokens behind probes; 0: no probes"
    )
    labels: str = Field(
        AUTO,
        description="auto, python, lexical, or a file of labels such as ./labels.jsonl",
    )

    @field_validator("labels")
    @classmethod
    def _known_labels(cls, labels: str) -> str:
        if labels != AUTO and not is_file(labels) and labels not in labellers():
            offer = did_you_mean(labels, [AUTO, *labellers()])
            refuse(
                f"labels is {labels!r}. {offer} The path of a file of labels is allowed, too; it "
                "begins with '.', '/' or '~'"
            )
        return labels


_Seed = Annotated[int, Field(ge=0, le=999_999_999)]


class Study(_Frozen):
    """The product of models, weights, sites, recipes and seeds; each cell is one SAE."""

    study: str = Field(description="name of the study")
    models: dict[str, ModelConfig] = Field(min_length=1, description="name -> language model")
    weights: list[str] = Field(["trained"], min_length=1, description="weights variants")
    sites: list[str] = Field(min_length=1, description="sites, or ranges such as resid_post.0-3")
    recipes: dict[str, SerializeAsAny[Any]] = Field(
        min_length=1, description="name -> SAE configuration"
    )
    seeds: list[_Seed] = Field([0], min_length=1, description="SAE seeds")
    data_seed: int = Field(0, ge=0, description="seed of the data order, shared by all SAEs")
    evaluation: EvaluationConfig = Field(
        default_factory=EvaluationConfig, description="settings of the evaluation"
    )
    launch: LaunchConfig = Field(
        default_factory=LaunchConfig, description="where work runs; no name or hash depends on it"
    )

    @field_validator("study")
    @classmethod
    def _study_name(cls, name: str) -> str:
        return check_name(name, "study")

    @field_validator("models")
    @classmethod
    def _model_names(cls, models: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
        return {check_name(name, "model"): config for name, config in models.items()}

    @field_validator("recipes", mode="before")
    @classmethod
    def _known_recipes(cls, recipes: Any) -> Any:
        if not isinstance(recipes, dict):
            return recipes
        return {check_name(str(name), "recipe"): recipe(name, r) for name, r in recipes.items()}

    @field_validator("recipes")
    @classmethod
    def _no_circles(cls, recipes: dict[str, Any]) -> dict[str, Any]:
        check_cycles(recipes)
        return recipes

    @field_validator("weights")
    @classmethod
    def _known_weights(cls, texts: list[str]) -> list[str]:
        return _distinct([str(parse_weights(text)) for text in texts], "weights variant")

    @field_validator("sites")
    @classmethod
    def _known_sites(cls, texts: list[str], info: ValidationInfo) -> list[str]:
        try:
            sites = [str(site) for text in texts for site in parse_sites(text)]
        except UnknownSiteError as error:
            folder = (info.context or {}).get("folder", Path.cwd())
            listing = known_site_listing(info.data.get("models", {}), folder)
            raise StudyError(f"{error} {listing}".rstrip()) from error
        return _distinct(sites, "site")

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: list[int]) -> list[int]:
        return _distinct(seeds, "seed")

    @model_validator(mode="after")
    def _inputs_can_be_made(self) -> Study:
        for source in self.sources():
            model, of = self.models[source.model], source.model
            for name, chosen in self.recipes.items():
                check_inputs(name, chosen, source)
                check_rows(name, chosen, model=of, context=model.context)
                check_start(name, chosen, model=of, rows=model.harvest.calibration_tokens)
        return self

    @model_validator(mode="after")
    def _recipes_can_be_launched(self) -> Study:
        check_launch(self.launch, self.recipes)
        return self

    def sources(self) -> list[Source]:
        """Every source of the study: models × weights × sites."""
        return [
            Source(model, Weights.parse(weights), Site.parse(site))
            for model in self.models
            for weights in self.weights
            for site in self.sites
        ]

    def keys(self) -> list[SaeKey]:
        """Every SAE key of the study: recipes × seeds."""
        return [SaeKey(recipe, seed) for recipe in self.recipes for seed in self.seeds]

    def cells(self) -> list[tuple[Source, SaeKey]]:
        """Every cell of the study, source by source."""
        return [(source, key) for source in self.sources() for key in self.keys()]


def study_hash(study: Study) -> str:
    """The content hash of a study (64 hex digits); where it runs is not part of it."""
    return content_hash(study.model_dump(mode="json", exclude={"launch"}))


def _distinct(values: list[Any], what: str) -> list[Any]:
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    if twice:
        refuse(f"the {what} {twice[0]} is given twice. Each may stand once: remove one")
    return values
