"""SAEs to and from a hub on the loopback address, by the real client in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipeline.load_sae import load
from pipeline.study.config import Study
from pipeline.workspace import Workspace
from tests.pipeline.exchange import oracles
from tests.pipeline.exchange.some_saes import both
from tests.pipeline.language_model.fake_hub import TOKEN, FakeHub, serving

World = tuple[Workspace, Study]
ROOT = Path(__file__).parents[3]
SAE = "pylm.trained.resid_post.1/topk8.s0"

# Reads commands as JSON lists, answers each with its exit code and what it printed.
CLIENT = """
import contextlib, io, json, sys
from pipeline.cli.app import main
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(json.loads(line))
        except SystemExit as ended:
            code = ended.code
    sys.__stdout__.write(json.dumps([code, out.getvalue(), err.getvalue()]) + chr(10))
    sys.__stdout__.flush()
"""


class Client:
    """A process with its own cache and token that types commands."""

    def __init__(self, url: str, cache: Path, workspace: Path, *, token: str | None) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        own = {"HF_ENDPOINT": url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
        own |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "SAE_WORKSPACE": str(workspace)}
        own |= {"HF_TOKEN": token} if token else {}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=clean | own,
        )

    def __call__(self, *command: str) -> tuple[int, str, str]:
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        code, out, err = json.loads(self.process.stdout.readline())
        return code, out, err

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=60)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    (tmp_path / "written").mkdir()
    with serving(FakeHub(written=tmp_path / "written")) as hub:
        yield hub


@pytest.fixture
def client(hub: FakeHub, world: World, tmp_path: Path) -> Iterator[Client]:
    client = Client(hub.url, tmp_path / "cache", world[0].root, token=TOKEN)
    yield client
    client.close()


def test_an_sae_goes_to_the_hub_and_comes_back(
    hub: FakeHub, client: Client, world: World, tmp_path: Path
) -> None:
    workspace, _ = world
    code, out, err = client("upload", SAE, "lab/own", "--licence", "apache-2.0", "--json")
    assert (code, TOKEN in out + err) == (0, False)
    told = json.loads(out)
    assert told["files"] == ["README.md", "config.json", "sae.safetensors"]
    assert told["commit"] == hub.repositories["lab/own"].refs["main"]
    card = (hub.repositories["lab/own"].commits[told["commit"]] / "README.md").read_text()
    check_card(card)

    code, out, _ = client("download", "lab/own", "--out", str(tmp_path / "back"), "--json")
    assert code == 0
    assert json.loads(out)["revision"] == told["commit"]
    x = torch.randn(16, 128, generator=torch.Generator().manual_seed(0))
    back, there = both(load(tmp_path / "back"), x), both(load(workspace.saes / SAE), x)
    assert all(torch.equal(a, b) for a, b in zip(back, there, strict=True))


def check_card(card: str) -> None:
    head, rest = card.removeprefix("---\n").split("\n---\n", 1)
    assert "license: apache-2.0" in head
    assert f"# {SAE}" in rest
    lines = {line.split("|")[1].strip(): line for line in rest.splitlines() if line.startswith("|")}
    assert "the same on weights random" in lines["metric"]
    own, beside = (cell.strip() for cell in lines["fvu"].split("|")[2:4])
    for value in (own, beside):
        point, interval = value.removesuffix(")").split(" (")
        low, high = interval.split(" to ")
        assert float(low) < float(point) < float(high)
    loading = rest.split("```python\n")[1].split("```")[0].strip().splitlines()
    assert len(loading) == 4  # two imports, the folder, the SAE
    assert "Licence: apache-2.0. Data: texts (text)." in rest
    assert '"sae_hash"' in rest


def test_other_formats_and_subfolders_are_imported_at_a_pinned_commit(
    hub: FakeHub, client: Client, world: World, tmp_path: Path
) -> None:
    wanted = ("--format", "saelens", "--subfolder", "layer1", "--json")
    code, out, _ = client("upload", SAE, "lab/lens", *wanted)
    assert code == 0
    first = json.loads(out)["commit"]
    folder = hub.repositories["lab/lens"].commits[first] / "layer1"
    x = torch.randn(16, 128, generator=torch.Generator().manual_seed(0))
    ours = both(load(world[0].saes / SAE), x)
    for a, b in zip(ours, oracles.saelens(folder, x), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    assert "SAE.load_from_disk(folder)" in (folder / "README.md").read_text()
    into = ("--source", "pylm.trained.resid_post.1", "--as", "fromhub", "--no-evaluate", "--json")
    code, out, err = client("import", "lab/lens/layer1", *into)
    assert code == 0
    assert f"lab/lens/layer1 is at commit {first}, which is recorded" in err
    assert json.loads(out)["revision"] == first
    code, out, err = client("import", f"lab/lens/layer1@{first}", *into)
    assert (code, err) == (0, "")
    assert not json.loads(out)["new"]


def test_what_the_hub_refuses_is_explained(
    hub: FakeHub, client: Client, world: World, tmp_path: Path
) -> None:
    into = ("--source", "pylm.trained.resid_post.1")
    code, _, err = client("import", "lab/nothing", *into)
    assert (code, "neither a local folder nor a SAE" in err) == (2, True)
    client("upload", SAE, "lab/own")
    code, _, err = client("import", "lab/own@other", *into)
    assert (code, "has no revision 'other'" in err) == (2, True)
    anonymous = Client(hub.url, tmp_path / "other", world[0].root, token="hf_of_another")
    code, _, err = anonymous("upload", SAE, "lab/own")
    anonymous.close()
    assert code == 2
    assert "HF_TOKEN" in err
    assert "hf_of_another" not in err
