"""The `datasets` library itself, offline, on datasets that the test makes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        importlib.util.find_spec("datasets") is None,
        reason="the extra 'datasets' is not installed: make datasets",
    ),
]

TEXTS = ["one\nline", "  ", "drei Zeilen é", "four " * 50]
# In a process of its own: importing the library sets the environment and leaves threads behind.
READ = """
import json, sys
from pipeline.corpus.read import read_documents
from pipeline.errors import UserError
from pipeline.study.config import CorpusConfig
config = CorpusConfig(kind="hf", **json.loads(sys.argv[1]))
try:
    print(json.dumps([[d.name, d.text] for d in read_documents(config)]))
except UserError as error:
    sys.exit(f"UserError: {error}")
"""


def process(folder: Path, **fields: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-c", READ, json.dumps(fields)],
        capture_output=True,
        text=True,
        env=environment,
    )


def read(folder: Path, **fields: object) -> list[list[str]]:
    done = process(folder, **fields)
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def refused(folder: Path, **fields: object) -> str:
    done = process(folder, **fields)
    assert done.returncode == 1
    assert "UserError: " in done.stderr, done.stderr
    return done.stderr


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset as the hub holds them: a folder of files, one per split."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for split, texts in (("train", TEXTS), ("test", TEXTS[:1])):
        lines = [json.dumps({"body": text, "number": 1}) for text in texts]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_rows_are_documents_whether_read_whole_or_as_a_stream(
    dataset: Path, tmp_path: Path
) -> None:
    name = str(dataset)
    wanted = [[f"texts:{i}", text] for i, text in enumerate(TEXTS) if text.strip()]
    assert read(tmp_path, dataset=name, text_field="body") == wanted
    assert read(tmp_path, dataset=name, text_field="body", max_documents=2) == wanted[:2]
    (held,) = read(tmp_path, dataset=name, text_field="body", dataset_split="test")
    assert held == ["texts:0", TEXTS[0]]


def test_parquet_files_are_read_as_well(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "texts").mkdir()
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "texts" / "train-00000.parquet")
    found = read(tmp_path, dataset=str(tmp_path / "texts"))
    assert [text for _, text in found] == [text for text in TEXTS if text.strip()]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dataset_split": "tarin"}, "cannot be loaded"),
        ({"dataset_config": "en"}, "cannot be loaded"),
        ({"text_field": "text"}, "there is no field 'text'; its fields: body, number"),
        ({"text_field": "number"}, "holds a int, not text"),
        ({"dataset": "no/such-dataset"}, "cannot be loaded"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_what_to_do(
    dataset: Path, tmp_path: Path, fields: dict[str, str], said: str
) -> None:
    given = {"dataset": str(dataset), "text_field": "body"} | fields
    assert said in refused(tmp_path, **given)


def test_a_dataset_that_the_library_saved_is_read_too(tmp_path: Path) -> None:
    save = (
        "import datasets, sys\n"
        "one = datasets.Dataset.from_dict({'text': ['a', 'b']})\n"
        "one.save_to_disk(sys.argv[1])\n"
        "datasets.DatasetDict(train=one, test=one.select([1])).save_to_disk(sys.argv[2])\n"
    )
    one, both = str(tmp_path / "one"), str(tmp_path / "both")
    subprocess.run([sys.executable, "-c", save, one, both], check=True, capture_output=True)
    assert read(tmp_path, dataset=one) == [["one:0", "a"], ["one:1", "b"]]
    assert read(tmp_path, dataset=both, dataset_split="test") == [["both:0", "b"]]
    assert "cannot be loaded" in refused(tmp_path, dataset=both, dataset_split="tarin")


def test_names_and_splits_do_not_depend_on_where_the_folder_lies(
    dataset: Path, tmp_path: Path
) -> None:
    before = read(tmp_path, dataset=str(dataset), text_field="body")
    (tmp_path / "elsewhere").mkdir()
    moved = dataset.rename(tmp_path / "elsewhere" / dataset.name)
    assert read(tmp_path, dataset=str(moved), text_field="body") == before
