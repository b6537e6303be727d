"""A person's clicks, in a real browser, on a real workspace."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from pipeline.catalog.warehouse import query
from pipeline.orchestrate.instance import instance as open_instance

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from .conftest import Ui

pytestmark = pytest.mark.long

SOURCE = "lm.trained.resid_post.0"
FINAL = {"SUCCESS", "FAILURE", "CANCELED"}


def add_partition(page: Page, dialog: Locator, *, place: int, key: str) -> None:
    """Types a new key into the launch dialog's own box."""
    dialog.get_by_text("Add a partition").nth(place).click()
    page.locator("input[placeholder='name']").fill(key)
    page.get_by_role("button", name="Save").click()
    page.locator("input[placeholder='name']").wait_for(state="detached")


def choose_partition(page: Page, dialog: Locator, key: str) -> None:
    """Picks one existing key in the next empty dimension of the launch dialog."""
    dialog.get_by_text("Select a partition or create one").first.click()
    page.get_by_placeholder("Filter partitions").fill(key)
    page.locator("label:visible", has_text=key).last.click()
    page.keyboard.press("Escape")


def open_dialog(ui: Ui, page: Page, asset: str) -> Locator:
    page.goto(f"{ui.address}/assets/{asset}?view=partitions")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Partition selection").wait_for()
    return dialog


def launch(ui: Ui, page: Page) -> str:
    """Clicks launch, and gives the id of the run that this made."""
    before = {run["runId"] for run in ui.runs()}
    page.get_by_role("button", name=re.compile("Launch 1 run")).click()
    return wait_for(lambda: next((r["runId"] for r in ui.runs() if r["runId"] not in before), None))


def status_of(ui: Ui, run_id: str) -> str:
    return next(run["status"] for run in ui.runs() if run["runId"] == run_id)


def end_of(ui: Ui, run_id: str) -> str:
    return wait_for(lambda: (s := status_of(ui, run_id)) in FINAL and s)


def wait_for(what: Any, *, seconds: float = 300.0) -> Any:
    """What the function gives as soon as that is something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError("waited in vain")


def test_the_asset_graph_shows(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.address}/asset-groups")
    for asset in ("corpus", "activations", "sae", "evaluation", "random_baselines"):
        page.get_by_text(asset, exact=True).first.wait_for()


def test_a_new_seed_is_added_and_materialized_by_clicking(ui: Ui, page: Page) -> None:
    dialog = open_dialog(ui, page, "sae")
    add_partition(page, dialog, place=0, key="topk.s7")
    choose_partition(page, dialog, "topk.s7")
    choose_partition(page, dialog, SOURCE)
    run_id = launch(ui, page)
    assert end_of(ui, run_id) == "SUCCESS"
    rows = query(ui.workspace, "SELECT sae, seed, status FROM saes WHERE seed = 7").to_pylist()
    assert rows == [{"sae": f"{SOURCE}/topk.s7", "seed": 7, "status": "ok"}]
    assert picture_on_page(ui, page, run_id).startswith(b"\x89PNG")


def picture_on_page(ui: Ui, page: Page, run_id: str) -> bytes:
    """The training curve as the page shows it, which must be the one that the run recorded."""
    answer = ui.ask(
        "query R($id: ID!) { runOrError(runId: $id) { ... on Run { assetMaterializations "
        "{ metadataEntries { label ... on MarkdownMetadataEntry { mdStr } } } } } }",
        id=run_id,
    )
    entries = answer["runOrError"]["assetMaterializations"][0]["metadataEntries"]
    recorded = next(e["mdStr"] for e in entries if e["label"] == "training_curve")
    page.goto(f"{ui.address}/assets/sae?view=partitions&partition=topk.s7%7C{SOURCE}")
    page.get_by_text("training_curve").first.wait_for()
    row = page.locator("tr", has_text="training_curve").last
    row.get_by_text("Show Markdown").click()
    source = page.locator("img[src^='data:image/png']").first.get_attribute("src")
    assert source is not None
    assert source in recorded
    return base64.b64decode(source.split(",", 1)[1])


def test_a_malformed_key_fails_with_the_sentence(ui: Ui, page: Page) -> None:
    dialog = open_dialog(ui, page, "sae")
    add_partition(page, dialog, place=0, key="topk-s8")
    choose_partition(page, dialog, "topk-s8")
    choose_partition(page, dialog, SOURCE)
    run_id = launch(ui, page)
    assert end_of(ui, run_id) == "FAILURE"
    page.goto(f"{ui.address}/runs/{run_id}")
    page.get_by_text("'topk-s8' is not an SAE key. It is <recipe>.s<seed>").first.wait_for()


def test_a_run_is_canceled_by_clicking(ui: Ui, page: Page) -> None:
    dialog = open_dialog(ui, page, "sae")
    add_partition(page, dialog, place=0, key="endless.s0")
    choose_partition(page, dialog, "endless.s0")
    choose_partition(page, dialog, SOURCE)
    run_id = launch(ui, page)
    folder = ui.workspace.saes / SOURCE / "endless.s0"
    wait_for(lambda: any(folder.glob("*/config.json")))
    page.goto(f"{ui.address}/runs/{run_id}")
    page.get_by_role("button", name="Terminate").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Terminate")).click()
    assert end_of(ui, run_id) == "CANCELED"
    assert query(ui.workspace, "SELECT * FROM saes WHERE recipe = 'endless'").num_rows == 0
    assert not any((ui.workspace.locks / "runs").glob(f"{run_id}*"))


def test_a_run_of_the_command_line_is_started_again(ui: Ui, page: Page) -> None:
    cli = next(
        run
        for run in ui.runs()
        if {"key": "dagster/partition", "value": f"topk.s0|{SOURCE}"} in run["tags"]
    )
    page.goto(f"{ui.address}/runs/{cli['runId']}")
    page.get_by_role("button", name=re.compile("Re-execute all")).first.click()
    again = wait_for(lambda: next((r for r in ui.runs() if r["parentRunId"] == cli["runId"]), None))
    assert end_of(ui, again["runId"]) == "SUCCESS"
    page.goto(f"{ui.address}/runs/{again['runId']}")
    page.get_by_text("Success", exact=True).first.wait_for()


def test_a_queued_backfill_shows_and_runs_each_pass_once(ui: Ui, page: Page) -> None:
    chosen = ["--layers", "1-2", "--seeds", "1-2", "--recipes", "topk"]
    queued = json.loads(ui.sae("backfill", *chosen, "--queue", "--json"))
    assert queued["daemon_is_running"]
    page.goto(f"{ui.address}/runs/b/{queued['backfill']}")
    page.get_by_text("% completed").first.wait_for()
    page.goto(f"{ui.address}/runs")
    page.get_by_text(queued["backfill"]).first.wait_for()
    wait_for(lambda: backfill_status(ui, queued["backfill"]) == "COMPLETED_SUCCESS", seconds=900)
    saes = "SELECT source, count(*) AS n FROM saes WHERE layer > 0 GROUP BY source ORDER BY source"
    assert query(ui.workspace, saes).to_pylist() == [
        {"source": f"lm.trained.resid_post.{layer}", "n": 2} for layer in (1, 2)
    ]
    assert len(runs_that_worked(ui, "activations")) == 1
    for layer in (1, 2):
        assert len(runs_that_worked(ui, "evaluation", f"resid_post.{layer}")) == 1


def backfill_status(ui: Ui, backfill: str) -> str:
    answer = ui.ask(
        "query B($id: String!) { partitionBackfillOrError(backfillId: $id) "
        "{ ... on PartitionBackfill { status } } }",
        id=backfill,
    )
    status = str(answer["partitionBackfillOrError"]["status"])
    assert status not in ("FAILED", "COMPLETED_FAILED", "CANCELED")
    return status


def runs_that_worked(ui: Ui, asset: str, site: str = "resid_post.") -> set[str]:
    """Runs of layers above 0 that made something new of an asset, and did not only reuse it."""
    with open_instance(ui.workspace) as instance:
        found = instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
    return {
        record.run_id
        for record in found
        if site in str(record.partition_key)
        and "resid_post.0" not in str(record.partition_key)
        and not record.asset_materialization.metadata["reused"].value  # type: ignore[union-attr]
    }
