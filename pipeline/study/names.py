"""The names of things: sites, weights variants, sources, SAE keys; text forms that round-trip."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.errors import StudyError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SITE = re.compile(r"([a-z][a-z_]*)\.(0|[1-9][0-9]{0,3})")
_WEIGHTS = re.compile(r"([a-z][a-z_]*)(?:@(0|[1-9][0-9]{0,8}))?")
_REVISION = re.compile(r"revision:[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SAE_KEY = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,63})\.s(0|[1-9][0-9]{0,8})")


def check_name(name: str, what: str) -> str:
    """The name itself, where it can be part of a key; raises StudyError otherwise."""
    if not NAME.fullmatch(name):
        raise StudyError(
            f"{what} {name!r} cannot be used as a name. Allowed: letters, digits, '_' and '-', "
            "starting with a letter or digit, at most 64. Rename it."
        )
    return name


@dataclass(frozen=True, order=True)
class Site:
    """A place in the LM where activations are read; text form `resid_post.3`."""

    kind: str
    layer: int

    def __str__(self) -> str:
        return f"{self.kind}.{self.layer}"

    @classmethod
    def parse(cls, text: str) -> Site:
        """The site of a text form; raises StudyError for anything else."""
        match = _SITE.fullmatch(text)
        if not match:
            raise StudyError(
                f"{text!r} is not a site. A site is a kind and a layer: 'resid_post.3'. "
                "Kinds: resid_pre, resid_post, attn_out, mlp_out, mlp_act."
            )
        return cls(match[1], int(match[2]))


@dataclass(frozen=True, order=True)
class Weights:
    """A weights variant; text form `trained`, `random` (= `random@0`), `random@1`."""

    variant: str
    seed: int | None = None

    def __str__(self) -> str:
        return self.variant if not self.seed else f"{self.variant}@{self.seed}"

    @classmethod
    def parse(cls, text: str) -> Weights:
        """The variant of a text form; only form is checked, variants are known elsewhere."""
        match = _WEIGHTS.fullmatch(text)
        if match:
            if match[1] == "trained":
                if match[2] is not None:
                    raise StudyError(f"{text!r}: trained weights are not drawn. Use 'trained'.")
                return cls("trained")
            return cls(match[1], int(match[2] or 0))
        if _REVISION.fullmatch(text):
            return cls(text)
        raise StudyError(
            f"{text!r} is not a weights variant. Use 'trained', or a drawn variant with an "
            "optional seed such as 'random' or 'random@1'."
        )


@dataclass(frozen=True, order=True)
class Source:
    """What an SAE is trained on; text form `pylm.trained.resid_post.3`."""

    model: str
    weights: Weights
    site: Site

    def __str__(self) -> str:
        return f"{self.model}.{self.weights}.{self.site}"

    @classmethod
    def parse(cls, text: str) -> Source:
        """The source of a text form: model from the left, site from the right, weights between."""
        parts = text.split(".")
        if len(parts) != 4 or not all(parts):
            raise StudyError(
                f"{text!r} is not a source. A source is <model>.<weights>.<site>, "
                "such as 'pylm.trained.resid_post.3'."
            )
        model = check_name(parts[0], "model")
        return cls(model, Weights.parse(parts[1]), Site.parse(".".join(parts[2:])))


@dataclass(frozen=True, order=True)
class SaeKey:
    """A recipe and a seed; text form `topk16.s0`."""

    recipe: str
    seed: int

    def __str__(self) -> str:
        return f"{self.recipe}.s{self.seed}"

    @classmethod
    def parse(cls, text: str) -> SaeKey:
        """The key of a text form; raises StudyError for anything else."""
        match = _SAE_KEY.fullmatch(text)
        if not match:
            raise StudyError(
                f"{text!r} is not an SAE key. It is <recipe>.s<seed>, such as 'topk16.s0'."
            )
        return cls(match[1], int(match[2]))
