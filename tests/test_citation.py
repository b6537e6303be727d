"""CITATION.cff says what the package is, by the rules of the Citation File Format 1.2.0."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
# Of https://github.com/citation-file-format/citation-file-format, schema-guide.md, version 1.2.0.
REQUIRED = {"authors", "cff-version", "message", "title"}
ALLOWED = REQUIRED | {
    "abstract",
    "commit",
    "contact",
    "date-released",
    "doi",
    "identifiers",
    "keywords",
    "license",
    "license-url",
    "preferred-citation",
    "references",
    "repository",
    "repository-artifact",
    "repository-code",
    "type",
    "url",
    "version",
}
PARTS_OF_A_NAME = {"family-names", "given-names", "name-particle", "name-suffix"}
PERSON = PARTS_OF_A_NAME | {
    "address",
    "affiliation",
    "alias",
    "city",
    "country",
    "email",
    "fax",
    "orcid",
    "post-code",
    "region",
    "tel",
    "website",
}
ENTITY = (PERSON - PARTS_OF_A_NAME - {"affiliation"}) | {
    "date-end",
    "date-start",
    "location",
    "name",
}


def citation() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8")))


def test_it_has_the_keys_of_the_format_with_values_of_its_types() -> None:
    told = citation()
    assert set(told) >= REQUIRED
    assert set(told) <= ALLOWED
    assert told["cff-version"] == "1.2.0"
    assert told["type"] in ("software", "dataset")
    for name in ("message", "title", "version", "abstract"):
        assert isinstance(told[name], str)
        assert told[name].strip()
    assert told["keywords"]
    assert all(isinstance(word, str) for word in told["keywords"])
    assert len(set(told["keywords"])) == len(told["keywords"])


def test_authors_are_persons_or_entities() -> None:
    authors = citation()["authors"]
    assert authors
    for author in authors:
        is_entity = "name" in author
        assert set(author) <= (ENTITY if is_entity else PERSON)
        assert author.get("name") or author.get("family-names")


def test_it_says_what_the_package_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    told = citation()
    assert told["version"] == project["version"]
    assert told["license"] == project["license"]
    assert re.match(r"SAE Foundry\b", told["title"])
