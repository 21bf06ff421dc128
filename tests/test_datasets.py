import gc
import gzip
import io
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ds2ta_deploy.datasets import read_data, read_idx, read_idx_directory, read_npz
from ds2ta_deploy.errors import InputError

RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.integers(0, 256, (6, 5, 4), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9], np.uint8)


def idx(array: np.ndarray, kind: int = 0x08) -> bytes:
    """Return an idx file of bytes."""
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def npz(compressed: bool = False, **arrays: np.ndarray) -> bytes:
    """Return an .npz archive."""
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def written(folder: Path, content: bytes, name: str = "data.npz") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def the_problem(read, path):
    """Return the single problem that reading the file raises: one line that names the file."""
    with pytest.raises(InputError) as caught:
        read(path)
    (problem,) = caught.value.problems
    assert str(caught.value).count("\n") == 0
    assert problem.where == str(path)
    return problem


def fill(folder: Path, split: str = "t10k", suffix: str = "", images: np.ndarray = PICTURES, labels: np.ndarray = LABELS) -> Path:
    """Put the two files of a split into a folder."""
    for kind, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
        content = idx(array)
        (folder / f"{split}-{kind}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    return folder


# --- idx -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4), (2, 1, 3, 2)])
def test_an_idx_file_is_read_row_by_row(tmp_path, shape):
    array = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    read = read_idx(written(tmp_path, idx(array), "file"))
    assert read.dtype == np.uint8
    assert np.array_equal(read, array)


def test_a_gzipped_idx_file_is_the_same(tmp_path):
    assert np.array_equal(read_idx(written(tmp_path, gzip.compress(idx(PICTURES)), "file.gz")), PICTURES)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"\1\0\x08\x01\0\0\0\0",  # wrong first byte
        b"\0\1\x08\x01\0\0\0\0",  # wrong second byte
        idx(LABELS, kind=0x0D),  # floats
        b"\0\0\x08\x03\0\0\0\1\0\0\0\1",  # ends inside the shape
        idx(PICTURES)[:-1],
        idx(PICTURES) + b"\0",
        idx(PICTURES[:0]),  # no pictures
        b"\0\0\x08\x02" + struct.pack(">2I", 2**32 - 1, 2**32 - 1) + b"\1",  # product of the sizes wraps to 1 in 64 bits
    ],
)
def test_what_is_no_idx_file_is_refused(tmp_path, content):
    assert the_problem(read_idx, written(tmp_path, content, "file")).code == "DS2TA-131"


def test_an_idx_file_cut_anywhere_is_refused(tmp_path):
    content = idx(PICTURES)
    for length in range(len(content)):
        assert the_problem(read_idx, written(tmp_path, content[:length], "file")).code == "DS2TA-131"


@pytest.mark.parametrize("sizes", [[1] * 65, [0, 2**32 - 1, 2**32 - 1, 2**32 - 1]])
def test_an_announced_shape_that_no_array_has_is_refused(tmp_path, sizes):
    body = b"x" if all(sizes) else b""
    content = bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + body
    assert the_problem(read_idx, written(tmp_path, content, "file")).code == "DS2TA-131"


def test_a_gzip_file_cut_anywhere_is_refused(tmp_path):
    content = gzip.compress(idx(PICTURES))
    for length in range(0, len(content), 3):
        assert the_problem(read_idx, written(tmp_path, content[:length], "file.gz")).code == "DS2TA-131"


def test_a_gzip_file_with_a_changed_byte_is_refused(tmp_path):
    content = gzip.compress(idx(np.tile(PICTURES, (4, 1, 1))))
    for position in range(10, len(content)):  # behind the header, whose time stamp and flags do not change the data
        changed = bytearray(content)
        changed[position] ^= 0x5A
        assert the_problem(read_idx, written(tmp_path, bytes(changed), "file.gz")).code == "DS2TA-131"


def test_a_plain_file_named_gz_is_refused(tmp_path):
    assert the_problem(read_idx, written(tmp_path, idx(LABELS), "file.gz")).code == "DS2TA-131"


def test_an_idx_file_that_is_not_there(tmp_path):
    assert the_problem(read_idx, tmp_path / "nothing").code == "DS2TA-131"


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("split", "stem"), [("test", "t10k"), ("train", "train")])
def test_a_directory_gives_pictures_with_one_channel_and_their_labels(tmp_path, split, stem, suffix):
    fill(tmp_path, "train" if stem == "t10k" else "t10k", suffix, PICTURES[::-1], LABELS[::-1])  # the other split
    data = read_idx_directory(fill(tmp_path, stem, suffix), split)
    assert data.images.dtype == np.uint8
    assert data.labels.dtype == np.int64
    assert np.array_equal(data.images, PICTURES[..., None])
    assert np.array_equal(data.labels, LABELS)


@pytest.mark.parametrize("kind", ["images-idx3-ubyte", "labels-idx1-ubyte"])
def test_a_missing_file_is_named(tmp_path, kind):
    (fill(tmp_path) / f"t10k-{kind}").unlink()
    problem = the_problem(read_idx_directory, tmp_path)
    assert problem.code == "DS2TA-130"
    assert f"t10k-{kind}" in problem.what
    assert problem.mend


@pytest.mark.parametrize(("images", "labels"), [(PICTURES, LABELS[:5]), (PICTURES[0], LABELS[:5]), (PICTURES, LABELS[:, None])])
def test_pictures_and_labels_must_belong_together(tmp_path, images, labels):
    problem = the_problem(read_idx_directory, fill(tmp_path, images=images, labels=labels))
    assert problem.code == "DS2TA-131"
    assert str(images.shape) in problem.what
    assert str(labels.shape) in problem.what


# --- npz -------------------------------------------------------------------------------------------------------------

IMAGES = PICTURES[..., None]
FRAMES = RANDOM.integers(0, 3, (2, 6, 5, 4, 2), dtype=np.uint8)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("name", "pixels"), [("images", IMAGES), ("frames", FRAMES)])
def test_an_archive_with_labels(tmp_path, name, pixels, compressed):
    data = read_npz(written(tmp_path, npz(compressed, **{name: pixels, "labels": LABELS, "other": np.array(0.5)})))
    assert data.images.dtype == np.uint8
    assert np.array_equal(data.images, pixels)
    assert data.labels.dtype == np.int64
    assert np.array_equal(data.labels, LABELS)


def test_an_archive_without_labels(tmp_path):
    data = read_npz(written(tmp_path, npz(images=IMAGES)))
    assert np.array_equal(data.images, IMAGES)
    assert data.labels is None


def test_missing_arrays_are_named(tmp_path):
    problem = the_problem(read_npz, written(tmp_path, npz(pictures=IMAGES, labels=LABELS)))
    assert problem.code == "DS2TA-133"
    assert "'images'" in problem.what
    assert "'frames'" in problem.what


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int8, np.int64, np.uint16, np.bool_])
def test_pixels_of_another_type_are_refused(tmp_path, kind):
    problem = the_problem(read_npz, written(tmp_path, npz(images=IMAGES.astype(kind), labels=LABELS)))
    assert problem.code == "DS2TA-133"
    assert np.dtype(kind).name in problem.what
    assert "uint8" in problem.what


@pytest.mark.parametrize("labels", [LABELS[:, None], LABELS.astype(np.float32), LABELS.astype("U1"), np.array(3), LABELS > 3])
def test_labels_that_are_no_list_of_integers_are_refused(tmp_path, labels):
    problem = the_problem(read_npz, written(tmp_path, npz(images=IMAGES, labels=labels)))
    assert problem.code == "DS2TA-133"
    assert "labels" in problem.what


@pytest.mark.parametrize(("name", "pixels"), [("images", IMAGES), ("frames", FRAMES)])
@pytest.mark.parametrize("count", [0, 2, 4, 5, 7])
def test_every_picture_needs_its_label(tmp_path, name, pixels, count):
    labels = np.zeros(count, np.int64)
    problem = the_problem(read_npz, written(tmp_path, npz(**{name: pixels, "labels": labels})))
    assert problem.code == "DS2TA-133"


@pytest.mark.parametrize(
    ("name", "pixels"), [("images", PICTURES), ("images", IMAGES[0, 0, 0]), ("images", FRAMES), ("frames", IMAGES), ("frames", FRAMES[0])]
)
def test_pixels_of_another_rank_are_refused(tmp_path, name, pixels):
    problem = the_problem(read_npz, written(tmp_path, npz(**{name: pixels})))
    assert problem.code == "DS2TA-133"
    assert str(pixels.shape) in problem.what


def test_everything_wrong_with_an_archive_is_said_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        read_npz(written(tmp_path, npz(images=PICTURES.astype(np.float32))))
    assert [problem.code for problem in caught.value.problems] == ["DS2TA-133", "DS2TA-133"]


def test_labels_beyond_64_signed_bits_do_not_wrap(tmp_path):
    labels = np.full(6, 2**64 - 1, np.uint64)
    assert the_problem(read_npz, written(tmp_path, npz(images=IMAGES, labels=labels))).code == "DS2TA-133"


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self):
        return (Path.touch, (self.sign,))


def test_an_object_array_under_a_name_that_is_not_read_does_no_harm(tmp_path):
    sign = tmp_path / "ran"
    data = read_npz(written(tmp_path, npz(images=IMAGES, other=np.array([Bomb(sign)], dtype=object))))
    assert np.array_equal(data.images, IMAGES)
    assert not sign.exists()


def a_npy_file() -> bytes:
    file = io.BytesIO()
    np.save(file, IMAGES)
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04", b"PK\x03\x04" + bytes(200), b"no archive at all", a_npy_file()])
def test_garbage_is_refused(tmp_path, content):
    assert the_problem(read_npz, written(tmp_path, content)).code == "DS2TA-132"


def test_a_member_that_is_no_array_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '|u1'}")
    assert the_problem(read_npz, path).code == "DS2TA-132"


def test_an_array_larger_than_memory_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999,)}\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    assert the_problem(read_npz, path).code == "DS2TA-132"


def test_an_archive_cut_anywhere_is_refused(tmp_path):
    content = npz(images=IMAGES, labels=LABELS)
    for length in range(0, len(content), 7):
        assert the_problem(read_npz, written(tmp_path, content[:length])).code == "DS2TA-132"


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_with_a_changed_byte_is_read_or_refused_never_a_traceback(tmp_path, compressed):
    content = npz(compressed, images=IMAGES, labels=LABELS)
    refused = 0
    for position in range(len(content)):
        for change in (0x01, 0x5A, 0xFF):
            damaged = bytearray(content)
            damaged[position] ^= change
            try:
                read_npz(written(tmp_path, bytes(damaged)))
            except InputError as error:
                assert str(error).startswith("DS2TA-13")
                refused += 1
    assert refused > len(content)  # a zip file's checksums find most of them


def test_a_damaged_archive_is_closed_again(tmp_path):
    path = written(tmp_path, b"PK\x03\x04" + bytes(200))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(InputError):
            read_npz(path)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


# --- either ----------------------------------------------------------------------------------------------------------


def test_read_data_takes_a_directory_or_an_archive(tmp_path):
    archive = written(tmp_path, npz(images=IMAGES[::-1], labels=LABELS[::-1]))
    from_directory, from_archive = read_data(fill(tmp_path)), read_data(archive)
    assert np.array_equal(from_directory.images, IMAGES)
    assert np.array_equal(from_directory.labels, LABELS)
    assert np.array_equal(from_archive.images, IMAGES[::-1])
    assert np.array_equal(from_archive.labels, LABELS[::-1])


def test_read_data_of_nothing(tmp_path):
    assert the_problem(read_data, tmp_path / "nothing.npz").code == "DS2TA-130"
