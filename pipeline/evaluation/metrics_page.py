"""The documentation's page of metrics, generated from their definitions.

`python -m pipeline.evaluation.metrics_page docs/metrics.md` writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sae_core.metrics import definitions
from sae_core.metrics.definition import MetricDefinition

_INTRODUCTION = """# Metrics

Generated from the definitions in `sae_core/metrics/` by `make docs`; in SQL they are the table
`metric_definitions`. A metric's version is raised when its values change.

Rules that hold for all of them:

- **Text**: the first packed rows of the held-out split that hold `evaluation.tokens` tokens.
- **Tokens**: special tokens are never edited, never measured, and predictions of or from them are
  not scored, nor are predictions across a document's border. Tokens whose activation training
  would mask (not finite, or of a norm beyond the store's bound) are left as they are by every edit
  (reconstruction, zero, mean) and are not measured.
- **Sums** are global sums in float64; a ratio is a ratio of sums, never a mean of ratios, unless
  its formula says so.
- **Intervals** are 95 % percentile intervals of a bootstrap over documents, keyed by
  `evaluation.bootstrap_seed`. Numbers that are counted per latent (dead shares, frequencies,
  entropies) are counted again without each of 20 groups of documents, and their interval is a
  bootstrap over these groups by linearisation; where no group makes a difference there is none.
  Means over an SAE's matches with other seeds or twins have Student's interval over these, given
  the SAE; the view `seed_stability` has the jackknife's over seeds, whose pairs share them.
- **NULL** always comes with its `reason`. An end of an interval can be NULL alone; then `reason`
  says why.
- **Latents** (`latents`, `latent_examples`): firing frequency, token entropy and examples are about
  the same held-out tokens; `n_searched` says how many were searched. Entropy is an average over
  latents with at least 16 fires: with fewer, every latent looks like one of a single token.
- **Frequency cuts** (`frequency_cuts`): latents that fire on more than a share τ of the
  *calibration* tokens are dropped and the rest is measured on held-out text, so what is dropped is
  not chosen on the text that judges it. Every τ comes from one sweep; losses are measured at the
  stated τ.
- **Progressive code** (`progressive_code`): each token keeps its k strongest latents, by activation
  times decoder norm. Every k comes from one sweep; losses are measured at powers of two.
- **Probes** (`probes`): labelled tokens are told by k = 1, 2 and 5 latents. Labels come from the
  text alone (`evaluation.labels`): for the builtin corpus by Python's own tokenizer and syntax
  tree, exactly; for others by the look of the characters, or from your own file of spans. One
  character decides for a token: its first that is no whitespace. Documents that do not parse are
  left out and counted in `n_left_out`. Every m-th held-out token is used, so that about
  `evaluation.probe_tokens` are left (0: no probes). Documents go, in an order drawn from their
  names, to the side that holds fewer tokens: *probe-train*, where latents are chosen and
  everything is fitted, or *probe-test*, where it is judged. Chosen are the k latents of largest
  |Pearson correlation| with the label; on them a logistic regression (both classes weighted
  equally, penalty ½‖w‖² on standardised columns); a threshold that is best on probe-train gives
  balanced accuracy and F1. Beside the latents stand, by the same rules, coordinates of x, a
  dictionary of as many random directions with as many active per token, and the latents with
  labels dealt anew among the tokens; and without a choice, ridge regression on all of x, the
  token's id, and the id with the one before it. Two exclusive ors of labels, the pairs whose
  exclusive or is furthest from linear in the two, are probed like the labels. Where an SAE writes
  other sites than it reads, x is what it reconstructs. A latent that fires on few tokens ties on
  all others, which holds its AUC near ½ however sure its fires are: compare it with
  `random_dictionary`, which ties as often, and with coordinates, which never tie, by balanced
  accuracy and F1 too. Intervals resample probe-test documents (with more than 128, groups of them),
  in resamples that hold both classes.
- **Losses along curves** are measured on every m-th packed row, so that about
  `evaluation.curve_tokens` tokens are left; loss recovered is a ratio of means on the same tokens.
- **Weights** `shuffled_text`: everything, the language model's losses, KL and top-1 agreement
  too, is measured on the held-out text shuffled as the train text is, within each document's piece
  of a packed row. Weights `gaussian`: on rows drawn anew for the held-out tokens; losses are NULL,
  and which token a latent fires on is chance.
- **Other packages** (`ev_*`, `fvu_sparsify`, `mse_*`, `ce_score_*`, ...): their definitions on our
  tokens, all held-out tokens as one batch. L0, cosine and relative reconstruction bias are defined
  alike everywhere. Loss recovered is not: all of them ablate special tokens, too, and none leaves
  out predictions across a document's border; their scores are measured on the rows that losses
  along curves are measured on. `make test-peers` compares all of it with the packages themselves:
  `benchmarks/results/peers.md`.
- **Comparisons** (`comparisons`, `trained_vs_random`) are differences trained − other weights, with
  the same documents resampled on both sides: `documents (given these seeds)`. Rows whose ids end in
  `.s*` are about all seeds of a recipe; they exist from 3 seeds on and also resample seeds.
"""


def metrics_page() -> str:
    """The page as Markdown: every number with unit, formula, meaning and reference."""
    return "\n".join([_INTRODUCTION, *(_section(d) for d in definitions())])


def _section(definition: MetricDefinition) -> str:
    better = {"lower": "lower is better", "higher": "higher is better", "neither": ""}
    facts = [definition.unit, better[definition.better], f"version {definition.version}"]
    return f"""## {definition.name}

{", ".join(fact for fact in facts if fact)}

> {definition.formula}

{definition.description}

Reference: {definition.reference}
"""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(metrics_page(), encoding="utf-8")
