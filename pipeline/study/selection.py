"""Which sources and SAEs of a study a command asks for: what is given replaces the study's own."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import StudyError
from pipeline.study.config import Study
from pipeline.study.names import SaeKey, Site, Source, Weights
from pipeline.study.variants import parse_weights

_MOST = 10_000


@dataclass(frozen=True)
class Selection:
    """Layers, seeds and names as given; None where the study's own are meant."""

    layers: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None
    models: tuple[str, ...] | None = None
    kinds: tuple[str, ...] | None = None
    weights: tuple[Weights, ...] | None = None
    recipes: tuple[str, ...] | None = None

    @classmethod
    def parse(
        cls,
        *,
        layers: str | None = None,
        seeds: str | None = None,
        models: str | None = None,
        kinds: str | None = None,
        weights: str | None = None,
        recipes: str | None = None,
    ) -> Selection:
        """The selection of a command's texts; raises StudyError for one that cannot be read.

        Names are checked with the sources and keys they make, by who knows the models.
        """
        names = parse_names(kinds, "--sites")
        variants = parse_names(weights, "--weights")
        return cls(
            layers=parse_numbers(layers, "--layers"),
            seeds=parse_numbers(seeds, "--seeds"),
            models=parse_names(models, "--model"),
            kinds=names and tuple(Site.parse(f"{name}.0").kind for name in names),
            weights=variants and tuple(parse_weights(text) for text in variants),
            recipes=parse_names(recipes, "--recipes"),
        )

    def sources(self, study: Study) -> list[Source]:
        """Models × weights × sites."""
        weights = self.weights or tuple(Weights.parse(text) for text in study.weights)
        return [
            Source(model, variant, site)
            for model in self.models or tuple(study.models)
            for variant in weights
            for site in self._sites([Site.parse(text) for text in study.sites])
        ]

    def keys(self, study: Study) -> list[SaeKey]:
        """Recipes × seeds."""
        seeds = study.seeds if self.seeds is None else self.seeds
        return [SaeKey(r, seed) for r in self.recipes or tuple(study.recipes) for seed in seeds]

    def _sites(self, own: list[Site]) -> list[Site]:
        """The study's sites; with kinds or layers given, their product with what is not given."""
        if self.layers is None and self.kinds is None:
            return own
        layers = self.layers
        if layers is None:
            layers = tuple(dict.fromkeys(site.layer for site in own))
        kinds = self.kinds or tuple(dict.fromkeys(site.kind for site in own))
        return [Site(kind, layer) for kind in kinds for layer in layers]


def parse_numbers(text: str | None, option: str) -> tuple[int, ...] | None:
    """The numbers of a text such as '0,2-3', in order, each once; None stays None."""
    if text is None:
        return None
    found: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise StudyError(
                f"{option} {text!r}: {part.strip()!r} is not a number or a range. "
                f"Write numbers and ranges separated by commas: {option} 0,2-3."
            )
        low, high = int(first), int(last) if dash else int(first)
        if high < low or high - low >= _MOST:
            raise StudyError(
                f"{option} {text!r}: the range {part.strip()!r} is empty or longer than {_MOST}. "
                f"Write the lower number first: {option} 0-3."
            )
        found.update(dict.fromkeys(range(low, high + 1)))
    return tuple(found)


def parse_names(text: str | None, option: str) -> tuple[str, ...] | None:
    """The names of a text separated by commas, each once; None stays None."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise StudyError(
            f"{option} {text!r} has an empty name. Write names separated by commas, without "
            "a comma at the end."
        )
    return tuple(dict.fromkeys(names))
