from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pipeline.catalog import collect as collecting
from pipeline.catalog import parts
from pipeline.catalog.collect import Collection, collect, plan
from pipeline.catalog.warehouse import connect, query
from pipeline.catalog.write import write_run
from pipeline.errors import WorkspaceError
from pipeline.locks import device_lock, run_lock
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import metric, row, sae

N = 4


@pytest.fixture
def filled(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(collecting, "_FEW", 3)
    for i in range(N):
        name = f"m.trained.resid_post.{i}/t.s0"
        rows = {"saes": [sae(name)], "metrics": [metric(name, "l0", float(i))]}
        write_run(workspace, f"r{i}", rows, kind="training")
    return workspace


def _yes(found: Collection) -> bool:
    return True


def _state(workspace: Workspace) -> list[dict[str, object]]:
    return query(
        workspace, "SELECT sae, s.run, l0 FROM evaluations JOIN saes s USING (sae) ORDER BY 1"
    ).to_pylist()


def _shown_runs(workspace: Workspace) -> set[str]:
    return set(
        query(workspace, "SELECT run FROM commits WHERE kind = 'training'")["run"].to_pylist()
    )


def _age(path: Path, *, hours: float) -> None:
    for one in [path, *path.rglob("*")]:
        then = time.time() - 3600 * hours
        os.utime(one, (then, then))


def test_a_compaction_changes_no_answer_and_goes_in_two_steps(filled: Workspace) -> None:
    before = _state(filled)
    first = collect(filled, older_than_hours=0, confirm=_yes)
    assert first is not None
    assert (len(first.compact), first.remove) == (N, ())
    assert len(list((filled.tables / "metrics").glob("[!_]*.parquet"))) == N + 1
    assert _state(filled) == before
    second = collect(filled, older_than_hours=0, confirm=_yes)
    assert second is not None
    assert second.compact == ()
    assert len(second.remove) == 3 * N
    assert len(list((filled.tables / "metrics").glob("[!_]*.parquet"))) == 1
    assert _state(filled) == before
    assert _shown_runs(filled) == {f"r{i}" for i in range(N)}


def test_old_parts_stay_for_queries_that_may_still_read_them(filled: Workspace) -> None:
    collect(filled, older_than_hours=0, confirm=_yes)
    assert plan(filled, older_than_hours=1).remove == ()


def test_parts_age_from_the_first_record_that_took_over(filled: Workspace) -> None:
    """Else a workspace that is compacted often would never give anything back."""
    collect(filled, older_than_hours=0, confirm=_yes)
    between = time.time() + 0.25
    time.sleep(0.5)
    for i in range(3):
        write_run(filled, f"r-later{i}", {"metrics": [metric("m", "l0", 1.0)]}, kind="training")
    collect(filled, older_than_hours=1, confirm=_yes)
    found = plan(filled, older_than_hours=(time.time() - between) / 3600).remove
    assert {one.path.stem for one in found} == {f"r{i}" for i in range(N)}


def test_a_reader_from_before_the_switch_keeps_its_answer(filled: Workspace) -> None:
    with connect(filled) as reader:
        reader.execute("BEGIN")
        before = reader.execute("SELECT sae, l0 FROM evaluations ORDER BY 1").fetchall()
        collect(filled, older_than_hours=0, confirm=_yes)
        assert reader.execute("SELECT sae, l0 FROM evaluations ORDER BY 1").fetchall() == before


def test_results_after_a_compaction_show_and_are_compacted_in_turn(filled: Workspace) -> None:
    collect(filled, older_than_hours=0, confirm=_yes)
    name = "m.trained.resid_post.0/t.s0"
    write_run(filled, "r-later", {"metrics": [metric(name, "l0", 99.0)]}, kind="training")
    assert _state(filled)[0]["l0"] == 99.0
    write_run(filled, "r-last", {"metrics": [metric(name, "fvu", 0.5)]}, kind="training")
    before = _state(filled)
    assert collect(filled, older_than_hours=0, confirm=_yes) is not None
    collect(filled, older_than_hours=0, confirm=_yes)
    assert _state(filled) == before
    assert len(_shown_runs(filled)) == N + 2
    assert len(list((filled.tables / "commits").glob("[!_]*.parquet"))) == 1


def test_parts_of_a_run_that_never_committed_go_when_old(filled: Workspace) -> None:
    orphan = parts.part(filled, "metrics", "crashed")
    orphan.write_bytes(parts.part(filled, "metrics", "r0").read_bytes())
    assert plan(filled, older_than_hours=1).remove == ()
    _age(orphan, hours=2)
    (removal,) = plan(filled, older_than_hours=1).remove
    assert (removal.path, removal.why) == (orphan, "never committed")


def test_folders_that_no_row_names_go_when_old_and_the_others_stay(filled: Workspace) -> None:
    kept = filled.saes / "m.trained.resid_post.0" / "t.s0" / "h"
    gone = filled.saes / "m.trained.resid_post.0" / "t.s0" / "abandoned"
    store, unused = filled.activations / "m.trained.abc", filled.activations / "m.trained.old"
    for folder in (kept, gone, store, unused):
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(bytes(10))
    source = row("sources", source="m.trained.resid_post.0", source_hash="x", store_path=str(store))
    write_run(filled, "harvest", {"sources": [source]}, kind="harvest")
    assert plan(filled, older_than_hours=1).remove == ()
    for folder in (kept, gone, store, unused):
        _age(folder, hours=2)
    found = plan(filled, older_than_hours=1).remove
    assert [(one.path, one.n_bytes) for one in found] == [(unused, 10), (gone, 10)]
    collect(filled, older_than_hours=1, confirm=_yes)
    assert [path.exists() for path in (kept, gone, store, unused)] == [True, False, True, False]


def test_rows_written_where_the_workspace_was_before_still_count(filled: Workspace) -> None:
    name = "m.trained.resid_post.7/t.s0"
    folder = filled.saes / name / "h"
    folder.mkdir(parents=True)
    _age(folder, hours=2)
    written = sae(name, path=f"/where/it/was/saes/{name}/h")
    write_run(filled, "moved", {"saes": [written]}, kind="training")
    assert plan(filled, older_than_hours=1).remove == ()


def test_nothing_happens_without_consent(filled: Workspace) -> None:
    files = sorted(filled.tables.rglob("*"))
    assert collect(filled, older_than_hours=0, confirm=lambda found: False) is None
    assert sorted(filled.tables.rglob("*")) == files


def test_it_is_refused_while_something_runs(filled: Workspace) -> None:
    with run_lock(filled, "busy"), pytest.raises(WorkspaceError, match="run busy works"):
        collect(filled, older_than_hours=0, confirm=_yes)
    with device_lock(filled, "harvest"), pytest.raises(WorkspaceError, match="harvest"):
        collect(filled, older_than_hours=0, confirm=_yes)
