from __future__ import annotations

import pytest

from pipeline.errors import StudyError
from pipeline.study.names import Site
from pipeline.study.variants import SITE_KINDS, VARIANTS, parse_sites, parse_weights


def test_a_range_names_both_ends() -> None:
    assert parse_sites("resid_post.0-3") == [Site("resid_post", layer) for layer in range(4)]
    assert parse_sites("attn_out.2") == [Site("attn_out", 2)]


def test_the_words_known_without_a_model_are_those_the_models_know() -> None:
    from pipeline.language_model import sites, weights

    assert set(VARIANTS) == set(weights.VARIANTS)
    assert set(SITE_KINDS) == set(sites.KINDS)


def test_a_checkpoint_is_a_variant() -> None:
    assert str(parse_weights("revision:step-1000")) == "revision:step-1000"
    with pytest.raises(StudyError):
        parse_weights("revision")
