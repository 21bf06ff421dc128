import pickle

import numpy as np
import pytest

pytest.importorskip("PIL", reason="needs Pillow: pip install 'ds2ta-deploy[images]'")

from picture_files import python2_batch, rows_of

from ds2ta_deploy.datasets import read_data
from ds2ta_deploy.errors import InputError
from ds2ta_deploy.python_batches import is_batch, read_batch

RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
LABELS = [3, 0, 9, 9, 1]


def written(folder, data, name="test_batch"):
    path = folder / name
    path.write_bytes(data)
    return path


def problems_of(read, *arguments):
    with pytest.raises(InputError) as caught:
        read(*arguments)
    return [(problem.code, problem.what) for problem in caught.value.problems]


def spellings():
    rows = rows_of(PICTURES)
    yield "python 2", python2_batch(rows, LABELS)
    for protocol in (2, 3, 4):
        yield f"text keys, protocol {protocol}", pickle.dumps({"data": rows, "labels": LABELS}, protocol)
        yield f"bytes keys, protocol {protocol}", pickle.dumps({b"data": rows, b"labels": LABELS, b"filenames": [b"a.png"]}, protocol)


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in spellings()])
def test_a_batch_is_read(tmp_path, data):
    found = read_data(written(tmp_path, data))
    assert found.images.dtype == np.uint8
    assert found.labels.dtype == np.int64
    assert np.array_equal(found.images, PICTURES)
    assert found.labels.tolist() == LABELS


def test_a_row_is_the_planes_of_three_colours():
    row = np.arange(3072) % 251
    _, first, second = (row.reshape(3, 32, 32)[:, 0, column] for column in (0, 0, 1))
    assert rows_of(np.stack([row.reshape(3, 32, 32).transpose(1, 2, 0)])).tolist() == [row.tolist()]
    assert first.tolist() == [0, 1024 % 251, 2048 % 251]
    assert second.tolist() == [1, 1025 % 251, 2049 % 251]


def test_the_splits_of_a_directory(tmp_path):
    for number in (2, 10, 1):  # by number: 10 is not between 1 and 2
        written(tmp_path, python2_batch(rows_of(PICTURES[:1]), [number % 10]), f"data_batch_{number}")
    written(tmp_path, python2_batch(rows_of(PICTURES), LABELS))
    written(tmp_path, b"whatever", "batches.meta")
    assert read_data(tmp_path).labels.tolist() == LABELS
    assert read_data(tmp_path, "train").labels.tolist() == [1, 2, 0]
    assert np.array_equal(read_data(tmp_path, "train").images, PICTURES[[0, 0, 0]])


@pytest.mark.parametrize(("present", "asked"), [("data_batch_1", "test"), ("test_batch", "train")])
def test_a_directory_without_the_split(tmp_path, present, asked):
    written(tmp_path, python2_batch(rows_of(PICTURES), LABELS), present)
    assert problems_of(read_data, tmp_path, asked) == [("DS2TA-130", f"has no batch of the split {asked!r}")]


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("test_batch", True),
        ("data_batch_1", True),
        ("data_batch_12", True),
        ("data_batch_", False),
        ("test_batch.npz", False),
        ("batch", False),
    ],
)
def test_a_batch_is_known_by_its_name(tmp_path, name, batch):
    assert is_batch(tmp_path / name) is batch


@pytest.mark.parametrize(
    ("batch", "whats"),
    [
        ({}, ["has no 'data' of 3072 bytes a picture"]),
        ({"data": PICTURES, "labels": LABELS}, ["has no 'data' of 3072 bytes a picture"]),
        ({"data": [1], "labels": LABELS}, ["has no 'data' of 3072 bytes a picture"]),
        ({"data": rows_of(PICTURES)}, ["has no list of class numbers 'labels'"]),
        ({"data": rows_of(PICTURES), "labels": [True] * 5}, ["has no list of class numbers 'labels'"]),
        ({"data": rows_of(PICTURES), "labels": ["3"] * 5}, ["has no list of class numbers 'labels'"]),
        ({"data": rows_of(PICTURES), "labels": LABELS[:4]}, ["has 4 labels for 5 pictures"]),
        (
            {"data": rows_of(PICTURES), "labels": [1, -1, 10, 2**70]},
            ["has 4 labels for 5 pictures", "3 labels lie outside 0..9, the first is -1 of picture 1"],
        ),
        ([1], ["is no dictionary"]),
    ],
    ids=str,
)
def test_everything_that_is_wrong_with_a_batch_is_said_at_once(tmp_path, batch, whats):
    path = written(tmp_path, pickle.dumps(batch, 2))
    assert problems_of(read_batch, path) == [("DS2TA-145", what) for what in whats]


def test_everything_that_is_wrong_with_several_batches_is_said_at_once(tmp_path):
    written(tmp_path, python2_batch(rows_of(PICTURES), [11] * 5), "data_batch_1")
    written(tmp_path, python2_batch(rows_of(PICTURES), LABELS)[:-100], "data_batch_2")
    written(tmp_path, python2_batch(rows_of(PICTURES), LABELS), "data_batch_3")
    with pytest.raises(InputError) as caught:
        read_data(tmp_path, "train")
    assert [problem.where for problem in caught.value.problems] == [str(tmp_path / "data_batch_1"), str(tmp_path / "data_batch_2")]
