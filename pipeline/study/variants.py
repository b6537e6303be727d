"""The words a study may use for weights variants and site kinds, known without loading a model."""

from __future__ import annotations

import re

from pipeline.errors import StudyError, did_you_mean
from pipeline.study.names import Site, Weights

GAUSSIAN = "gaussian"  # the trained weights; what stands in for activations is drawn
SHUFFLED_TEXT = "shuffled_text"  # the trained weights; the text they read is shuffled
VARIANTS = ("trained", "random", "random_except_embeddings", "permuted", GAUSSIAN, SHUFFLED_TEXT)
SITE_KINDS = ("resid_pre", "resid_post", "attn_out", "mlp_out", "mlp_act")
DEVICES = ("auto", "cpu", "mps", "cuda")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]+)?")
_RANGE = re.compile(r"([a-z][a-z_]*)\.([0-9]{1,4})-([0-9]{1,4})")


class UnknownSiteError(StudyError):
    """A kind of site that nobody knows; who knows the model adds the sites it has."""


def parse_weights(text: str) -> Weights:
    """The weights variant of a text form; raises StudyError for a variant nobody knows."""
    weights = Weights.parse(text)
    if weights.variant not in VARIANTS and not weights.variant.startswith("revision:"):
        raise StudyError(
            f"{weights.variant!r} is not a weights variant. "
            f"{did_you_mean(weights.variant, VARIANTS)} A checkpoint is written 'revision:NAME'."
        )
    return weights


def parse_site(text: str) -> Site:
    """The site of a text form; raises UnknownSiteError for a kind nobody knows."""
    site = Site.parse(text)
    if site.kind not in SITE_KINDS:
        raise UnknownSiteError(
            f"{text!r} is not a site: unknown kind {site.kind!r}. "
            f"{did_you_mean(site.kind, SITE_KINDS)}"
        )
    return site


def parse_device(text: str) -> str:
    """The same text where it is a device's; raises StudyError for one nobody knows."""
    if not _DEVICE.fullmatch(text):
        raise StudyError(
            f"{text!r} is not a device. {did_you_mean(text, DEVICES)} A GPU's number may follow, "
            "as in cuda:1."
        )
    return text


def parse_sites(text: str) -> list[Site]:
    """The sites of one entry: a site, or a range of layers, both ends included."""
    match = _RANGE.fullmatch(text)
    if not match:
        return [parse_site(text)]
    first, last = int(match[2]), int(match[3])
    if last < first:
        raise StudyError(
            f"{text!r} is an empty range of layers. Write the lower layer first: "
            f"'{match[1]}.{last}-{first}'."
        )
    return [parse_site(f"{match[1]}.{layer}") for layer in range(first, last + 1)]
