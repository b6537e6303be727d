"""Dagster definitions: what is made from what, and what a person sees of it."""
