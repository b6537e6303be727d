"""A small workspace with one CLI run in it, its UI, and a page of a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

STUDY = """
study: clicks
models:
  lm:
    path: embedded
    context: 32
    batch_rows: 8
    corpus: {kind: text, path: TEXTS, held_out_share: 0.2, calibration_share: 0.2}
    harvest: {shard_rows: 256, calibration_tokens: 256}
sites: [resid_post.0]
recipes:
  topk: {architecture: topk, n_latents: 64, k: 4, tokens: 4000, batch_size: 256}
  endless: {architecture: topk, n_latents: 64, k: 4, tokens: 900000000, batch_size: 256}
seeds: [0]
evaluation: {tokens: 512, bootstrap: 100}
"""
SAE = [sys.executable, "-c", "from pipeline.cli.app import main; main()"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
PATIENCE_MS = 300_000


@dataclass(frozen=True)
class Ui:
    """A running UI: its address and its workspace."""

    address: str
    workspace: Workspace

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of a GraphQL query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.address}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["data"]

    def sae(self, *arguments: str) -> str:
        """What a command prints, run on the same workspace while the UI is open."""
        command = [*SAE, "--workspace", str(self.workspace.root), *arguments]
        done = subprocess.run(command, check=True, timeout=1200, stdout=subprocess.PIPE, text=True)
        return done.stdout

    def runs(self) -> list[dict[str, Any]]:
        """The newest runs first: runId, status, tags."""
        found = self.ask(
            "{ runsOrError(limit: 50) { ... on Runs { results "
            "{ runId status rootRunId parentRunId tags { key value } } } } }"
        )
        return list(found["runsOrError"]["results"])


def write_texts(folder: Path) -> None:
    """Eighty short documents: enough for every split to fill a row."""
    folder.mkdir()
    for number in range(80):
        words = [f"def f{(i + 3) * (number + 5) % 97}(x): return x + {i % 13}" for i in range(12)]
        (folder / f"{number:02d}.txt").write_text("\n".join(words))


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """The UI of a workspace in which the CLI has made one SAE."""
    folder = tmp_path_factory.mktemp("ui")
    write_texts(folder / "texts")
    study = folder / "study.yaml"
    study.write_text(STUDY.replace("TEXTS", str(folder / "texts")))
    place = ["--workspace", str(folder / "workspace")]
    command = [*SAE, *place, "backfill", str(study), "--recipes", "topk"]
    subprocess.run(command, check=True, timeout=1200)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [*SAE, *place, "ui", "--port", str(port)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        found = next((line for line in server.stdout if "shows the workspace" in line), None)
        assert found, "the UI did not start"
        address = re.search(r"http://\S+", found)
        assert address
        yield Ui(address[0], Workspace.open(folder / "workspace"))
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=120) == 0
        server.stdout.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless browser."""
    from playwright import sync_api

    browser_path = os.environ.get("BROWSER_PATH") or next(
        filter(None, map(shutil.which, BROWSERS)), None
    )
    if browser_path is None:
        pytest.fail("no Chromium was found; on Debian: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(ui: Ui, browser: Browser) -> Page:
    """One page of the browser, patient with a busy machine."""
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)
    return page
