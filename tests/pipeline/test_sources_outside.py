"""Where packages and models come from is told without a secret and without the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import sources_outside
from pipeline.sources_outside import hub, package_index


@pytest.fixture(autouse=True)
def nothing_set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE", "HF_ENDPOINT", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sources_outside, "_pip_files", lambda: iter([tmp_path / "pip.conf"]))


def test_nothing_set_up_means_what_pip_and_the_hub_take_by_themselves(tmp_path: Path) -> None:
    assert package_index() == "https://pypi.org/simple (pip's own)"
    assert hub() == "https://huggingface.co"


def test_a_file_of_pip_is_read_and_the_variable_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = https://a.example/simple\n")
    assert package_index() == f"https://a.example/simple ({file})"
    monkeypatch.setenv("PIP_INDEX_URL", "https://b.example/simple")
    assert package_index() == "https://b.example/simple (PIP_INDEX_URL)"


def test_names_and_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@a.example:8080/simple?token=secret")
    monkeypatch.setenv("HF_ENDPOINT", "https://me:secret@hub.example")
    assert package_index() == "https://a.example:8080/simple (PIP_INDEX_URL)"
    assert hub() == "https://hub.example"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("index-url = no section\n")
    assert str(tmp_path / "pip.conf") in package_index()
    assert "cannot be read" in package_index()


def test_offline_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in hub()
