"""The report in a real browser: by keyboard alone, on a phone, with nothing but its own file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.catalog.warehouse import query
from pipeline.report.run import write_report
from pipeline.workspace import Workspace
from tests.pipeline.report.made_up import HOSTILE, made_up

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.long

N_LATENTS, SEEDS = 4096, (0, 1, 2, 3)
SAE = "lm.trained.resid_post.1/topk.s0"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Eight SAEs of 4,096 latents, each with its examples and matches."""
    made = Workspace.open(tmp_path_factory.mktemp("report") / "workspace")
    made_up(made, n_latents=N_LATENTS, seeds=SEEDS)
    return made


@pytest.fixture(scope="module")
def file(workspace: Workspace) -> Path:
    return write_report(workspace, workspace.root / "report.html").page


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Page]:
    """The report as just opened; afterwards: no request but the file's, no error, no hijack."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto(file.as_uri())
    yield page
    assert {url.split("#")[0] for url in asked if url[:5] != "data:"} == {file.as_uri()}
    assert errors == []
    assert page.title() == "Report on the workspace"
    assert page.locator("img").count() == 0
    page.close()


def focused(page: Page, what: str) -> str:
    return str(page.evaluate(f"document.activeElement.{what}"))


def to_browser(page: Page) -> None:
    """By the link for keyboards, to the first control of the latent browser."""
    page.keyboard.press("Tab")
    assert focused(page, "textContent") == "To the latent browser"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused(page, "tagName") == "SELECT"
    page.locator("tbody [data-latent]").first.wait_for()


def listed(page: Page) -> list[int]:
    return [int(text) for text in page.locator("tbody [data-latent]").all_text_contents()]


def test_it_opens_before_any_latent_is_unpacked(opened: Page) -> None:
    opened.wait_for_load_state("load")
    milliseconds = opened.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert opened.locator("tbody [data-latent]").count() == 0
    began = opened.evaluate("performance.now()")
    to_browser(opened)
    listing = opened.evaluate("performance.now()") - began
    print(f"\nopened in {milliseconds:.0f} ms; first latents listed after {listing:.0f} ms more")
    assert len(listed(opened)) == 50


def test_a_latent_is_searched_sorted_and_opened_by_keyboard_alone(
    opened: Page, workspace: Workspace
) -> None:
    to_browser(opened)
    opened.keyboard.press("Tab")
    opened.keyboard.type("taken")
    opened.keyboard.press("Tab")
    opened.keyboard.type("token ent")
    assert opened.evaluate("document.activeElement.value") == "token_entropy"
    sql = f"""
      SELECT latent FROM latents WHERE sae = '{SAE}' AND n_fires > 0 AND latent IN (
        SELECT latent FROM latent_examples WHERE sae = '{SAE}' AND contains(text, 'taken')
      ) ORDER BY token_entropy, latent LIMIT 50"""
    expected = [row["latent"] for row in query(workspace, sql).to_pylist()]
    opened.wait_for_function(
        "n => document.querySelector('tbody [data-latent]').textContent === String(n)",
        arg=expected[0],
    )
    assert listed(opened) == expected
    for _ in range(10):
        opened.keyboard.press("Tab")
        if focused(opened, "dataset.latent") == str(expected[0]):
            break
    opened.keyboard.press("ArrowDown")
    assert focused(opened, "dataset.latent") == str(expected[1])
    opened.keyboard.press("Enter")
    opened.get_by_role("heading", name=f"Latent {expected[1]}", exact=True).wait_for()
    assert focused(opened, "textContent") == f"Latent {expected[1]}"
    assert opened.locator(".examples mark").count() == 8
    assert opened.locator(".examples .shade").count() > 8
    assert opened.locator(".histogram .bar").count() == 2
    for match in ("seed 1", "seed 2", "seed 3", "random weights"):
        assert opened.locator(".detail").get_by_text(match, exact=True).count() == 1


def test_a_match_opens_in_its_own_dictionary_and_has_an_address(opened: Page) -> None:
    to_browser(opened)
    opened.locator("tbody [data-latent]").first.press("Enter")
    match = opened.get_by_label("dictionary").get_by_role("button").first
    name = match.get_attribute("aria-label") or ""
    match.press("Enter")
    latent, sae = name.removeprefix("latent ").split(" of ")
    opened.get_by_role("heading", name=f"Latent {latent}", exact=True).wait_for()
    assert opened.get_by_label("SAE", exact=True).input_value() == sae
    opened.reload()
    opened.get_by_role("heading", name=f"Latent {latent}", exact=True).wait_for()


def test_hostile_tokens_are_text(opened: Page) -> None:
    to_browser(opened)
    opened.get_by_label("Search").fill("taken")
    opened.locator("tbody [data-latent]").first.press("Enter")
    opened.locator(".examples code", has_text=HOSTILE).first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(opened: Page, scheme: str) -> None:
    opened.emulate_media(color_scheme=scheme)
    opened.set_viewport_size({"width": 360, "height": 740})
    opened.locator("#browser").scroll_into_view_if_needed()
    opened.locator("tbody [data-latent]").first.press("Enter")
    opened.locator(".examples").first.wait_for()
    for summary in opened.locator("summary").all():
        summary.press("Enter")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_page(opened: Page, scheme: str) -> None:
    opened.emulate_media(color_scheme=scheme)
    for colour, least in (("ink", 7.0), ("muted", 4.5), ("accent", 4.5), ("series-0", 3.0)):
        found = opened.evaluate(CONTRAST, f"--{colour}")
        assert found >= least, (scheme, colour, found)


CONTRAST = """name => {
  const luminance = (hex) => {
    const linear = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255)
      .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const style = getComputedStyle(document.documentElement);
  const [a, b] = [name, "--page"].map((n) => luminance(style.getPropertyValue(n).trim()));
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""
