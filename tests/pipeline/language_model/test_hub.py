"""Models from the hub: a real client in its own process against a hub on the loopback address."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.language_model.fake_hub import TOKEN, FakeHub, Repository, serving

ROOT = Path(__file__).parents[3]
OLD, NEW = "a" * 40, "b" * 40

# Reads steps as JSON lines of [config fields, weights], answers each with what came of it.
CLIENT = """
import json, sys
from pipeline.errors import UserError
from pipeline.language_model.files import model_files, model_hash, pinned, weight_files
from pipeline.study.config import ModelConfig
from pipeline.study.names import Weights
for line in sys.stdin:
    fields, weights = json.loads(line)
    config, weights = ModelConfig(**fields), Weights.parse(weights)
    try:
        files = model_files(config, weights)
        answer = {
            "commit": files.commit,
            "hash": model_hash(config, weights),
            "files": sorted(p.name for p in files.folder.iterdir()),
            "weights": [p.read_bytes()[-4:].hex() for p in weight_files(config, files)],
            "pinned": pinned(config).revision,
        }
    except UserError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
"""


class Client:
    """A process with its own cache that asks for models one after the other."""

    def __init__(self, url: str, cache: Path, **variables: str) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        own = {"HF_ENDPOINT": url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=clean | own | variables,
        )

    def ask(self, path: str, *, weights: str = "trained", **fields: object) -> dict[str, object]:
        self.process.stdin.write(json.dumps([{"path": path, **fields}, weights]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=60)


@pytest.fixture
def hub(saved_model: Path, tmp_path: Path) -> Iterator[FakeHub]:
    old = Path(shutil.copytree(saved_model, tmp_path / "old"))
    new = Path(shutil.copytree(saved_model, tmp_path / "new"))
    weights = new / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x01\x02\x03\x04")
    (new / "original").mkdir()
    (new / "original/model.safetensors").write_bytes(b"the same in another format")
    (new / "training.bin").write_bytes(b"not needed")
    (new / "modeling_own.py").write_text("raise SystemExit('code from the hub ran')")
    pickled = Path(shutil.copytree(saved_model, tmp_path / "pickled"))
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    offered = FakeHub(
        {
            "lab/plain": Repository({OLD: old, NEW: new}, {"main": OLD, "step8": NEW}),
            "lab/gated": Repository({NEW: new}, {"main": NEW}, gated=True),
            "lab/pickled": Repository({OLD: pickled}, {"main": OLD}),
        }
    )
    with serving(offered):
        yield offered


@pytest.fixture
def client(hub: FakeHub, tmp_path: Path) -> Iterator[Client]:
    client = Client(hub.url, tmp_path / "cache")
    yield client
    client.close()


def test_a_branch_is_pinned_to_the_commit_it_had_when_first_used(
    hub: FakeHub, client: Client
) -> None:
    first = client.ask("lab/plain")
    assert first["commit"] == first["pinned"] == OLD
    hub.repositories["lab/plain"].refs["main"] = NEW
    hub.requests.clear()
    assert client.ask("lab/plain") == first
    assert not hub.requests  # a cached model needs no network
    newer = client.ask("lab/plain", revision=NEW)
    assert newer["commit"] == NEW
    assert newer["hash"] != first["hash"]
    assert newer["weights"] == ["01020304"]


def test_a_checkpoint_is_a_revision_and_only_needed_files_are_fetched(client: Client) -> None:
    answer = client.ask("lab/plain", weights="revision:step8")
    assert answer["commit"] == NEW
    assert answer["files"] == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_pickled_weights_are_refused_before_they_are_fetched(hub: FakeHub, client: Client) -> None:
    assert "holds no safetensors" in client.ask("lab/pickled")["error"]
    assert not [request for request in hub.requests if "pytorch_model.bin" in request]
    allowed = client.ask("lab/pickled", safetensors_only=False)
    assert "pytorch_model.bin" in allowed["files"]


def test_unknown_names_are_explained(client: Client) -> None:
    assert "'lab/nothing' is neither a local folder nor" in client.ask("lab/nothing")["error"]
    error = client.ask("lab/plain", revision="step9")["error"]
    assert "lab/plain has no revision 'step9'" in error


def test_a_gated_model_needs_the_usual_variable(hub: FakeHub, tmp_path: Path) -> None:
    cases = {"": "HF_TOKEN", "hf_of_somebody_else": "HF_TOKEN", TOKEN: None}
    for number, (token, wanted) in enumerate(cases.items()):
        variables = {"HF_TOKEN": token} if token else {}
        client = Client(hub.url, tmp_path / f"cache{number}", **variables)
        answer = client.ask("lab/gated")
        client.close()
        if wanted:
            assert "is gated" in answer["error"]
            assert wanted in answer["error"]
        else:
            assert answer["commit"] == NEW


def test_without_network_the_cache_serves_and_the_rest_is_explained(
    hub: FakeHub, tmp_path: Path
) -> None:
    online = Client(hub.url, tmp_path / "cache")
    first = online.ask("lab/plain")
    online.close()
    nowhere = "http://127.0.0.1:9"
    for variables in ({}, {"HF_HUB_OFFLINE": "1"}):
        client = Client(nowhere, tmp_path / "cache", **variables)
        assert client.ask("lab/plain") == first
        assert "the hub cannot be reached" in client.ask("lab/pickled")["error"]
        client.close()
