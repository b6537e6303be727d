"""What a document is, and which split it belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "calibration", "held_out"]

HELD_OUT_SHARE = 0.06
CALIBRATION_SHARE = 0.04


@dataclass(frozen=True)
class Document:
    """One text of a corpus, under a name that is the same on every machine.

    name: relative path with forward slashes, or `file:row` for tables of texts.
    """

    name: str
    text: str


def split_of(
    name: str,
    held_out_share: float = HELD_OUT_SHARE,
    *,
    calibration_share: float = CALIBRATION_SHARE,
) -> Split:
    """The split of a document, decided by its name alone.

    u(name) = first 8 bytes of sha256(name) / 2^64, uniform on [0, 1):
    held_out where u < held_out_share, calibration where u lies in the next
    calibration_share, train above. Machine, Python and the other documents play no part.

    Raises ValueError where the shares are negative or leave nothing for training.
    """
    if min(held_out_share, calibration_share) < 0 or held_out_share + calibration_share >= 1:
        raise ValueError(
            f"held_out_share {held_out_share} and calibration_share {calibration_share} were "
            "given; both must be >= 0 and their sum below 1: lower one of them."
        )
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    uniform = int.from_bytes(digest[:8], "big") / 2**64
    if uniform < held_out_share:
        return "held_out"
    if uniform < held_out_share + calibration_share:
        return "calibration"
    return "train"


def corpus_hash(documents: Iterable[Document]) -> str:
    """sha256 over names and texts in the order given, as hexadecimal digits.

    Lengths are hashed before contents, so that no two different corpora share a byte stream.
    """
    digest = hashlib.sha256()
    for document in documents:
        for part in (document.name, document.text):
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "big"))
            digest.update(raw)
    return digest.hexdigest()
