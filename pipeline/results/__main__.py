"""`python -m pipeline.results WORKSPACE`: writes the pages that say what the example studies found.

docs/experiments.md, docs/claims.md, docs/random-baselines.md and the pictures in docs/results/.
Not part of `make docs`: their numbers are measured, so they need a workspace with finished studies.
What the pages say of studies that the workspace does not have stays as it is, so that each can be
run in a workspace of its own; a study that never was run is said to be so. --costs FILE: lines that
`time -f 'NAME wall %e user %U sys %S'` wrote of the commands, NAME being the name of a study file
or script without its ending.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.claims import claims
from pipeline.results.baselines_page import STUDY, baselines_page
from pipeline.results.claims_page import claims_page
from pipeline.results.example import ROOT, read_example
from pipeline.results.experiments_page import examples, experiments_page
from pipeline.results.kept import sections
from pipeline.results.made import made, made_by_scripts, read_costs
from pipeline.workspace import Workspace

PAGES = ("experiments.md", "claims.md", "random-baselines.md")


def write(workspace: Workspace, docs: Path, costs: dict[str, str]) -> list[Path]:
    """Writes every page and picture; gives the pages."""
    paths = (
        {one.path for one in examples()}
        | {claim.study for claim in claims() if claim.is_study}
        | {STUDY}
    )
    there = made(workspace, [read_example(path) for path in sorted(paths)], costs)
    scripts = sorted({claim.study for claim in claims() if not claim.is_study})
    there |= made_by_scripts(workspace, scripts, costs)
    before = {name: _text(docs / name) for name in PAGES}
    experiments, asserted, baselines = before.values()
    texts = (
        experiments_page(workspace, docs, there, sections(experiments)),
        claims_page(workspace, there, sections(asserted)),
        baselines_page(workspace, docs, there.get(STUDY), baselines),
    )
    for name, text in zip(PAGES, texts, strict=True):
        (docs / name).write_text(text, encoding="utf-8")
    return [docs / name for name in PAGES]


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8") if page.exists() else ""


def main() -> None:
    """Writes the pages of the workspace that is named."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.results")
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the pages go")
    parser.add_argument("--costs", type=Path, help="what the commands cost")
    given = parser.parse_args()
    costs = read_costs(given.costs.read_text().splitlines()) if given.costs else {}
    for path in write(Workspace.open(given.workspace), given.docs, costs):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
