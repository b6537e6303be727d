"""Results as tables: Parquet parts, committed at once, and the views that show them."""
