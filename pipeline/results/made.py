"""What a workspace has of a study: how many of its SAEs, at what cost, by which code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from pipeline.catalog.views import quoted
from pipeline.catalog.warehouse import query
from pipeline.results.example import Example
from pipeline.study.config import Study
from pipeline.workspace import Workspace

_COST = re.compile(r"(\S+) wall ([\d.]+) user ([\d.]+) sys ([\d.]+)")
_SQL = """
WITH wanted(file, sae) AS (VALUES {wanted}),
mine AS (SELECT file, s.* FROM wanted JOIN internal.current_saes AS s USING (sae)),
evaluated AS (
  SELECT DISTINCT file, m.sae, m.run FROM mine JOIN metrics AS m USING (sae, sae_hash)
),
by_run AS (SELECT file, run, max(seconds) AS seconds FROM mine GROUP BY ALL),
runs AS (SELECT file, run FROM mine UNION SELECT file, run FROM evaluated)
SELECT file, count(*) AS trained, sum(tokens)::BIGINT AS tokens,
  (SELECT count(DISTINCT sae) FROM evaluated AS e WHERE e.file = mine.file) AS evaluated,
  (SELECT sum(seconds) FROM by_run AS b WHERE b.file = mine.file) AS seconds,
  (SELECT list(DISTINCT coalesce(c."commit", 'of no clone'))
    FROM commits AS c JOIN runs AS r USING (run) WHERE r.file = mine.file) AS commits,
  (SELECT max(committed_at) FROM commits JOIN runs AS r USING (run) WHERE r.file = mine.file)
    AS finished
FROM mine GROUP BY file
"""
_OF_SCRIPT = """
SELECT count(*) AS saes, sum(tokens)::BIGINT AS tokens,
  list(DISTINCT coalesce(c."commit", 'of no clone')) AS commits, max(committed_at) AS finished
FROM {table} JOIN commits AS c USING (run)
"""


@dataclass(frozen=True)
class Made:
    """Of a study's `wanted` SAEs: how many exist; training's tokens and wall-clock seconds.

    `seconds`: None where they are not kept, as of a script that writes its numbers alone.
    `finished`: the day (UTC) of the last result. `cost`: wall-clock and CPU seconds of the whole
    command as told to the page, or nothing.
    """

    wanted: int
    trained: int
    evaluated: int
    tokens: int
    seconds: float | None
    commits: tuple[str, ...]
    finished: str
    cost: str

    def told(self) -> str:
        """All of it in a paragraph."""
        took = ""
        if self.seconds is not None:
            took = f" Training took {self.seconds:,.0f} s of wall clock, many SAEs at once."
        lines = (
            f"**Run**: {self.evaluated} of {self.wanted} SAEs trained and evaluated; "
            f"{self.tokens:,} training tokens in all.{took}{self.cost} "
            f"Finished on {self.finished} (UTC) by commit "
            + ", ".join(f"`{commit}`" for commit in self.commits)
            + "."
        )
        if self.evaluated < self.wanted:
            lines += f" **Incomplete**: {self.wanted - self.evaluated} SAEs have no results."
        return lines


def made(
    workspace: Workspace, examples: Sequence[Example], costs: Mapping[str, str]
) -> dict[str, Made]:
    """What there is of each study, by its path; those of which no SAE was evaluated are left out.

    `costs`: sentences about what commands cost, by the study's name.
    """
    by_path = {one.path: one for one in examples}
    wanted = {path: saes(one.study) for path, one in by_path.items()}
    values = ", ".join(
        f"({quoted(path)}, {quoted(sae)})" for path, ids in wanted.items() for sae in ids
    )
    return {
        row["file"]: Made(
            wanted=len(wanted[row["file"]]),
            trained=row["trained"],
            evaluated=row["evaluated"],
            tokens=row["tokens"],
            seconds=row["seconds"],
            commits=tuple(sorted(row["commits"])),
            finished=f"{row['finished']:%Y-%m-%d}",
            cost=costs.get(by_path[row["file"]].name, ""),
        )
        for row in query(workspace, _SQL.format(wanted=values)).to_pylist()
        if row["evaluated"]
    }


def made_by_scripts(
    workspace: Workspace, paths: Sequence[str], costs: Mapping[str, str]
) -> dict[str, Made]:
    """What there is of each script that writes to the table of its name, by its path.

    It measures its SAEs as it trains them, so that as many are wanted as there are.
    """
    found = {}
    for path in paths:
        name = PurePath(path).stem
        (row,) = query(workspace, _OF_SCRIPT.format(table=name)).to_pylist()
        if row["saes"]:
            found[path] = Made(
                wanted=row["saes"],
                trained=row["saes"],
                evaluated=row["saes"],
                tokens=row["tokens"],
                seconds=None,
                commits=tuple(sorted(row["commits"])),
                finished=f"{row['finished']:%Y-%m-%d}",
                cost=costs.get(name, ""),
            )
    return found


def saes(study: Study) -> list[str]:
    """The ids of all SAEs of a study."""
    return [f"{source}/{key}" for source, key in study.cells()]


def read_costs(lines: Iterable[str]) -> dict[str, str]:
    """What commands cost, by study: `time -f 'NAME wall %e user %U sys %S'` wrote these lines.

    Several lines about one study are added up; lines without `wall` say nothing of costs.
    """
    found: dict[str, tuple[float, float]] = {}
    for line in lines:
        match = _COST.match(line)
        if match:
            name, (wall, user, system) = match[1], map(float, match.groups()[1:])
            before = found.get(name, (0.0, 0.0))
            found[name] = (before[0] + wall, before[1] + user + system)
    return {
        name: f" The whole command took {wall:,.0f} s of wall clock and {cpu:,.0f} CPU seconds."
        for name, (wall, cpu) in found.items()
    }
