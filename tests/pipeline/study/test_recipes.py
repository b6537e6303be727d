from __future__ import annotations

import pytest

from pipeline.errors import StudyError
from pipeline.study.recipes import recipe

SMALL = {"n_latents": 64, "tokens": 10_000}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"architecture": "relu", "auxk_weight": 0.1},
            r"recipes.mine.auxk_weight: 0.1 was given, and architecture 'relu' has no "
            r"'auxk_weight'. It is a setting of .*topk.*Remove it, or choose",
        ),
        ({"architecture": "topk", "k": 4, "l1": 1.0}, "'topk' has no 'l1'.*setting of .*relu"),
        (
            {"architecture": "switch", "k": 4, "auxk_weight": 0.1},
            "'switch' has no 'auxk_weight': AuxK picks among .*that the router does not send",
        ),
        ({"architecture": "relu", "l2": 1.0}, "unknown key 'l2'"),
        (
            {"architecture": "matryoshka", "k": 4, "block_size": 1},
            r"recipes.mine.block_size: 1 was given, .*blocks of 1 are prefixes 'all'.*Remove it\.",
        ),
        (
            {"architecture": "topk", "k": 4, "batch_size": 20_000},
            "recipes.mine.batch_size: 20000 .*budget, tokens 10000. Allowed: 1 to 10000. Lower",
        ),
        (
            {"architecture": "topk", "k": True},
            "recipes.mine.k: true was given. Allowed: no true, false",
        ),
        (
            {"architecture": "topk", "k": 4, "k_aux": 65},
            "k_aux = 65 dead latents of n_latents = 64. Allowed: 1 to 64. Lower k_aux",
        ),
        (
            {"architecture": "topk_token_norm", "k": 4, "bias_init": "mean"},
            'recipes.mine.bias_init: "mean" was given .*Allowed: zero. ',
        ),
        (
            {"architecture": "relu", "dead_window_share": 0},
            r"dead_window_share: 0 was given \(.*budget unfired\)\. Allowed: a number > 0",
        ),
        (
            {"architecture": "batch_topk", "k": 4, "micro_batch": 16},
            "recipes.mine: micro_batch 16 .*cannot be processed in parts.*Remove micro_batch",
        ),
        (
            {"architecture": "topk", "k": 4, "compute": "bfloat16"},
            "recipes.mine: compute 'bfloat16' .*Allowed: 'float32'. Remove compute",
        ),
        (
            {"architecture": "relu", "loss_scale": "variance"},
            'recipes.mine.loss_scale: "variance" was given.*Allowed: none, dataset_variance',
        ),
        (
            {"architecture": "relu", "resample_at": [0.05]},
            "recipes.mine: resample_at starts at 0.05.*Allowed: from 0.1 on",
        ),
        (
            {"architecture": "relu", "resample_at": "half"},
            'recipes.mine.resample_at: "half" was given.*Allowed: a list, each item a number. ',
        ),
        (
            {"architecture": "transcoder", "k": 4, "write_site": "mlp_outt"},
            "recipes.mine.write_site: 'mlp_outt' is not a site or a kind.*Did you mean 'mlp_out'",
        ),
        (
            {"architecture": "crosscoder", "sites": ["resid_post.0", "resid_pos.1"]},
            "recipes.mine.sites: 'resid_pos.1' is not a site.*Did you mean 'resid_post'",
        ),
        ({"architecture": "relu", "ema_share": 2}, "recipes.mine.ema_share: 2 .*> 0 and <= 1"),
    ],
)
def test_what_cannot_train_together_is_refused_when_it_is_read(fields, message):
    with pytest.raises(StudyError, match=message):
        recipe("mine", SMALL | fields)


def test_lists_of_shares_are_read_from_yaml():
    made = recipe("mine", SMALL | {"architecture": "relu", "resample_at": [0.25, 0.5]})
    assert made.resample_at == (0.25, 0.5)
    assert recipe("mine", made) is made
