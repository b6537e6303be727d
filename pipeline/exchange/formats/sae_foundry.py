"""This package's own: a folder with sae.safetensors and config.json, as the workspace holds it.

sae.safetensors carries the SAE's configuration in its metadata; config.json says what it was made
from. Read, not written: the files are taken as they lie.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.catalog.provenance import package_version
from pipeline.exchange.foreign import Foreign, read_json
from pipeline.load_sae import load
from pipeline.training.record import CONFIG_FILE, SAE_FILE

PACKAGE, VERSION = "sae-foundry", "0.1.0"
LOADS = ("from pipeline import load", "sae = load(folder)")


def recognises(place: Path) -> bool:
    """Whether a folder holds such files."""
    return (place / SAE_FILE).is_file() and (place / CONFIG_FILE).is_file()


def read(place: Path) -> Foreign:
    """The SAE of a folder; raises CheckpointError where it is damaged."""
    config = read_json(place / CONFIG_FILE)
    sae = load(place)
    begun = config.get("begun_by") or {}
    version = f"{PACKAGE} {begun.get('package_version', package_version())}"
    tokens = sae.config.tokens
    return Foreign("sae_foundry", version, sae.config.architecture, config, sae=sae, tokens=tokens)
