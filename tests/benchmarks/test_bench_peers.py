"""The benchmark of other packages: its table, for recorded seconds; no time is asserted."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SECONDS = {"floor": [0.1, 0.2, 0.4], "topk": [0.3, 0.2, 0.4], "topk_auxk": [0.2, 0.8, 1.2]}


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("bench_peers")


@pytest.fixture
def turns(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.syspath_prepend(str(FOLDER / "peer_scripts"))
    return importlib.import_module("turns")


def test_a_ratio_is_the_median_over_rounds_of_ratios_within_a_round(bench):
    topk, auxk = bench.rows_of("sae-lens", "6.0", SECONDS)
    assert topk == {
        "package": "sae-lens",
        "version": "6.0",
        "step": "topk",
        "ratio": 1.0,  # of 3, 1, 1; the medians' ratio would be 1.5
        "median_ms": 300.0,
        "floor_ms": 200.0,
    }
    assert (auxk["step"], auxk["ratio"]) == ("topk_auxk", 3.0)  # of 2, 4, 3


def test_the_table_gives_versions_ratios_to_the_floor_and_to_ours(bench):
    half = {"floor": [0.2] * 3, "topk": [0.1] * 3, "topk_auxk": [0.3] * 3}
    theirs = {"floor": [0.2] * 3, "topk": [0.4] * 3, "topk_auxk_adam": [0.6] * 3}
    rows = bench.rows_of(bench.OURS, "0.1.0", half) + bench.rows_of("eai-sparsify", "1.3", theirs)
    lines = [line.split() for line in bench.table(rows).splitlines()[1:]]
    assert lines == [
        ["sae-foundry", "0.1.0", "topk", "0.50", "1.0", "100.0", "200.0"],
        ["sae-foundry", "0.1.0", "topk_auxk", "1.50", "1.0", "300.0", "200.0"],
        ["eai-sparsify", "1.3", "topk", "2.00", "4.0", "400.0", "200.0"],
        ["eai-sparsify", "1.3", "topk_auxk_adam", "3.00", "2.0", "600.0", "200.0"],
    ]


def test_a_package_that_is_not_installed_is_named_with_what_installs_it(
    bench, monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(bench, "told", lambda name, *_: bench.rows_of(name, "0.1.0", SECONDS))
    monkeypatch.setattr(sys, "argv", ["bench_peers.py", "--allocators", "default"])
    assert bench.main() == 0
    shown = capsys.readouterr().out.splitlines()
    for name in bench.PEERS:
        line = next(line for line in shown if name in line)
        assert line.endswith(f"not installed here; to install: {bench.install_command(name)}")
    assert not list(tmp_path.iterdir())


def test_an_environment_of_another_version_counts_as_not_installed(bench, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    environments = sys.modules[bench.installed_python_of.__module__]
    place = environments.folder() / "sae-lens"
    place.mkdir(parents=True)
    (place / "made").write_text(environments._wanted("sae-lens"))
    assert bench.installed_python_of("sae-lens") == place / "bin/python"
    (place / "made").write_text("sae-lens==1.0 torch 1.0")
    assert bench.installed_python_of("sae-lens") is None


def test_a_package_whose_script_fails_is_named_and_counted(bench, monkeypatch, capsys):
    def failed(*_):
        return [{"package": "sae-lens", "failed": "ImportError: no torch"}]

    monkeypatch.setattr(bench, "told", failed)
    monkeypatch.setattr(bench, "PEERS", ())
    monkeypatch.setattr(sys, "argv", ["bench_peers.py", "--allocators", "default"])
    assert bench.main() == 1
    assert "FAILED: ImportError: no torch" in capsys.readouterr().out


def test_a_loop_takes_one_step_for_every_turn(turns):
    seen, stream = [], turns.Turns("batch")

    def loop() -> None:
        for number, batch in zip(range(3), stream, strict=False):
            seen.append((number, batch))

    step = stream.begin(loop)
    assert seen == []
    step()
    assert seen == [(0, "batch")]
    step()
    assert seen == [(0, "batch"), (1, "batch")]


def test_a_loop_that_ends_before_its_turns_do_is_an_error(turns):
    stream = turns.Turns("batch")
    step = stream.begin(lambda: next(stream))
    with pytest.raises(RuntimeError, match="loop ended"):
        step()
