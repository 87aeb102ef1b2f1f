"""Promise: readers take what is within their limits, whole, and say which limit is passed."""

import gzip
import struct

import hostile
import numpy as np
import pytest

from softstep.model import archive
from softstep.model.archive import DataError
from softstep.model.datasets import load_features, load_file, text


def header_of(length):
    """A .npy of one number whose header has so many bytes."""
    described = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1)}"
    return hostile.npy_with_header(described.ljust(length - 1), struct.pack("<d", 7.0))


def test_the_header_of_an_array(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(header_of(archive.LONGEST_HEADER))
    assert archive.map_npy(path)[0, 0] == 7
    path.write_bytes(header_of(archive.LONGEST_HEADER + 1))
    with pytest.raises(DataError, match="its header has 10001 bytes, more than 10000"):
        archive.map_npy(path)


def test_the_axes_of_an_array(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((1,) * 8))
    assert archive.map_npy(path).shape == (1,) * 8
    np.save(path, np.zeros((1,) * 9))
    with pytest.raises(DataError, match="is not a valid shape"):
        archive.map_npy(path)


@pytest.mark.parametrize("count", [1000, 1001])
def test_the_members_of_an_archive(count, tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(hostile.npz([(f"{i}.npy", hostile.saved(hostile.Y)) for i in range(count)]))
    if count == 1000:
        assert len(archive.read_npz(path)) == count
        return
    with pytest.raises(DataError, match="holds 1001 members, more than 1000"):
        archive.read_npz(path)


def test_a_line_of_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("0" * (text.LONGEST_LINE - 1) + "\n1,2,a\n")
    with pytest.raises(DataError, match="line 1: field larger than field limit"):
        load_file(path)
    path.write_text("0" * text.LONGEST_LINE + "\n1,2,a\n")
    with pytest.raises(DataError, match=r"line 1 is longer than 16,777,216 characters"):
        load_file(path)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_line_of_many_characters_has_no_more_columns_than_it_has(ending, tmp_path):
    path, rows = tmp_path / f"a{ending}", np.random.default_rng(0).standard_normal((3, 60_000))
    lines = [
        ",".join([*map(repr, row.tolist()), label]) for row, label in zip(rows, "aba", strict=True)
    ]
    assert len(lines[0]) > text.MOST_COLUMNS
    content = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(content) if ending == ".csv.gz" else content)
    np.testing.assert_array_equal(load_file(path).X_train, rows)


def test_what_is_not_read_is_named_up_to_ten(tmp_path):
    for count, end in ((10, "arr_9"), (11, "arr_9, …")):
        said, more = [], {f"arr_{i}": np.ones(2) for i in range(count)}
        np.savez(tmp_path / "a.npz", X_train=hostile.X, y_train=hostile.Y, **more)
        load_file(tmp_path / "a.npz", tell=said.append)
        assert said[0].endswith(f"arr_8, {end}")


@pytest.mark.parametrize("width", [1, 2])
def test_the_files_of_a_folder(width, tmp_path):
    rows = np.arange(5.0 * width).reshape(5, width)
    np.save(tmp_path / "2.npy", rows[:1])
    np.save(tmp_path / "10.npy", rows[1:])
    np.testing.assert_array_equal(load_features(tmp_path)[0], rows)


def test_the_files_of_a_folder_are_joined_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("softstep.model.datasets.arrays.BLOCK", 100)
    rows = np.arange(99.0 * 4).reshape(99, 4)
    np.save(tmp_path / "a.npy", rows[:50])
    np.save(tmp_path / "b.npy", np.asfortranarray(rows[50:]))
    np.testing.assert_array_equal(load_features(tmp_path)[0], rows)
