"""The corpus asset: packed token rows for every model that a study names."""

# Dagster reads the annotation of `context` as it stands, so annotations are not postponed here.

import dagster as dg

from assets.display import table
from assets.failure import stated
from pipeline.orchestrate.requested import requested_models
from pipeline.orchestrate.session import current_report, current_workspace

SPLITS = ("train", "calibration", "held_out")


@dg.asset(required_resource_keys={"run_lock"}, kinds={"parquet"})
def corpus(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Token rows of each registered model, split by document into train, calibration, held-out.

    Rows that exist for the same text, tokenizer and settings are reused.
    """
    from pipeline.corpus.pack import pack_corpus

    workspace, report = current_workspace(), current_report(context.log)
    rows = []
    with stated():
        for name, config in requested_models(context.run.tags, workspace).items():
            packed = pack_corpus(workspace, name, config, report=report)
            tokens = {f"{s} tokens": packed.n_tokens(s) for s in SPLITS}
            rows.append(
                {"model": name, **tokens, "context": packed.context, "hash": packed.hash[:8]}
            )
    return dg.MaterializeResult(
        metadata={
            "corpora": table(rows),
            "train_tokens": sum(row["train tokens"] for row in rows),
            "path": dg.MetadataValue.path(str(workspace.corpus)),
        }
    )
