from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sae_core import metrics as metrics_package
from sae_core.metrics import definitions, metrics, names

ASKED_FOR = {
    "ce_clean", "ce_spliced", "ce_zero", "ce_mean", "ce_increase_nats",
    "loss_recovered_zero", "loss_recovered_mean", "kl_nats", "compute_recovered",
    "fvu", "mse", "mse_per_dim", "l0", "l0_p10", "l0_p50", "l0_p90", "l1",
    "cosine", "l2_ratio", "relative_reconstruction_bias", "dead_eval", "dead_train",
    "latents_above_1pct", "latents_above_10pct", "fires_above_1pct", "fires_above_10pct",
    "mmcs_other_seed", "mmcs_random_twin", "shared_other_seed", "shared_random_twin",
    "ce_unigram", "loss_recovered_unigram", "top1_agreement", "token_entropy",
    "single_token_latents", "nearest_cosine", "opposing_latents_70", "opposing_latents_90",
    "opposing_pairs_70", "opposing_pairs_90", "description_bits", "ev_sae_lens", "ev_legacy",
    "ev_sae_bench", "ev_dictionary_learning", "fvu_sparsify", "mse_sae_bench",
}  # fmt: skip


def test_the_metrics_are_all_found() -> None:
    assert set(names()) >= ASKED_FOR


def test_names_are_unique() -> None:
    assert len(names()) == len(set(names()))


def test_a_file_with_a_metric_is_all_it_takes(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "planted.py").write_text(
        "from sae_core.metrics.definition import MetricDefinition\n"
        "from sae_core.metrics.firing_metric import FiringMetric\n"
        "METRIC = FiringMetric((MetricDefinition('planted', 1, 'u', 'lower', 'f', 'r', 'd'),), "
        "lambda firing: {})\n"
    )
    monkeypatch.setattr(
        metrics_package, "__path__", [*metrics_package.__path__, str(tmp_path)], raising=True
    )
    metrics.cache_clear()
    try:
        assert "planted" in names()
    finally:
        metrics.cache_clear()
        sys.modules.pop("sae_core.metrics.planted", None)


def test_definitions_are_complete() -> None:
    for definition in definitions():
        assert definition.version >= 1
        for text in (definition.unit, definition.formula, definition.reference):
            assert text.strip(), definition.name
        assert definition.description.endswith("."), definition.name
        assert definition.better in ("lower", "higher", "neither")


def test_definitions_are_read_without_torch() -> None:
    code = (
        "import sys; from sae_core.metrics import definitions; definitions(); "
        "heavy = {'torch', 'numpy'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
