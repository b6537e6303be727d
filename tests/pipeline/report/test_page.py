"""The page says what SQL says, all of it or why not, and is one file that asks for nothing."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.catalog.statement import read_only
from pipeline.catalog.warehouse import query
from pipeline.report import latents as latents_module
from pipeline.report.ask import asking
from pipeline.report.heat_map import pairs
from pipeline.report.run import write_report
from pipeline.workspace import Workspace
from tests.pipeline.report.browsed import browsed
from tests.pipeline.report.conftest import Scene
from tests.pipeline.report.made_up import HOSTILE, REASON, WORDS, made_up


class Reader(HTMLParser):
    """Elements, and the texts of table cells row by row, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text: list[str] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True
        if tag == "span" and self._cell:
            self.rows[-1][-1] += " "

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def reader(scene: Scene) -> Reader:
    return Reader(scene.html)


def test_the_table_of_results_has_the_numbers_of_evaluations(scene: Scene, reader: Reader) -> None:
    shown = {row[0]: row for row in reader.rows if row[0] in scene.saes and len(row) == 9}
    for row in query(scene.workspace, "SELECT * FROM evaluations").to_pylist():
        cells = shown.pop(row["sae"])
        for place, metric in ((1, "l0"), (2, "fvu"), (3, "loss_recovered_zero"), (6, "dead_eval")):
            names = (metric, f"{metric}_ci_low", f"{metric}_ci_high")
            told = [float(one) for one in re.findall(r"[\d.e-]+\d|\d", cells[place])]
            known = [row[name] for name in names if row[name] is not None]
            assert told == pytest.approx(known, rel=1e-3)
    assert not shown


def test_the_browser_has_the_numbers_of_latents_and_their_stability(scene: Scene) -> None:
    data = browsed(scene.html)
    assert sorted(data) == sorted(scene.saes)
    sql = (
        "SELECT l.*, s.n_seeds, s.mean_cosine, s.found_by FROM latents AS l "
        "LEFT JOIN latent_stability AS s USING (sae, sae_hash, latent) ORDER BY l.latent"
    )
    for row in query(scene.workspace, sql).to_pylist():
        columns, _ = data[row["sae"]]
        for name in (*latents_module.FLOATS, *latents_module.INTEGERS):
            missing = math.nan if name in latents_module.FLOATS else -1
            value = missing if row[name] is None else row[name]
            found = float(columns[name][row["latent"]])
            assert found == pytest.approx(float(value), rel=1e-6, nan_ok=True), name


def test_the_browser_has_every_match(scene: Scene) -> None:
    data = browsed(scene.html)
    rows = query(scene.workspace, "SELECT * FROM latent_matches").to_pylist()
    n_shown = 0
    for columns, texts in data.values():
        n_shown += sum(len(columns[f"match{i}.cosine"]) for i in range(len(texts["matches"])))
    assert n_shown == len(rows) > 0
    for row in rows:
        columns, texts = data[row["sae_a"]]
        at = f"match{texts['matches'].index(row['sae_b'])}"
        (i,) = np.flatnonzero(columns[f"{at}.latent_a"] == row["latent_a"])
        assert columns[f"{at}.latent_b"][i] == row["latent_b"]
        assert columns[f"{at}.cosine"][i] == pytest.approx(row["cosine"], rel=1e-6)
        assert columns[f"{at}.partner"][i] == (-1 if row["partner"] is None else row["partner"])


def shown_examples(
    columns: dict[str, np.ndarray], texts: dict[str, object]
) -> list[tuple[int, list[str], int, list[int]]]:
    """Of each example the latent, the pieces of its text, the firing one, and their shades."""
    cuts = np.split(columns["text.lengths"], np.cumsum(columns["text.pieces"])[:-1])
    sizes = columns["text.pieces"][columns["example.text"]]
    shades = np.split(columns["example.shades"], np.cumsum(sizes)[:-1])
    found = []
    for i, number in enumerate(columns["example.text"]):
        text = texts["texts"][number].encode("utf-16-le")
        ends = np.cumsum([0, *cuts[number]])
        pieces = [text[2 * a : 2 * b].decode("utf-16-le") for a, b in pairwise(ends)]
        latent, piece = columns["example.latent"][i], columns["example.piece"][i]
        found.append((int(latent), pieces, int(piece), shades[i].tolist()))
    return found


EVERY_EXAMPLE = "SELECT * FROM latent_examples ORDER BY sae, latent, kind DESC, rank"


def test_every_example_is_there_with_each_token_shaded_by_its_activation(scene: Scene) -> None:
    data = browsed(scene.html)
    shown = {sae: shown_examples(*one) for sae, one in data.items()}
    for row in query(scene.workspace, EVERY_EXAMPLE).to_pylist():
        columns, texts = data[row["sae"]]
        assert texts["shaded"]
        latent, pieces, firing, shades = shown[row["sae"]].pop(0)
        assert latent == row["latent"]
        assert pieces == [WORDS[i] for i in row["token_ids"]]
        assert "".join(pieces) == row["text"]
        assert pieces[firing] == row["token"]
        largest = columns["max_activation"][latent]
        expected = np.array(row["activations"]) * 255 / largest
        assert np.abs(np.array(shades) - expected).max() <= 1
        assert [shade > 0 for shade in shades] == [value > 0 for value in row["activations"]]
    assert not any(shown.values())


def test_of_older_evaluations_the_firing_token_is_shaded_and_the_page_says_so(
    tmp_path: Path,
) -> None:
    workspace = Workspace.open(tmp_path / "w")
    made_up(workspace)
    for table, names in (("latent_examples", OLDER), ("latents", OLDER_LATENTS)):
        for path in sorted((workspace.tables / table).glob("*invention*")):
            rows = pq.read_table(path)
            pq.write_table(rows.drop_columns(names), path)
    html = write_report(workspace, tmp_path / "page.html").page.read_text()
    assert "4 of 4 SAEs were evaluated by a version that kept" in html
    for sae, one in browsed(html).items():
        sql = f"SELECT * FROM ({EVERY_EXAMPLE}) WHERE sae = '{sae}'"
        rows = query(workspace, sql).to_pylist()
        for row, (_, pieces, firing, shades) in zip(rows, shown_examples(*one), strict=True):
            assert "".join(pieces) == row["text"]
            assert pieces[firing] == row["token"]
            assert [bool(shade) for shade in shades] == [False, True, False]


OLDER = ["starts", "activations"]
OLDER_LATENTS = ["activation_counts", "activation_from"]


def test_every_latent_has_the_histogram_of_its_activations(scene: Scene) -> None:
    for sae, (columns, _) in browsed(scene.html).items():
        lengths = columns["activation_bins"]
        bins = np.split(columns["activation_counts"], np.cumsum(lengths)[:-1])
        rows = query(scene.workspace, f"SELECT * FROM latents WHERE sae = '{sae}' ORDER BY latent")
        assert [one.tolist() for one in bins] == [
            row["activation_counts"] or [] for row in rows.to_pylist()
        ]


def test_the_figures_rest_on_what_their_queries_give(scene: Scene) -> None:
    found = scene.found
    with asking(scene.workspace) as ask:
        for kind, (name, panels) in found.figures.items():
            assert panels, kind
            for panel in panels:
                for ending in ("png", "svg", "sql"):
                    assert (scene.figures / f"{panel.name}.{ending}").stat().st_size > 100
                sql = read_only((scene.figures / f"{panel.name}.sql").read_text())
                assert ask(sql).to_pylist() == found.rows[name]
    histogram: dict[str, int] = {}
    for row in found.rows["frequencies"]:
        histogram[row["sae"]] = histogram.get(row["sae"], 0) + row["n"]
    assert histogram == dict.fromkeys(scene.saes, 16)
    for row in query(scene.workspace, "SELECT * FROM dictionary_matches").to_pylist():
        assert pairs(found.rows["matches"])[row["sae_a"], row["sae_b"]] == row["mmcs_ab"]


def test_claims_show_their_verdicts_and_what_was_not_measured(scene: Scene, reader: Reader) -> None:
    rows = query(scene.workspace, "FROM claims").to_pylist()
    assert {row["n"] is None for row in rows} == {True, False}
    text = " ".join("".join(reader.text).split())
    for row in rows:
        assert row["statement"] in text
        if row["n"] is None:
            assert f"{row['statement']} Run {row['study']}." in text
        else:
            place = f"{row['source']}/{row['recipe']}"
            cells = next(r for r in reader.rows if row["statement"] in r[0] and r[-1] == place)
            assert cells[1] == row["verdict"]
            assert float(cells[2].split()[0]) == pytest.approx(row["effect"], rel=1e-3)


def test_curves_are_thinned_and_keep_their_last_point(scene: Scene) -> None:
    rows = scene.found.rows["curves"]
    steps = [r["tokens"] for r in rows if r["sae"] == scene.saes[0] and r["metric"] == "fvu"]
    assert 100 < len(steps) <= 200
    assert steps == sorted(steps)
    assert steps[-1] == 8 * 999


def test_nothing_on_the_page_leads_outside(scene: Scene, reader: Reader) -> None:
    assert re.findall(r"https?:?(?!-equiv)", scene.html) == []
    assert re.findall(r"url\((?!#)", scene.html) == []
    for tag, attributes in reader.elements:
        for name in ("src", "href", "xlink:href", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
    policy = next(a["content"] for _, a in reader.elements if "http-equiv" in a)
    assert "default-src 'none'" in policy


def test_text_is_shown_as_text(scene: Scene, reader: Reader) -> None:
    assert HOSTILE not in scene.html
    assert not [a for tag, a in reader.elements if tag == "img" or any(n[:2] == "on" for n in a)]
    assert len([tag for tag, _ in reader.elements if tag == "script"]) == 2 + len(scene.saes)
    assert any(REASON in row for row in reader.rows)
    assert any(HOSTILE in text for text in reader.text)


def test_ids_are_unique_and_links_on_the_page_lead_somewhere(reader: Reader) -> None:
    ids = [a["id"] for _, a in reader.elements if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a.get("href") or a.get("xlink:href") for _, a in reader.elements]
    assert {link[1:] for link in links if link and link[0] == "#"} <= set(ids)


def test_what_was_run_leads_back_to_code_and_data(reader: Reader) -> None:
    titles = {a.get("title") for tag, a in reader.elements if tag == "code"}
    assert {"b" * 64, "c" * 64, "d" * 64, "e" * 64, "f" * 40} <= titles
