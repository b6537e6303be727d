"""Loading a language model and its tokenizer from files to something that can be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import CheckpointError, UserError
from pipeline.language_model.files import (
    ModelFiles,
    model_files,
    model_hash,
    tokenizer_hash,
    weight_files,
)
from pipeline.language_model.model import LanguageModel
from pipeline.study.config import ModelConfig
from pipeline.study.names import Weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LanguageModel", "load_language_model", "load_tokenizer", "model_hash"]


def load_language_model(config: ModelConfig, weights: Weights) -> LanguageModel:
    """The causal language model of a study entry under a weights variant, ready to be read.

    device "auto" is cuda, else mps, else cpu. Sites are found on the trained model, before the
    variant is applied, so that they are the same for all variants. The global random state stays
    as it was.

    Raises UserError where files are missing or unfit, CheckpointError where they are damaged,
    SiteError where the model has no single residual stream.
    """
    import torch

    from pipeline.language_model.sites import find_layout
    from pipeline.language_model.weights import apply_weights

    files = model_files(config, weights)
    tokenizer = load_tokenizer(config)
    with torch.random.fork_rng():
        model = _load_trained(config, files)
    _check_fit(config, model, tokenizer)
    model = model.to(_device(config.device)).requires_grad_(False).eval()
    layout = find_layout(model)
    return LanguageModel(
        model=apply_weights(model, weights),
        tokenizer=tokenizer,
        special_ids=special_ids(tokenizer),
        layout=layout,
        commit=files.commit,
    )


def load_tokenizer(config: ModelConfig) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; raises UserError where its folder has none that can be read."""
    from transformers import AutoTokenizer

    files = model_files(config)
    tokenizer_hash(config)
    with _quiet():
        try:
            return AutoTokenizer.from_pretrained(
                files.folder,
                local_files_only=True,
                trust_remote_code=config.trust_remote_code,
            )
        except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
            raise UserError(
                f"the tokenizer in {files.folder} cannot be read ({_first_line(error)}). Save it "
                "again with tokenizer.save_pretrained(folder)."
            ) from error


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids of the tokenizer's special tokens: the ones never scored, stored or edited."""
    return frozenset(int(i) for i in tokenizer.all_special_ids)


def _load_trained(config: ModelConfig, files: ModelFiles) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM

    pickled = all(path.suffix != ".safetensors" for path in weight_files(config, files))
    with _quiet():
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                files.folder,
                dtype=getattr(torch, config.dtype),
                use_safetensors=not pickled,
                local_files_only=True,
                trust_remote_code=config.trust_remote_code,
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise UserError(
                f"{files.folder} cannot be loaded as a causal language model "
                f"({_first_line(error)}). Give a model that transformers' AutoModelForCausalLM "
                "loads; a model that ships its own code needs trust_remote_code: true."
            ) from error
    _check_whole(files, sorted(report["missing_keys"]))
    return model


def _check_whole(files: ModelFiles, missing: list[str]) -> None:
    """Weights that the files lack would be drawn at random without a word."""
    if missing:
        named = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise CheckpointError(
            f"the weight files in {files.folder} lack {len(missing)} of the model's tensors "
            f"({named}). Save or download the whole model again."
        )


def _check_fit(
    config: ModelConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise UserError(
            f"the tokenizer of {config.path!r} has {len(tokenizer)} tokens, the model knows "
            f"{rows}: they do not belong together. Save the model's own tokenizer beside it."
        )
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(positions, int) and 0 < positions < config.context:
        raise UserError(
            f"context {config.context} is longer than the {positions} positions that "
            f"{config.path!r} knows. Set context to at most {positions}."
        )


def _device(name: str) -> str:
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    usable = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    kind, _, number = name.partition(":")
    beyond = number and kind == "cuda" and int(number) >= torch.cuda.device_count()
    if not usable.get(kind, False) or beyond:
        there = ", ".join(k for k, ok in usable.items() if ok)
        raise UserError(
            f"device {name!r} is not on this machine. There are: {there}. Set device to one of "
            "them, or to 'auto'."
        )
    return name


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers' notes and bars stay silent: what matters is raised as an error."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
