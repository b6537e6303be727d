"""Comparisons over many SAEs, read from SQL: rows, pictures and warnings for a person."""
