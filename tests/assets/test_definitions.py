"""The graph as people know it: what is made from what, quick to load."""

from __future__ import annotations

import subprocess
import sys

import dagster as dg

from assets.definitions import defs
from pipeline.orchestrate.instance import PROJECT_ROOT

GRAPH = {
    "corpus": [],
    "activations": ["corpus"],
    "sae": ["activations"],
    "evaluation": ["sae"],
    "random_baselines": ["evaluation"],
    "dictionary_matches": ["evaluation"],
    "report": ["dictionary_matches", "random_baselines"],
}
CHECKS = {
    "activations": {"store_integrity", "shuffle_quality", "masked_rows"},
    "sae": {"weights_integrity", "dead_in_training"},
    "evaluation": {"metrics_are_finite", "dead_on_held_out"},
    "random_baselines": {
        "trained_differs_from_random",
        "metrics_separate_trained_from_random",
        "dictionaries_separate_trained_from_random",
    },
}
HEAVY = ("torch", "transformers", "zarr", "pyarrow", "duckdb", "matplotlib")


def test_the_graph_is_the_documented_one() -> None:
    graph = defs.resolve_asset_graph()
    found = {
        key.to_user_string(): sorted(
            parent.to_user_string() for parent in graph.get(key).parent_keys
        )
        for key in graph.get_all_asset_keys()
    }
    assert found == GRAPH


def test_every_check_is_declared() -> None:
    graph = defs.resolve_asset_graph()
    found: dict[str, set[str]] = {}
    for key in graph.asset_check_keys:
        found.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    assert found == CHECKS


def test_only_integrity_can_stop_a_run() -> None:
    specs = [spec for asset in defs.assets or [] for spec in asset.check_specs]
    assert {spec.name for spec in specs if spec.blocking} == {
        "store_integrity",
        "weights_integrity",
        "metrics_are_finite",
    }


def test_sae_and_evaluation_share_partitions_and_policy() -> None:
    graph = defs.resolve_asset_graph()
    sae, evaluation = (graph.get(dg.AssetKey(name)) for name in ("sae", "evaluation"))
    assert sae.partitions_def == evaluation.partitions_def
    assert sae.backfill_policy == evaluation.backfill_policy


def test_the_definitions_are_loadable() -> None:
    dg.Definitions.validate_loadable(defs)


def test_loading_the_definitions_loads_nothing_heavy_and_warns_of_nothing() -> None:
    code = f"import assets.definitions, sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_every_asset_explains_itself() -> None:
    for asset in defs.assets or []:
        assert all(len(text or "") > 40 for text in asset.descriptions_by_key.values())
