"""Errors that a person can act on, as runs that fail with their sentence and are not retried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from pipeline.errors import UserError


@contextmanager
def stated() -> Iterator[None]:
    """Turns a UserError into a failure of the run that says the same."""
    try:
        yield
    except UserError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
