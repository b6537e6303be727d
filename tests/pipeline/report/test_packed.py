from __future__ import annotations

import numpy as np

from pipeline.report.packed import packed, unpacked


def test_what_is_packed_comes_back() -> None:
    columns = {
        "share": np.array([0.1, np.nan, 1e-7]),
        "latent": np.array([0, -1, 70_000]),
        "shade": np.array([0, 255, 7], dtype=np.uint8),
        "length": np.array([0, 65_535, 300], dtype=np.uint16),
        "none": np.array([], dtype=np.int64),
    }
    found, texts = unpacked(packed(columns, {"texts": ["é𝒳", "</script>"]}))
    np.testing.assert_array_equal(found["share"], columns["share"].astype(np.float32))
    np.testing.assert_array_equal(found["latent"], columns["latent"])
    for name in ("shade", "length"):
        assert found[name].dtype == columns[name].dtype
        np.testing.assert_array_equal(found[name], columns[name])
    assert found["none"].size == 0
    assert texts == {"texts": ["é𝒳", "</script>"]}


def test_the_same_data_gives_the_same_bytes_and_no_character_of_html() -> None:
    data = packed({"x": np.arange(3)}, {"texts": ["<b>"]})
    assert data == packed({"x": np.arange(3)}, {"texts": ["<b>"]})
    assert not set(data) & set("<>&\"'")
