"""What recipes need besides their source: named relative to it, refused at load."""

from __future__ import annotations

import pytest

from pipeline.errors import StudyError
from pipeline.study.inputs import inputs_of
from pipeline.study.names import Source
from pipeline.study.read import parse_study

STUDY = """
study: small
models: {pylm: {}}
sites: [resid_pre.1, resid_pre.2]
recipes:
  topk: {architecture: topk, n_latents: 64, k: 8, tokens: 1000}
  mine: RECIPE
"""
SOURCE = Source.parse("pylm.random@1.resid_pre.2")


def recipe(text: str, **where: str):
    study = STUDY.replace("RECIPE", text)
    for was, now in where.items():
        study = study.replace(was, now)
    return parse_study(study, "small.yaml").recipes["mine"]


def error(text: str, **where: str) -> str:
    with pytest.raises(StudyError) as caught:
        recipe(text, **where)
    return str(caught.value)


def transcoder(fields: str) -> str:
    return f"{{architecture: transcoder, n_latents: 64, k: 8, tokens: 1000{fields}}}"


def test_a_kind_of_site_is_of_the_sources_layer() -> None:
    made = recipe(transcoder(", write_site: mlp_out"))
    assert [str(s) for s in inputs_of(SOURCE, made).sites] == ["pylm.random@1.mlp_out.2"]


def test_a_whole_site_stays_what_it_is_on_every_source() -> None:
    made = recipe(transcoder(", write_site: mlp_out.3"))
    assert [str(s) for s in inputs_of(SOURCE, made).sites] == ["pylm.random@1.mlp_out.3"]


def test_an_sae_of_its_source_alone_needs_nothing() -> None:
    made = parse_study(STUDY.replace("RECIPE", "{architecture: relu, n_latents: 9, tokens: 9}"), "")
    assert inputs_of(SOURCE, made.recipes["topk"]).sites == ()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ("", "recipes.mine.write_site is missing"),
        (", write_site: mlp_ouT", "not a site"),
        (", write_site: mlp_out.x", "not a site"),
        (", write_site: mlp", "'mlp_out'"),
        (", write_site: pylm.random.mlp_out.2", "own model and weights"),
        (", write_site: random.mlp_out.2", "own model and weights"),
        (", write_site: resid_pre", "names the source's own site alone"),
        (", write_site: resid_pre.2", "recipes.mine: transcoder on pylm.trained.resid_pre.2"),
    ],
)
def test_a_write_site_that_cannot_be_is_refused_at_load(fields: str, says: str) -> None:
    assert says in error(transcoder(fields))


def crosscoder(sites: str) -> str:
    return f"{{architecture: crosscoder, n_latents: 64, tokens: 1000, sites: {sites}}}"


@pytest.mark.parametrize(
    ("sites", "further"),
    [
        ("[resid_pre.1, resid_pre.2]", ["resid_pre.1"]),
        ("[resid_pre.1, mlp_out]", ["resid_pre.1", "mlp_out.2"]),
        ("[attn_out, resid_pre, mlp_out]", ["attn_out.2", "mlp_out.2"]),
    ],
)
def test_a_crosscoder_is_over_its_source_and_what_else_is_named(
    sites: str, further: list[str]
) -> None:
    made = recipe(crosscoder(sites))
    assert [str(source.site) for source in inputs_of(SOURCE, made).sites] == further


@pytest.mark.parametrize(
    ("sites", "says"),
    [
        ("[resid_pre.1]", "two or more sites"),
        ("[]", "two or more sites"),
        ("[mlp_out, mlp_out]", "each once"),
        ("[resid_pre.1, pylm.random.resid_pre.2]", "own model and weights"),
        ("[resid_pre.1, random.resid_pre.2]", "own model and weights"),
        ("[resid_pre.1, residpre.2]", "'resid_pre'"),
        ("[resid_pre.2, resid_pre]", "names the source's own site alone"),
    ],
)
def test_sites_that_cannot_be_are_refused_at_load(sites: str, says: str) -> None:
    assert says in error(crosscoder(sites))


def meta(dictionary: str) -> str:
    return f"{{architecture: meta_sae, n_latents: 16, tokens: 1000, dictionary: {dictionary}}}"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("topk.s3", "pylm.random@1.resid_pre.2"),
        ("resid_post.0/topk.s3", "pylm.random@1.resid_post.0"),
        ("mlp_out/topk.s3", "pylm.random@1.mlp_out.2"),
    ],
)
def test_a_dictionary_is_of_the_same_weights(text: str, source: str) -> None:
    found = inputs_of(SOURCE, recipe(meta(text))).dictionary
    assert found is not None
    assert (str(found[0]), str(found[1])) == (source, "topk.s3")


@pytest.mark.parametrize(
    ("dictionary", "says"),
    [
        ("topk", "not an SAE key"),
        ("pylm.trained.resid_pre.1/topk.s0", "own model and weights"),
        ("random.resid_pre.1/topk.s0", "own model and weights"),
        ("mine.s0", "mine → mine"),
        ("mine.s1", "form a circle"),
    ],
)
def test_dictionaries_that_cannot_be_are_refused_at_load(dictionary: str, says: str) -> None:
    assert says in error(meta(dictionary))


def test_a_circle_of_several_is_refused_and_named() -> None:
    both = f"{meta('other.s0')}\n  other: {meta('mine.s0')}"
    assert "mine → other → mine" in error(both)


def test_a_meta_sae_of_a_meta_sae_is_no_circle() -> None:
    assert recipe(f"{meta('other.s0')}\n  other: {meta('topk.s0')}")


def end_to_end(fields: str) -> str:
    return f"{{architecture: end_to_end, n_latents: 16, tokens: 1000{fields}}}"


def test_later_sites_lie_behind_the_source() -> None:
    made = recipe(end_to_end(", later_sites: [resid_post, mlp_out.3], batch_size: 512"))
    assert [str(site) for site in inputs_of(SOURCE, made).later_sites] == [
        "resid_post.2",
        "mlp_out.3",
    ]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (", batch_size: 300", "Allowed: multiples of 256, such as 256"),
        (", batch_size: 1000", "such as 768"),
        (", later_sites: [resid_post.0]", "does not lie behind the source pylm.trained"),
        (", later_sites: [resid_pre.2]", "does not lie behind the source pylm.trained.resid_pre.2"),
        (", later_sites: [mlp_out]", "does not lie behind"),
        (", later_sites: [pylm.random.resid_post.3]", "own model and weights"),
    ],
)
def test_end_to_end_settings_that_cannot_be_are_refused_at_load(fields: str, says: str) -> None:
    assert says in error(end_to_end(fields))


def test_what_is_trained_through_the_model_is_refused_where_activations_are_drawn() -> None:
    made = recipe(end_to_end(", batch_size: 256"))
    with pytest.raises(StudyError, match="drawn activations have none"):
        inputs_of(Source.parse("pylm.gaussian.resid_pre.2"), made)
    assert inputs_of(Source.parse("pylm.shuffled_text.resid_pre.2"), made).sites == ()


@pytest.mark.parametrize(("n_latents", "rows"), [(65, 64), (40_000, None)])
def test_more_directions_from_data_than_there_are_calibration_rows_are_refused(
    n_latents: int, rows: int | None
) -> None:
    fields = "architecture: relu, tokens: 100000, n_latents"
    harvest = "" if rows is None else f"harvest: {{calibration_tokens: {rows}}}"
    where = {"models: {pylm: {}}": f"models: {{pylm: {{{harvest}}}}}"}
    text = f"{{{fields}: {n_latents}, dictionary_init: data}}"
    said = error(text, **where)
    assert "recipes.mine.dictionary_init: 'data' was given" in said
    assert f"n_latents of at most {rows or 32768}" in said
    recipe(text.replace("data", "random"), **where)
    recipe(text.replace(str(n_latents), str(rows or 32768)), **where)
