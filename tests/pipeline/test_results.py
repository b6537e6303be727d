"""The pages of results say what SQL says; what a workspace does not have stays, or was not run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pipeline.catalog.warehouse import query, refresh
from pipeline.catalog.write import write_run
from pipeline.claims import claims
from pipeline.results import claims_page
from pipeline.results.__main__ import write
from pipeline.results.example import ROOT, arms, read_example
from pipeline.results.experiments_page import definition, examples
from pipeline.results.kept import CHANGED, NOT_RUN
from pipeline.results.made import made, read_costs, saes
from pipeline.results.markdown import number
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import match, metric, row, sae

ENCODER = "examples/experiments/encoder_init.yaml"
BASELINES = "examples/random_baselines.yaml"
VERDICTS = (ROOT / "examples/experiments/verdicts.sql").read_text()
CONTRAST = re.compile(r"\('(\w+)', '([\w-]+)', '([\w-]+)', '(\w+)', ([\d.]+)\)")


def study_rows(path: str) -> dict[str, list[dict]]:
    """Rows of every SAE of a study, as if it had been run; each number differs a little by seed."""
    saes_, metrics, latents = [], [], []
    for place, name in enumerate(saes(read_example(path).study)):
        seed, worse = int(name.rsplit(".s", 1)[1]), 0.1 * ("independent" in name)
        saes_.append(sae(name, n_latents=2, tokens=524288, seconds=5.0))
        numbers = {"fvu": 0.3 + 0.0001 * seed, "l0": 16.0, "mmcs_other_seed": 0.5 + 0.01 * seed}
        numbers["dead_train"] = 0.2 + worse + 0.001 * seed
        metrics += [metric(name, of, value) for of, value in numbers.items()]
        for latent in range(2):
            frequency = 0.01 * (1 + latent + place % 3)
            about = {"sae": name, "sae_hash": "h", "evaluation_hash": "e", "latent": latent}
            firing = {"firing_frequency": frequency, "n_fires": 100, "token_entropy": 1.0 + latent}
            latents.append(row("latents", **about, **firing))
    return {"saes": saes_, "metrics": metrics, "latents": latents}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path]:
    """A workspace in which two studies were run, and the pages made of it."""
    workspace = Workspace.open(tmp_path_factory.mktemp("workspace"))
    baselines = study_rows(BASELINES)
    pairs = [
        match(f"pylm.{a}.mlp_out.2/baseline-l1.s0", f"pylm.{b}.mlp_out.2/baseline-l1.s1", 0.42)
        for a, b in (("trained", "trained"), ("random", "random"))
    ]
    write_run(workspace, "r1", study_rows(ENCODER), kind="evaluation")
    write_run(workspace, "r2", baselines | {"dictionary_matches": pairs}, kind="evaluation")
    refresh(workspace)
    docs = tmp_path_factory.mktemp("docs")
    costs = read_costs(["encoder_init wall 10.5 user 20 sys 1.5 rss 3kB rc 0", "all done"])
    assert write(workspace, docs, costs) == [
        docs / name for name in ("experiments.md", "claims.md", "random-baselines.md")
    ]
    return workspace, docs


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which nothing was run."""
    workspace = Workspace.open(tmp_path_factory.mktemp("empty"))
    refresh(workspace)
    return workspace


def section(page: str, name: str) -> str:
    """What a page says under a heading."""
    return page.split(f"\n## {name}\n")[1].split("\n## ")[0]


def overview(page: str) -> list[str]:
    """The rows of a page's overview."""
    return [line for line in page.splitlines() if line.startswith("| [")]


def test_an_experiment_shows_every_contrast_as_sql_tells_it(told: tuple[Workspace, Path]) -> None:
    page = (told[1] / "experiments.md").read_text()
    shown = section(page, "encoder_init")
    rows = query(told[0], VERDICTS).to_pylist()
    assert {r["experiment"] for r in rows} == {"encoder_init"}
    assert len(rows) == 4
    for one in rows:
        (line,) = (
            line
            for line in shown.splitlines()
            if line.startswith(f"| {one['metric']} | `{one['treated']}` − `{one['baseline']}`")
        )
        for value in (one["difference"], one["ci_low"], one["ci_high"], one["smallest_effect"]):
            assert number(value) in line
        assert line.endswith(f"| 6 | **{one['verdict']}** |")
    assert "24 of 24 SAEs trained and evaluated; 12,582,912 training tokens" in shown
    assert "10 s of wall clock and 22 CPU seconds" in shown
    assert "sae run examples/experiments/encoder_init.yaml" in shown
    (line,) = (one for one in overview(page) if "(#encoder_init)" in one)
    assert "dead_train against `enc-transpose`: `enc-independent` **higher**; dead_train" in line


def test_the_picture_of_every_experiment_that_was_run_is_there_and_small(
    told: tuple[Workspace, Path],
) -> None:
    pictures = {path.name: path for path in (told[1] / "results").iterdir()}
    assert set(pictures) == {
        "encoder_init.png",
        "random_baselines_firing_frequency.png",
        "random_baselines_token_entropy.png",
    }
    shown = (told[1] / "experiments.md").read_text() + (told[1] / "random-baselines.md").read_text()
    for name, path in pictures.items():
        assert f"](results/{name})" in shown
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < 100_000


def test_what_was_not_run_is_said_to_be_so(
    told: tuple[Workspace, Path], empty: Workspace, tmp_path: Path
) -> None:
    page = (told[1] / "experiments.md").read_text()
    for one in examples():
        assert (NOT_RUN in section(page, one.name)) == (one.name != "encoder_init")
    for path in write(empty, tmp_path, {}):
        assert NOT_RUN in path.read_text()


def test_what_a_workspace_does_not_have_stays_as_it_is(
    told: tuple[Workspace, Path], empty: Workspace, tmp_path: Path
) -> None:
    """Two workspaces in turn make the pages that one makes that has both studies."""
    docs = tmp_path / "docs"
    shutil.copytree(told[1], docs)
    names = ["experiments.md", "claims.md", "random-baselines.md", "results/encoder_init.png"]
    for path in write(empty, docs, {}):
        assert path.read_text() == (told[1] / path.name).read_text()
    other = Workspace.open(tmp_path / "other")
    write_run(other, "r3", study_rows("examples/experiments/multi_topk.yaml"), kind="evaluation")
    refresh(other)
    write(other, docs, {})
    page = (docs / "experiments.md").read_text()
    assert "16 of 16 SAEs" in section(page, "multi_topk")
    before = (told[1] / "experiments.md").read_text()
    assert section(page, "encoder_init") == section(before, "encoder_init")
    rows = [
        [line for line in text.splitlines() if line.startswith("| [")] for text in (before, page)
    ]
    changed = [new for old, new in zip(*rows, strict=True) if old != new]
    assert [line.split("]")[0] for line in changed] == ["| [multi_topk"]
    assert all((docs / name).exists() for name in names)


def test_results_of_what_was_defined_otherwise_are_no_results(
    told: tuple[Workspace, Path], empty: Workspace, tmp_path: Path
) -> None:
    page = (told[1] / "experiments.md").read_text()
    (tmp_path / "experiments.md").write_text(page.replace("n_latents 4096", "n_latents 2048"))
    write(empty, tmp_path, {})
    text = (tmp_path / "experiments.md").read_text()
    assert CHANGED in section(text, "encoder_init")
    assert re.search(r"^\| \[encoder_init\].* \| not run \|$", text, re.MULTILINE)
    assert "n_latents 2048" not in text


def test_what_a_script_measured_is_told_with_its_commit_and_cost(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "workspace")
    arms_ = {"topk": 0.4, "batch_topk": 0.3, "matryoshka": 0.1}
    rows = [
        row("absorption", recipe=name, architecture=name, seed=seed, tokens=1000, absorbed=rate)
        for name, rate in arms_.items()
        for seed in range(5)
    ]
    write_run(workspace, "r1", {"absorption": rows}, kind="absorption")
    refresh(workspace)
    write(workspace, tmp_path, read_costs(["absorption wall 90.2 user 64 sys 1"]))
    shown = section((tmp_path / "claims.md").read_text(), "matryoshka_absorption")
    (commit,) = query(workspace, 'SELECT "commit" FROM commits').to_pylist()
    assert f"by commit `{commit['commit']}`" in shown
    assert "15 of 15 SAEs trained and evaluated; 15,000 training tokens in all. The whole" in shown
    assert "90 s of wall clock and 65 CPU seconds" in shown
    assert shown.count("**supported**") == 2


def test_the_committed_pages_tell_of_the_studies_and_claims_as_they_are_now() -> None:
    """Whoever changes an arm, a claim or a smallest effect runs it again or says it was not run."""
    experiments = (ROOT / "docs" / "experiments.md").read_text()
    for one in examples():
        shown = section(experiments, one.name)
        assert all(part in shown for part in (f"**{one.question}**", *one.notes, *definition(one)))
    for name, baseline, treated, metric_, smallest in CONTRAST.findall(VERDICTS):
        shown = section(experiments, name)
        if NOT_RUN in shown:
            continue
        start = f"| {metric_} | `{treated}` − `{baseline}` |"
        lines = [line for line in shown.splitlines() if line.startswith(start)]
        assert len(lines) == 1, (name, start)
        assert f"| {smallest} |" in lines[0]
    asserted = (ROOT / "docs" / "claims.md").read_text()
    for claim in claims():
        shown = section(asserted, claim.name)
        assert all(part in shown for part in claims_page.definition(claim))


def test_a_study_with_saes_missing_is_said_to_be_incomplete(tmp_path: Path) -> None:
    workspace, example = Workspace.open(tmp_path), read_example(ENCODER)
    rows = study_rows(ENCODER)
    name = rows["saes"].pop()["sae"]
    rows["metrics"] = [one for one in rows["metrics"] if one["sae"] != name]
    write_run(workspace, "r1", rows, kind="evaluation")
    refresh(workspace)
    (found,) = made(workspace, [example], {}).values()
    assert (found.wanted, found.trained, found.evaluated) == (24, 23, 23)
    assert "**Incomplete**: 1 SAEs have no results" in found.told()


def test_claims_are_shown_by_their_own_study_with_query_and_verdict(
    told: tuple[Workspace, Path],
) -> None:
    page = (told[1] / "claims.md").read_text()
    for claim in claims():
        shown = section(page, claim.name)
        assert claim.sql.strip() in shown
        assert claim.statement in shown
        assert claim.command in shown
    (verdict,) = query(told[0], "FROM claims WHERE claim = 'encoder_transpose'").to_pylist()
    shown = section(page, "encoder_transpose")
    assert f"| {number(verdict['effect'])} |" in shown
    assert f"**{verdict['verdict']}**" in shown
    assert verdict["verdict"] == "supported"
    # SAEs of the other study stand apart: a claim is judged by the study that it names.
    own, others = section(page, "seed_similarity").split("SAEs of other studies")
    assert "`enc-transpose`" in own
    assert "`baseline-l1`" not in own
    assert "`baseline-l1`" in others


def test_baselines_stand_beside_what_was_expected(told: tuple[Workspace, Path]) -> None:
    page = (told[1] / "random-baselines.md").read_text()
    assert "| MMCS between seeds | baseline-l1 | trained | 0.42 |" in page
    assert "| > 0.95 |" in page
    assert "50 of 50 SAEs trained and evaluated" in page


def test_arms_are_told_by_the_settings_in_which_they_differ() -> None:
    shared, rows = arms(read_example(ENCODER))
    assert "n_latents 4096" in shared
    assert rows[1]["settings"] == "auxk_weight 0, encoder_init independent"
    assert "encoder_init" not in shared
    _, rows = arms(read_example("examples/claims/shuffling.yaml"))
    assert rows[0] == {"arm": "model `pylm-shuffled`", "settings": "as it is"}
    assert rows[1] == {"arm": "model `pylm-in-order`", "settings": "harvest.shuffle none"}


def test_costs_of_several_runs_of_a_study_are_added_up() -> None:
    found = read_costs(["a wall 1 user 2 sys 3", "b wall 1 user 1 sys 1", "a wall 4 user 5 sys 6"])
    assert "5 s of wall clock and 16 CPU seconds" in found["a"]
    assert set(found) == {"a", "b"}
