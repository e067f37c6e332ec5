"""Both file formats hold the same table, write the same bytes each time, and refuse what is no table."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from drl.data.columns import content_digest, read_columns, write_npy, write_parquet
from drl.errors import DataError


def table(rows=5):
    return {
        "timestamp": np.arange(rows, dtype=np.int64) * 3600,
        "price": np.linspace(-1, 1, rows),
        "context": np.arange(rows) < 2,
    }


def write(columns, path):
    (write_parquet if path.suffix == ".parquet" else write_npy)(columns, path)


@pytest.mark.parametrize("name", ["t.parquet", "t.npy"])
def test_round_trip_and_same_bytes_each_time(tmp_path, name):
    first, again = tmp_path / name, tmp_path / f"again-{name}"
    write(table(), first)
    write(table(), again)
    assert first.read_bytes() == again.read_bytes()
    back = read_columns(first)
    assert list(back) == list(table())
    for column, values in table().items():
        assert back[column].dtype == values.dtype
        np.testing.assert_array_equal(back[column], values)
        back[column][0] = back[column][1]  # writable, whatever the format


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(np.float64, st.shared(st.integers(1, 9), key="rows")),
    hnp.arrays(np.int64, st.shared(st.integers(1, 9), key="rows")),
)
def test_content_digest_is_that_of_the_values(tmp_path_factory, numbers, times):
    columns, folder = {"b": numbers, "a": times}, tmp_path_factory.mktemp("columns")
    digests = {content_digest(columns), content_digest({"a": times, "b": numbers})}
    for name in ("t.parquet", "t.npy"):
        write(columns, folder / name)
        digests.add(content_digest(read_columns(folder / name)))
    assert len(digests) == 1


def test_content_digest_follows_its_description():
    columns = {"p": np.array([1.5]), "n": np.array([2], dtype=np.int64)}
    head = b'["drl.columns/1",[["n","<i8",1],["p","<f8",1]]]'
    values = np.array([2], "<i8").tobytes() + np.array([1.5], "<f8").tobytes()
    assert content_digest(columns) == hashlib.sha256(head + values).hexdigest()
    assert content_digest({**columns, "p": np.array([1.25])}) != content_digest(columns)
    assert content_digest({"q": columns["p"], "n": columns["n"]}) != content_digest(columns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "without columns"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, "differ in length"),
        ({"a": np.zeros((2, 2))}, "shape"),
        ({"a": np.array(["x", None], dtype=object)}, "object"),
    ],
)
def test_no_table_is_refused(tmp_path, columns, message):
    with pytest.raises(DataError, match=message):
        write_npy(columns, tmp_path / "t.npy")
    assert not (tmp_path / "t.npy").exists()


@pytest.mark.parametrize("name", ["t.parquet", "t.npy"])
def test_unreadable_files_are_data_errors(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(DataError, match="no such file"):
        read_columns(path)
    write(table(), path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match="not a readable"):
        read_columns(path)


def test_a_pickle_and_a_plain_array_are_refused(tmp_path):
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="not a readable"):
        read_columns(tmp_path / "pickle.npy")
    np.save(tmp_path / "plain.npy", np.zeros(3))
    with pytest.raises(DataError, match="without column names"):
        read_columns(tmp_path / "plain.npy")
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="unknown format"):
        read_columns(tmp_path / "t.csv")
