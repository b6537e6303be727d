"""The pipeline's one room that speaks to Dagster: instance, runs, backfills, the UI's server."""
