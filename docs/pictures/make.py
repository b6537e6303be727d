"""Makes the pictures of this folder from a workspace.

    python docs/pictures/make.py --workspace WORKSPACE            # figures, as `sae report` draws
    python docs/pictures/make.py --workspace WORKSPACE --latent SAE 695   # the latent browser

The first takes the figures of the workspace's first site; the second needs Chromium and the extra
`browser`. Pictures have at most 128 colours, which keeps them small.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image

from pipeline import atomic
from pipeline.report.answers import answers
from pipeline.report.ask import asking
from pipeline.report.run import write_report
from pipeline.workspace import Workspace

HERE = Path(__file__).parent
FIGURES = {"frequency": "firing-frequencies", "mmcs": "dictionaries-alike", "fvu_l0": "frontier"}
COLOURS = 128
HEIGHT = 980


def main() -> None:
    """Writes the pictures, and says how large each is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--latent", nargs=2, metavar=("SAE", "INDEX"))
    given = parser.parse_args()
    workspace = Workspace.open(given.workspace)
    if given.latent:
        _save("latent-browser", _browser(workspace, *given.latent))
        return
    with asking(workspace) as ask:
        figures = answers(workspace, ask, None).figures
    for kind, name in FIGURES.items():
        panels = figures[kind][1]
        if panels:
            _save(name, panels[-1].png())


def _browser(workspace: Workspace, sae: str, latent: str) -> bytes:
    """The latent browser of the report, open at one latent."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = write_report(workspace, Path(folder) / "page.html").page
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1180, "height": HEIGHT}, reduced_motion="reduce")
        page.goto(f"{page_file.as_uri()}#sae={sae}&latent={latent}")
        page.locator(".examples").first.wait_for()
        page.locator("#browser").evaluate("e => window.scrollTo(0, e.offsetTop - 60)")
        data = page.screenshot()
        browser.close()
    return data


def _save(name: str, png: bytes) -> None:
    small = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(small, "PNG", optimize=True)
    atomic.write_bytes(HERE / f"{name}.png", small.getvalue())
    print(f"docs/pictures/{name}.png  {len(small.getvalue()) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
