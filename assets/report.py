"""The report asset: the page of the whole workspace, the last of the graph."""

# Dagster reads the annotation of `context` as it stands, so annotations are not postponed here.

import dagster as dg

from assets.dictionary_matches import dictionary_matches
from assets.display import picture
from assets.failure import stated
from assets.random_baselines import random_baselines
from pipeline.orchestrate.session import current_report, current_workspace


@dg.asset(
    deps=[random_baselines, dictionary_matches],
    required_resource_keys={"run_lock"},
    kinds={"duckdb", "html"},
)
def report(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """One offline HTML page of everything in the workspace: `report.html` beside its tables.

    `sae report` writes the same page anywhere, or of one study.
    """
    from pipeline.report.run import write_report

    workspace = current_workspace()
    with stated():
        made = write_report(
            workspace, workspace.root / "report.html", report=current_report(context.log)
        )
    figures = made.best_figures.items()
    shown = {kind: picture(figure.png(), figure.label) for kind, figure in figures}
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.path(str(made.page)),
            **shown,
            "saes": made.n_saes,
            "bytes": made.n_bytes,
        }
    )
