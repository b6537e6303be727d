"""What a workspace can give back: small parts made one, leftovers, folders nothing points to.

Readers may be in the middle of a query: parts are never changed. A compaction writes new parts
and then one commit record that takes over from the old ones; these go later, when no query that
began before can still run. A query that lists the folder just before they go and opens them just
after is told that a file is missing: `sae sql` asks again by itself, in a shell one asks again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline import atomic
from pipeline.catalog import parts, provenance
from pipeline.catalog.tables import COMMITS, TABLES
from pipeline.catalog.warehouse import connect
from pipeline.catalog.write import commit, new_run_id
from pipeline.errors import WorkspaceError
from pipeline.locks import cell_lock, device_holder, device_lock, forget_run, runs
from pipeline.workspace import Workspace

_FEW = 16
_SMALL_BYTES = 64 << 20


@dataclass(frozen=True)
class Removal:
    """One thing that can go: what it is, why, and its bytes."""

    path: Path
    why: str
    n_bytes: int


@dataclass(frozen=True)
class Collection:
    """What a collection does: parts that become one, and what is removed."""

    compact: tuple[str, ...]
    remove: tuple[Removal, ...]
    died: tuple[str, ...]


def plan(workspace: Workspace, *, older_than_hours: float) -> Collection:
    """What can go now; nothing younger than `older_than_hours` does."""
    before = time.time() - 3600 * older_than_hours
    live = _live(workspace)
    small = [name for name in live if _part_bytes(workspace, name) < _SMALL_BYTES]
    remove = [
        *(_removal(p, "leftover") for p in atomic.sweep_leftovers(workspace.root, dry_run=True)),
        *_superseded(workspace, set(live), before),
        *_unnamed(workspace, before),
    ]
    died = tuple(run for run, (_, alive) in runs(workspace).items() if not alive)
    return Collection(tuple(small) if len(small) >= _FEW else (), tuple(remove), died)


def collect(
    workspace: Workspace, *, older_than_hours: float, confirm: Callable[[Collection], bool]
) -> Collection | None:
    """Compacts parts and removes what `plan` names, where `confirm` agrees; returns what it did.

    Raises WorkspaceError while something runs in the workspace.
    """
    with cell_lock(workspace, "gc"), _idle(workspace):
        found = plan(workspace, older_than_hours=older_than_hours)
        if not confirm(found):
            return None
        for removal in found.remove:
            if removal.path.is_dir():
                shutil.rmtree(removal.path)
            else:
                removal.path.unlink(missing_ok=True)
        for run in found.died:
            forget_run(workspace, run)
        if found.compact:
            _compact(workspace, found.compact)
        return found


@contextmanager
def _idle(workspace: Workspace) -> Iterator[None]:
    alive = [run for run, (_, is_alive) in runs(workspace).items() if is_alive]
    holder = device_holder(workspace)
    if alive or holder:
        who = holder or f"run {alive[0]}"
        raise WorkspaceError(
            f"{who} works in {workspace.root}: what it makes could look unused. "
            "Wait until it ends (`sae status`), then repeat `sae gc`."
        )
    with device_lock(workspace, "sae gc"):
        yield


def _live(workspace: Workspace) -> list[str]:
    """Names of the commit records that hold rows now."""
    with connect(workspace) as connection:
        found = connection.execute("SELECT DISTINCT part FROM internal.runs ORDER BY part")
        return [name for (name,) in found.fetchall()]


def _part_files(workspace: Workspace, name: str) -> list[Path]:
    """A record's parts, its commit last: what shows first must go last."""
    names = [*(table for table in TABLES if table != COMMITS.name), COMMITS.name]
    paths = [parts.part(workspace, table, name) for table in names]
    return [path for path in paths if path.exists()]


def _part_bytes(workspace: Workspace, name: str) -> int:
    return sum(path.stat().st_size for path in _part_files(workspace, name))


def _compact(workspace: Workspace, names: Iterable[str]) -> None:
    """One part per table in place of many; rows and their runs stay as they are."""
    import pyarrow.parquet as pq

    run = new_run_id("compaction")
    records: list[dict[str, object]] = []
    for name in names:
        records += pq.read_table(parts.part(workspace, COMMITS.name, name)).to_pylist()
    for table in TABLES.values():
        if table is COMMITS:
            continue
        paths = [parts.part(workspace, table.name, name) for name in names]
        paths = [path for path in paths if path.exists()]
        if paths:
            _join(table.name, paths, parts.part(workspace, table.name, run))
    own = {"kind": "compaction", "package_version": provenance.package_version()}
    commit(workspace, run, [*records, {"run": run, "commit": provenance.code_commit(), **own}])


def _join(table: str, paths: list[Path], target: Path) -> None:
    """Part by part, in the memory of one; columns that a part has not yet known become NULL."""
    import pyarrow.parquet as pq

    schema = parts.schema(TABLES[table])
    n_bytes = sum(path.stat().st_size for path in paths)
    with (
        atomic.writing(target, n_bytes=n_bytes) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for path in paths:
            writer.write_table(parts.widened(pq.read_table(path), schema))


def _superseded(workspace: Workspace, live: set[str], before: float) -> list[Removal]:
    """Parts whose rows are in a compacted part, or whose run was never committed."""
    names = {
        path.stem
        for table in TABLES
        for path in (workspace.tables / table).glob("*.parquet")
        if not path.stem.startswith("_schema-")
    }
    taken_over = _taken_over(workspace)
    found = []
    for name in sorted(names - live):
        files = _part_files(workspace, name)
        # A query from before another record took over may still read the old parts.
        if taken_over.get(name, _newest_change(files)) < before:
            why = "compacted" if name in taken_over else "never committed"
            found += [_removal(path, why) for path in files]
    return found


def _taken_over(workspace: Workspace) -> dict[str, float]:
    """Run -> since when a record other than its own holds its rows, in Unix seconds."""
    with connect(workspace) as connection:
        found = connection.execute(
            "SELECT run, min(epoch(shows_from)) "
            "FROM read_parquet(getvariable('tables') || '/commits/*.parquet', "
            "union_by_name = true, filename = true) "
            "WHERE parse_filename(filename, true) <> run GROUP BY run"
        )
        return dict(found.fetchall())


def _unnamed(workspace: Workspace, before: float) -> list[Removal]:
    """SAE folders and activation stores that no committed row names, untouched since `before`.

    Rows are compared by the end of their path: a workspace may have been moved.
    """
    with connect(workspace) as connection:
        saes = connection.execute("SELECT path FROM saes WHERE path IS NOT NULL").fetchall()
        stores = connection.execute("SELECT store_path FROM sources").fetchall()
    folders = {Path(path).parts[-3:] for (path,) in saes}
    names = {part for (path,) in stores if path for part in Path(path).parts}
    candidates = [p for p in workspace.saes.glob("*/*/*") if p.parts[-3:] not in folders]
    candidates += [p for p in workspace.activations.glob("*") if p.name not in names]
    return [
        _removal(path, "no table names it")
        for path in sorted(candidates)
        if path.is_dir() and _newest_change([path, *path.rglob("*")]) < before
    ]


def _newest_change(paths: Iterable[Path]) -> float:
    return max((path.stat().st_mtime for path in paths), default=0.0)


def _removal(path: Path, why: str) -> Removal:
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return Removal(path, why, sum(file.stat().st_size for file in files))
