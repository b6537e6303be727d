from __future__ import annotations

import io

import pytest

from pipeline.cli import display
from pipeline.cli.display import duration, line, shown
from pipeline.progress import Progress


def test_a_line_tells_share_rate_and_time_left() -> None:
    text = line(Progress("harvest", 250_000, 1_000_000, "tokens", "layer 3"), seconds=10.0)
    assert text == "harvest   25%  250.0k/1.0M tokens  25.0k tokens/s  30 s left  layer 3"


def test_the_rate_leaves_out_what_was_done_before() -> None:
    text = line(Progress("train", 75, 100, "steps"), seconds=5.0, done_before=50)
    assert "5 steps/s" in text
    assert "5 s left" in text


def test_work_of_unknown_size_shows_no_share() -> None:
    assert line(Progress("pack", 10, 0, "files"), seconds=0.0) == "pack  10 files"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (190, "3 min 10 s"), (7500, "2 h 5 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_file_gets_each_stages_last_state_on_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with shown(stream) as report:
        for done in range(5):
            report(Progress("harvest", done + 1, 5, "rows"))
        report(Progress("train", 1, 2, "steps"))
    lines = stream.getvalue().splitlines()
    assert [text.split()[0] for text in lines] == ["harvest", "train"]
    assert "100%" in lines[0]


def test_a_terminal_gets_one_line_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(display, "_PAUSE_TERMINAL", 0.0)
    with shown(stream) as report:
        for done in range(3):
            report(Progress("harvest", done + 1, 3, "rows"))
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.count("\r\x1b[2K") >= 3
