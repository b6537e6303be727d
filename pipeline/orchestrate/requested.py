"""What else the same command or backfill asks for, so that one pass can serve all of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import dagster as dg

from pipeline.errors import StudyError
from pipeline.launch.config import LaunchConfig
from pipeline.orchestrate.inputs import sources_of_cells
from pipeline.orchestrate.session import current_workspace
from pipeline.study.config import ModelConfig
from pipeline.study.registry import Registry
from pipeline.workspace import Workspace

TOGETHER_TAG = "sae/together"
MODELS_TAG = "sae/models"
LAUNCH_TAG = "sae/launch"
_BACKFILL_TAG = "dagster/backfill"
_ACTIVATIONS, _SAES = dg.AssetKey("activations"), dg.AssetKey("sae")


def together_tag(partitions: Sequence[str]) -> dict[str, str]:
    """The run tag with which a command names the partitions that share this run's pass."""
    return {TOGETHER_TAG: json.dumps(list(partitions))}


def launch_tag(launch: LaunchConfig | None) -> dict[str, str]:
    """The run tag with which a command says where work runs; none where it does not say."""
    return {} if launch is None else {LAUNCH_TAG: launch.model_dump_json()}


def requested_launch(tags: Mapping[str, str]) -> LaunchConfig | None:
    """Where the run's command says that work runs; None: where its study says."""
    text = tags.get(LAUNCH_TAG)
    return None if text is None else LaunchConfig.model_validate_json(text)


def requested_partitions(context: dg.AssetExecutionContext) -> list[str]:
    """The run's own partitions of this asset, then the others that were asked for with them.

    Activations are asked for by a backfill's SAEs too, where these read further sites.
    """
    own = [str(key) for key in context.partition_keys]
    tags = context.run.tags
    more = list(json.loads(tags.get(TOGETHER_TAG, "[]")))
    backfill_id = tags.get(_BACKFILL_TAG)
    backfill = context.instance.get_backfill(backfill_id) if backfill_id else None
    if backfill is not None and backfill.is_asset_backfill:
        graph = context.repository_def.asset_graph
        target = backfill.get_asset_backfill_data(graph).target_subset
        subset = target.get_partitions_subset(context.asset_key)
        more += sorted(str(key) for key in subset.get_partition_keys())
        if context.asset_key == _ACTIVATIONS and _SAES in target.asset_keys:
            cells = target.get_partitions_subset(_SAES).get_partition_keys()
            more += [str(s) for s in sources_of_cells(current_workspace(), sorted(cells))]
    return list(dict.fromkeys([*own, *more]))


def requested_models(tags: Mapping[str, str], workspace: Workspace) -> dict[str, ModelConfig]:
    """The models that the command asks for; without a command, all that studies have registered."""
    models = Registry.load(workspace).models
    if MODELS_TAG in tags:
        return {name: models[name] for name in json.loads(tags[MODELS_TAG])}
    if not models:
        raise StudyError(
            f"No study is registered in {workspace.root}, so no model is known. "
            "Register one first: `sae run STUDY`, or `sae init` for a study to start from."
        )
    return models
