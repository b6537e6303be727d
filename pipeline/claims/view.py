"""The view `claims`: what was measured of each claim, and the verdict.

Rule: the interval is Student's 95 % interval of the mean effect over replicates, widened by the
claim's overlap. With fewer than MIN_REPLICATES the verdict is inconclusive, whatever the numbers;
wholly above the threshold: supported; wholly at or below it: not supported; else inconclusive.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.claims import claims
from pipeline.claims.claim import Claim
from sae_core.over_seeds import STUDENT_95

MIN_REPLICATES = 5
_COLUMNS = (
    ("claim", "name of the claim"),
    ("statement", "what is claimed"),
    ("reference", "who says it"),
    ("verdict", "supported, not supported, inconclusive, or not measured yet"),
    ("source", "what the SAEs were trained on; NULL where nothing was measured"),
    ("recipe", "the recipe that the effect is about"),
    ("n", "replicates: seeds for which the effect could be told"),
    ("tokens", "training tokens of an SAE: the budget that the verdict is about"),
    ("effect", "mean effect over replicates; `measures` says of what"),
    ("ci_low", "lower end of its 95 % interval (Student, over replicates)"),
    ("ci_high", "upper end of its 95 % interval (Student, over replicates)"),
    ("threshold", "the claim holds above this: stated before anything was measured"),
    ("measures", "what the effect is"),
    ("study", "the study file that measures it"),
    ("query", "SQL that gives a row per replicate: source, recipe, seed, tokens, effect"),
)
_COMMENT = (
    "The field's claims that this pipeline tests, one row per source and recipe on which one was "
    "measured. With at least 5 seeds: supported where the whole interval lies above the threshold, "
    "not supported where none of it does, else inconclusive. A verdict is about this model and "
    "budget."
)


def claims_view() -> tuple[str, str, tuple[tuple[str, str], ...], str]:
    """Name, comment, column comments and SELECT of the view."""
    # Bound once for all claims: the view is wide, and binding it costs more than the rest.
    shared = "evaluations AS MATERIALIZED (FROM main.evaluations),\n"
    return ("claims", _COMMENT, _COLUMNS, view_sql(claims(), before=shared))


def view_sql(listed: Sequence[Claim], *, before: str = "") -> str:
    """The SELECT for these claims; `before` holds common table expressions that they share."""
    values = ",\n  ".join(_values(claim) for claim in listed)
    replicates = "\n  UNION ALL\n".join(
        f"  SELECT {_text(c.name)} AS claim, source, recipe, tokens, effect::DOUBLE AS effect\n"
        f"  FROM ({c.sql.strip()})"
        for c in listed
    )
    names = ", ".join(name for name, _ in _COLUMNS[4:])
    return f"""
WITH {before}listed(claim, statement, reference, study, measures, query, threshold, overlap) AS (
  VALUES
  {values}
), replicates AS (
{replicates}
), measured AS (
  SELECT claim, source, recipe, count(*) AS n, max(tokens) AS tokens, avg(effect) AS effect,
    stddev_samp(effect) / sqrt(count(*))
      * {list(STUDENT_95)}[least(count(*) - 1, {len(STUDENT_95)})] AS half
  FROM replicates WHERE effect IS NOT NULL AND isfinite(effect)
  GROUP BY claim, source, recipe
), bounded AS (
  SELECT l.*, m.*, m.effect - l.overlap * m.half AS ci_low, m.effect + l.overlap * m.half AS ci_high
  FROM listed AS l LEFT JOIN (SELECT * RENAME (claim AS of_claim) FROM measured) AS m
    ON m.of_claim = l.claim
)
SELECT claim, statement, reference,
  CASE
    WHEN n IS NULL THEN 'not measured yet'
    WHEN n < {MIN_REPLICATES} THEN 'inconclusive'
    WHEN ci_low > threshold THEN 'supported'
    WHEN ci_high <= threshold THEN 'not supported'
    ELSE 'inconclusive'
  END AS verdict, {names}
FROM bounded
ORDER BY claim, source, recipe"""


def _values(claim: Claim) -> str:
    said = (claim.name, claim.statement, claim.reference, claim.study, claim.effect)
    texts = (*said, claim.sql.strip())
    numbers = (claim.threshold, claim.overlap)
    return f"({', '.join([*map(_text, texts), *(f'{number!r}::DOUBLE' for number in numbers)])})"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
