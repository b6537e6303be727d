"""Probes in an evaluation: their rows, and what they do not depend on."""

from __future__ import annotations

import pytest

from pipeline.errors import DiskFullError
from pipeline.evaluation import work
from sae_core.metrics import metrics
from tests.pipeline.evaluation.scene import identity_sae
from tests.pipeline.evaluation.world import World, drawn_sae

NUMBERS = {definition.name for definition in metrics()["sparse_probing"].definitions}
FACTS = "* EXCLUDE (run, sae, sae_hash, evaluation_hash)"


def facts(world: World, sae: str) -> list[dict[str, object]]:
    return world.rows(f"SELECT {FACTS} FROM probes WHERE sae = '{sae}' ORDER BY ALL")


def test_every_probe_label_and_k_has_a_row(world: World) -> None:
    (result,) = world.evaluate(world.put(world.cell(), identity_sae()))
    rows = facts(world, result.sae)
    found = {(row["probe"], row["label"], row["k"]) for row in rows}
    chosen = ("latents", "neurons", "random_dictionary", "shuffled_labels")
    assert found == {
        (probe, label, k)
        for label in ("odd", "coin")
        for probe, ks in [
            *((probe, (1, 2, 5)) for probe in chosen),
            *((probe, (None,)) for probe in ("dense", "token", "bigram")),
        ]
        for k in ks
    }
    assert len(rows) == len(found)
    for row in rows:
        assert 0 <= row["auc_ci_low"] <= row["auc"] <= row["auc_ci_high"] <= 1
        assert len(row["chosen"] or ()) == (row["k"] or 0)
        assert row["n_train"] + row["n_test"] == result.metrics["fvu"].n
        assert row["reason"] is None
    (token,) = (row for row in rows if (row["probe"], row["label"]) == ("token", "odd"))
    assert token["auc"] > 0.9, "odd ids are told by the id"


def test_numbers_of_probes_are_means_of_rows(world: World) -> None:
    (result,) = world.evaluate(world.put(world.cell(), identity_sae()))
    (row,) = world.rows(
        "SELECT avg(auc) FILTER (probe = 'latents' AND k = 1) AS latent, "
        "avg(auc) FILTER (probe = 'token') AS token, "
        "avg(auc) FILTER (probe = 'neurons' AND k = 1) AS neuron FROM probes WHERE NOT is_xor"
    )
    found = {name: result.metrics[name] for name in NUMBERS}
    assert found["probe_auc_1"].value == pytest.approx(row["latent"])
    assert found["probe_auc_1_over_token"].value == pytest.approx(row["latent"] - row["token"])
    assert found["probe_auc_1_over_neurons"].value == pytest.approx(row["latent"] - row["neuron"])
    for one in found.values():
        assert one.ci_low < one.value < one.ci_high
        assert one.n == 2


def test_probes_of_saes_measured_together_are_those_of_each_alone(world: World) -> None:
    cells = [world.put(world.cell(seed=i), drawn_sae(i)) for i in range(2)]
    together = world.evaluate(*cells)
    rows = [facts(world, cell.sae_id) for cell in cells]
    for number, cell in enumerate(cells):
        for file in [*world_files(world, cell, "documents-"), *world_files(world, cell, "evaluat")]:
            file.unlink()
        (alone,) = world.evaluate(cell)
        assert not alone.reused
        assert facts(world, cell.sae_id) == rows[number]
        for name in NUMBERS:
            assert alone.metrics[name] == together[number].metrics[name]


def world_files(world: World, cell: object, prefix: str) -> list:
    from pipeline.training.identity import identify

    return list(identify(world.workspace, cell).folder.glob(f"{prefix}*"))


def test_probes_that_come_later_are_those_of_one_evaluation(world: World) -> None:
    cell, other = world.put(world.cell(), drawn_sae(0)), world.put(world.cell(seed=1), drawn_sae(0))
    every = metrics()
    with pytest.MonkeyPatch.context() as patch:
        fewer = {name: metric for name, metric in every.items() if name != "sparse_probing"}
        definitions = [d for m in fewer.values() for d in m.definitions]
        for module in ("measuring", "comparisons"):
            patch.setattr(f"pipeline.evaluation.{module}.metrics", lambda: fewer)
        for module in ("identity", "rows", "measuring"):
            patch.setattr(f"pipeline.evaluation.{module}.definitions", lambda: definitions)
        world.evaluate(cell)
    assert facts(world, cell.sae_id) == []
    world.evaluate(cell)
    world.evaluate(other)
    assert facts(world, cell.sae_id) == facts(world, other.sae_id) != []


def test_an_evaluation_that_broke_off_goes_on_to_the_same_probes(world: World) -> None:
    cell, other = world.put(world.cell(), drawn_sae(0)), world.put(world.cell(seed=1), drawn_sae(0))

    def full(*_: object) -> None:
        raise DiskFullError("no space left")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "write_record", full)
        with pytest.raises(DiskFullError):
            world.evaluate(cell)
    world.evaluate(cell)
    world.evaluate(other)
    assert facts(world, cell.sae_id) == facts(world, other.sae_id) != []


def test_a_twin_on_random_weights_has_the_same_rows_and_a_difference(world: World) -> None:
    trained = world.put(world.cell(), identity_sae())
    twin = world.put(world.cell("random"), identity_sae())
    world.evaluate(twin)
    world.evaluate(trained)
    kinds = [
        {(row["probe"], row["label"], row["k"]) for row in facts(world, cell.sae_id)}
        for cell in (trained, twin)
    ]
    assert kinds[0] == kinds[1]
    rows = {row["metric"]: row for row in world.rows("SELECT * FROM comparisons")}
    for name in NUMBERS:
        assert rows[name]["ci_low"] < rows[name]["difference"] < rows[name]["ci_high"]
    values = [
        [row for row in facts(world, cell.sae_id) if row["probe"] == "token"]
        for cell in (trained, twin)
    ]
    assert values[0] == values[1], "a token's id does not depend on weights"
