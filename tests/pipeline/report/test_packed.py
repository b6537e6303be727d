from __future__ import annotations

import numpy as np

from pipeline.report.packed import packed, unpacked


def test_what_is_packed_comes_back() -> None:
    columns = {
        "share": np.array([0.1, np.nan, 1e-7]),
        "latent": np.array([0, -1, 70_000]),
        "none": np.array([], dtype=np.int64),
    }
    found, texts = unpacked(packed(columns, {"texts": ["é𝒳", "</script>"]}))
    np.testing.assert_array_equal(found["share"], columns["share"].astype(np.float32))
    np.testing.assert_array_equal(found["latent"], columns["latent"])
    assert found["none"].size == 0
    assert texts == {"texts": ["é𝒳", "</script>"]}


def test_the_same_data_gives_the_same_bytes_and_no_character_of_html() -> None:
    data = packed({"x": np.arange(3)}, {"texts": ["<b>"]})
    assert data == packed({"x": np.arange(3)}, {"texts": ["<b>"]})
    assert not set(data) & set("<>&\"'")
