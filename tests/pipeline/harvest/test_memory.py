"""A harvest of a real model, in a process of its own, takes memory that its data do not decide."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MEMORY_MB = 48


def harvested(folder: Path, texts: Path, tokens: int) -> tuple[int, int]:
    """Bytes stored, and what storing them added to the process's memory at its peak."""
    command = [sys.executable, "-m", "tests.pipeline.harvest.measured_harvest"]
    done = subprocess.run(
        [*command, str(folder), str(texts), str(tokens), str(MEMORY_MB)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    stored, added = done.stdout.split()[-2:]
    return int(stored), int(added)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can forget a peak")
def test_the_memory_of_a_real_harvest_does_not_grow_with_its_data(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        (texts / f"{path.stem}.txt").write_bytes(path.read_bytes())
    # Both fill the memory allowed; the rest is the model, its activations and the packed text.
    few, added_by_few = harvested(tmp_path / "few", texts, 24576)
    many, added_by_many = harvested(tmp_path / "many", texts, 131072)
    budget = MEMORY_MB * 1e6
    assert few > 3 * budget
    assert many - few > 12 * budget
    assert added_by_many - added_by_few < budget
