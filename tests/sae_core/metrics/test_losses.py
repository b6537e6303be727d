from __future__ import annotations

import pytest
import torch

from sae_core.bootstrap import resample_counts
from sae_core.metrics import metrics
from sae_core.metrics.token_metric import Losses, Setting, measure, sums_per_document
from sae_core.pretraining_curve import PretrainingCurve

CURVE = PretrainingCurve(flops=(1e12, 1e13, 1e14, 1e15), losses=(6.0, 5.0, 4.0, 3.0))


@pytest.fixture
def clean() -> torch.Tensor:
    return 3 + torch.rand(1000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_losses_are_means_over_tokens(clean, measure_losses) -> None:
    found = measure_losses(
        "cross_entropy", clean=clean, spliced=clean + 0.25, zero=clean + 4, mean=clean + 2
    )
    assert found["ce_clean"].value == pytest.approx(clean.mean().item(), rel=1e-12)
    assert found["ce_spliced"].value == pytest.approx(clean.mean().item() + 0.25, rel=1e-12)
    assert found["ce_zero"].value == pytest.approx(clean.mean().item() + 4, rel=1e-12)
    assert found["ce_mean"].value == pytest.approx(clean.mean().item() + 2, rel=1e-12)
    increase = found["ce_increase_nats"]
    assert increase.value == pytest.approx(0.25, rel=1e-9)
    assert increase.ci_low == pytest.approx(0.25, rel=1e-9)  # paired: the texts' spread cancels
    assert increase.ci_high == pytest.approx(0.25, rel=1e-9)


def test_the_identity_recovers_the_loss_and_the_ablation_nothing(clean, measure_losses) -> None:
    perfect = measure_losses("loss_recovered", clean=clean, zero=clean + 4, mean=clean + 2)
    assert perfect["loss_recovered_zero"].value == 1.0
    assert perfect["loss_recovered_mean"].value == 1.0
    useless = measure_losses(
        "loss_recovered", clean=clean, spliced=clean + 4, zero=clean + 4, mean=clean + 2
    )
    assert useless["loss_recovered_zero"].value == pytest.approx(0.0, abs=1e-12)
    assert useless["loss_recovered_mean"].value == pytest.approx(-1.0, abs=1e-9)


def test_a_ratio_is_one_of_means_not_a_mean_of_ratios(measure_losses) -> None:
    clean = torch.zeros(1000, dtype=torch.float64)
    zero = torch.cat([torch.full((500,), 1.0), torch.full((500,), 9.0)]).double()
    spliced = torch.cat([torch.full((500,), 0.5), torch.full((500,), 0.0)]).double()
    found = measure_losses("loss_recovered", clean=clean, spliced=spliced, zero=zero, mean=zero)
    assert found["loss_recovered_zero"].value == pytest.approx(0.95)  # of ratios: 0.75


def test_where_ablation_changes_nothing_the_ratio_is_null_and_says_so(measure_losses) -> None:
    """As in a random network: the ablated loss differs from the clean one by noise alone."""
    noise = torch.Generator().manual_seed(2)
    clean = 7.6 + 0.01 * torch.randn(1000, generator=noise, dtype=torch.float64)
    zero = 7.6 + 0.01 * torch.randn(1000, generator=noise, dtype=torch.float64)
    found = measure_losses("loss_recovered", clean=clean, spliced=zero, zero=zero, mean=clean + 1)
    assert found["loss_recovered_zero"].value is None
    assert found["loss_recovered_zero"].ci_low is None
    assert "zero ablation costs" in found["loss_recovered_zero"].reason
    assert found["loss_recovered_mean"].value is not None


def test_where_ablation_helps_there_is_no_loss_to_recover(clean, measure_losses) -> None:
    found = measure_losses("loss_recovered", clean=clean, zero=clean - 1, mean=clean - 0.1)
    for measured in found.values():
        assert measured.value is None
        assert "no loss to recover" in measured.reason


def test_a_model_that_predicts_no_better_than_chance_has_none_to_recover(measure_losses) -> None:
    """Ablation costs something here, as it can by accident in a random network."""
    clean = torch.full((1000,), 4.2, dtype=torch.float64)
    chance, better = Setting(uniform_loss=4.16), Setting(uniform_loss=4.3)
    losses = {"clean": clean, "zero": clean + 0.1, "mean": clean + 0.1}
    found = measure_losses("loss_recovered", setting=chance, **losses)
    assert found["loss_recovered_zero"].value is None
    assert "no better than chance" in found["loss_recovered_mean"].reason
    found = measure_losses("loss_recovered", setting=better, **losses)
    assert found["loss_recovered_zero"].value == 1.0


def test_kl_is_a_mean(clean, measure_losses) -> None:
    kl = measure_losses("kl", clean=clean, kl=torch.arange(1000) / 1000)["kl_nats"]
    assert kl.value == pytest.approx(0.4995)


def test_loss_above_token_frequencies(clean, measure_losses) -> None:
    found = measure_losses("unigram", clean=clean, spliced=clean + 1, unigram=clean + 4)
    assert found["ce_unigram"].value == pytest.approx(clean.mean().item() + 4)
    assert found["loss_recovered_unigram"].value == pytest.approx(0.75)
    worse = measure_losses("unigram", clean=clean, spliced=clean + 6, unigram=clean + 4)
    assert worse["loss_recovered_unigram"].value == pytest.approx(-0.5)


def test_a_model_worse_than_token_frequencies_has_no_loss_to_recover(clean, measure_losses) -> None:
    found = measure_losses("unigram", clean=clean, unigram=clean - 0.1)
    assert found["ce_unigram"].value == pytest.approx(clean.mean().item() - 0.1)
    assert found["loss_recovered_unigram"].value is None
    assert "the unigram baseline costs -0.1 nats" in found["loss_recovered_unigram"].reason


def test_top1_agreement_is_a_share(clean, measure_losses) -> None:
    same = (torch.arange(1000) < 250).double()
    found = measure_losses("top1_agreement", clean=clean, same_top1=same)["top1_agreement"]
    assert (found.value, found.n) == (0.25, 1000)


def test_compute_recovered_is_read_off_the_curve(clean, measure_losses) -> None:
    """Losses on another text than the curve's: only the increase counts."""
    for increase, share in ((0.0, 1.0), (1.0, 0.1), (1.5, 10**-1.5)):
        found = measure_losses(
            "compute_recovered", clean=clean, spliced=clean + increase, setting=Setting(CURVE)
        )["compute_recovered"]
        assert found.value == pytest.approx(share, rel=1e-9)
        assert found.reason is None


@pytest.mark.parametrize(("increase", "side"), [(3.2, "above its first"), (-0.1, "below")])
def test_beyond_the_curve_nothing_is_claimed(clean, measure_losses, increase, side) -> None:
    found = measure_losses(
        "compute_recovered", clean=clean, spliced=clean + increase, setting=Setting(CURVE)
    )["compute_recovered"]
    assert found.value is None
    assert "beyond the curve" in found.reason
    assert side in found.reason


def test_an_interval_that_leaves_the_curve_has_an_open_end(clean, measure_losses) -> None:
    spread = torch.randn(1000, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = measure_losses(
        "compute_recovered", clean=clean, spliced=clean + 2.98 + spread, setting=Setting(CURVE)
    )["compute_recovered"]
    assert found.value is not None
    assert found.ci_low is None
    assert found.ci_high > found.value
    assert found.reason == "interval reaches beyond the curve"


def test_untrained_weights_have_no_compute_to_recover(clean, measure_losses) -> None:
    setting = Setting(None, "random weights were not trained")
    found = measure_losses("compute_recovered", clean=clean, setting=setting)["compute_recovered"]
    assert (found.value, found.reason) == (None, "random weights were not trained")


def test_one_document_has_a_value_and_no_interval(clean) -> None:
    metric = metrics()["cross_entropy"]
    per_token = metric.per_token(Losses(*[clean] * len(Losses.__annotations__)))
    table = sums_per_document(per_token, torch.zeros(1000, dtype=torch.int64), 1).numpy()
    found = measure(metric, table, resample_counts(1, 50, seed=0), Setting())["ce_clean"]
    assert found.value == pytest.approx(clean.mean().item())
    assert found.ci_low is found.ci_high is None
    assert "too few documents" in found.reason
