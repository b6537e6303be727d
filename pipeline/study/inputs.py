"""What an SAE is trained on besides its source's activations, as its recipe names it.

A recipe is used on many sources, so it names what is needed relative to the source: a kind of site
(of the source's layer) or a site, always of the source's own model and weights variant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import StudyError, did_you_mean
from pipeline.study.names import SaeKey, Site, Source
from pipeline.study.variants import GAUSSIAN, SITE_KINDS, parse_site

if TYPE_CHECKING:
    from sae_core.config import SaeConfig


@dataclass(frozen=True)
class Inputs:
    """`sites`: the sources that stand beside the cell's own in a batch, in this order.

    `dictionary`: the SAE, as source and key, whose decoder rows are the data. `later_sites`: those
    behind the source's that are compared while training through the language model.
    """

    sites: tuple[Source, ...] = ()
    dictionary: tuple[Source, SaeKey] | None = None
    later_sites: tuple[Site, ...] = ()


def inputs_of(source: Source, recipe: SaeConfig) -> Inputs:
    """What a recipe needs on a source; raises StudyError for names that cannot be used there."""
    if recipe.inputs == "dictionary":
        (text,) = recipe.named_inputs
        return Inputs(dictionary=_sae(text, source))
    named = [site_named(text, source.site.layer) for text in recipe.named_inputs]
    if recipe.inputs == "token_rows":
        if source.weights.variant == GAUSSIAN:
            raise StudyError(
                f"{recipe.architecture} on {source}: it is trained through the language model, and "
                "drawn activations have none. Use this recipe on other weights."
            )
        return Inputs(later_sites=tuple(_behind(site, source) for site in dict.fromkeys(named)))
    if recipe.inputs == "source":
        return Inputs()
    further = dict.fromkeys(site for site in named if site != source.site)
    if not further:
        raise StudyError(
            f"{recipe.architecture} on {source}: {', '.join(recipe.named_inputs)} names the "
            "source's own site alone. Name another site, or use this recipe on other sources."
        )
    return Inputs(tuple(Source(source.model, source.weights, site) for site in further))


def check_rows(name: str, recipe: SaeConfig, *, model: str, context: int) -> None:
    """Raises StudyError for a recipe on whole rows whose batches are not made of whole rows."""
    if recipe.inputs == "token_rows" and recipe.batch_size % context:
        near = max(context, recipe.batch_size // context * context)
        raise StudyError(
            f"recipes.{name}.batch_size: {recipe.batch_size} tokens were given, but rows of "
            f"{model!r} have {context} tokens, and {recipe.architecture} is trained on whole rows: "
            f"tokens shuffled one by one have no context. Allowed: multiples of {context}, such as "
            f"{near}."
        )


def check_start(name: str, recipe: SaeConfig, *, model: str, rows: int) -> None:
    """Raises StudyError for a recipe whose directions start as more rows than are calibrated on.

    `rows` are the calibration split's of the model, at most.
    """
    if recipe.inputs == "dictionary" or recipe.dictionary_init != "data":
        return
    if recipe.n_latents > rows:
        raise StudyError(
            f"recipes.{name}.dictionary_init: 'data' was given, and {recipe.n_latents} latents "
            f"start as as many rows, but the calibration split of {model!r} has {rows} "
            f"(harvest.calibration_tokens). Allowed: 'random', or n_latents of at most {rows}. Use "
            "one of these, or raise harvest.calibration_tokens."
        )


def _behind(site: Site, source: Source) -> Site:
    """The site itself, where what a source's site holds can still change it."""
    same_block = site.layer == source.site.layer and site.kind == "resid_post"
    if site.layer > source.site.layer or (same_block and source.site.kind != "resid_post"):
        return site
    raise StudyError(
        f"later_sites names {site}, which does not lie behind the source {source}. Allowed: sites "
        "of deeper layers, and resid_post of the same layer. Name such a site."
    )


def site_named(text: str, layer: int) -> Site:
    """The site of a kind, which is then of `layer`, or of a whole name."""
    if text in SITE_KINDS:
        return Site(text, layer)
    if len(text.split(".")) > 2:
        raise StudyError(
            f"{text!r} names a model or a weights variant. Sites of a recipe are of its source's "
            "own model and weights. Write the site alone, such as 'mlp_out.3', or a kind of site, "
            "such as 'mlp_out', of the source's layer."
        )
    if "." not in text:
        raise StudyError(
            f"{text!r} is not a site or a kind of site. {did_you_mean(text, list(SITE_KINDS))}"
        )
    return parse_site(text)


def check_names(name: str, recipe: SaeConfig) -> None:
    """Nothing where every name a recipe gives can be used; StudyError says which cannot."""
    for text in recipe.named_inputs:
        try:
            if recipe.inputs == "dictionary":
                _sae(text, None)
            else:
                site_named(text, 0)
        except StudyError as error:
            raise StudyError(f"recipes.{name}.{_field_of(recipe, text)}: {error}") from error


def check_inputs(name: str, recipe: SaeConfig, source: Source) -> None:
    """Nothing where a recipe can be used on a source; StudyError says what it names in vain."""
    try:
        inputs_of(source, recipe)
    except StudyError as error:
        raise StudyError(f"recipes.{name}: {error}") from error


def _field_of(recipe: SaeConfig, text: str) -> str:
    """The field in which a recipe names an input."""
    values = {name: getattr(recipe, name) for name in type(recipe).model_fields}
    alone = (name for name, value in values.items() if value == text)
    listed = (name for name, v in values.items() if isinstance(v, tuple) and text in v)
    return (*alone, *listed)[0]


def check_cycles(recipes: Mapping[str, Any]) -> None:
    """Raises StudyError where an SAE would be trained on its own dictionary, round some corners."""
    for start in recipes:
        chain = [start]
        while (following := _dictionary_recipe(recipes.get(chain[-1]))) is not None:
            if following in chain:
                circle = " → ".join([*chain, following])
                raise StudyError(
                    f"recipes.{start}.dictionary: the dictionaries form a circle: {circle}. Each "
                    "SAE must exist before the one that is trained on it. Let one of them name an "
                    "SAE that is trained on activations."
                )
            chain.append(following)


def _dictionary_recipe(recipe: SaeConfig | None) -> str | None:
    if recipe is None or recipe.inputs != "dictionary":
        return None
    (text,) = recipe.named_inputs
    return _sae(text, None)[1].recipe


def _sae(text: str, source: Source | None) -> tuple[Source, SaeKey]:
    """The SAE that `[<site>/]<recipe>.s<seed>` names on a source's model and weights."""
    *place, key = text.split("/")
    own = source or Source.parse("any.trained.resid_post.0")
    if not place:
        return own, SaeKey.parse(key)
    if len(place) > 1 or len(place[0].split(".")) > 2:
        raise StudyError(
            f"{text!r} names a model or a weights variant. A dictionary is of an SAE on its "
            "source's own model and weights. Write '<recipe>.s<seed>' for the SAE on the same "
            "site, or '<site>/<recipe>.s<seed>'."
        )
    return Source(own.model, own.weights, site_named(place[0], own.site.layer)), SaeKey.parse(key)
