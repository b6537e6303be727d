"""The report: one offline HTML page made from SQL over a workspace."""
