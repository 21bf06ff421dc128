import io
import sys
import zipfile

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="needs Pillow: pip install 'ds2ta-deploy[images]'")

from picture_files import archived, encoded, filled

from ds2ta_deploy.datasets import read_data
from ds2ta_deploy.errors import InputError, MissingRuntimeError

RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
FILES = [encoded(picture) for picture in PICTURES]

SPLIT = {
    "train/dog/1.png": FILES[0],
    "train/cat/2.png": FILES[1],
    "train/cat/10.png": FILES[2],
    "train/eel/0.png": FILES[3],
    "test/dog/0.png": FILES[4],
    "test/cat/0.png": FILES[5],
}


@pytest.fixture(params=["directory", "archive"])
def write(request, tmp_path):
    """Return a function that puts files into a data set of either kind."""
    if request.param == "directory":
        return lambda files: filled(tmp_path / "pictures", files)
    return lambda files: archived(tmp_path / "pictures.zip", files)


def problems_of(path, split="test"):
    with pytest.raises(InputError) as caught:
        read_data(path, split)
    assert all(problem.where.startswith(str(path)) for problem in caught.value.problems)
    return {problem.where.removeprefix(f"{path}").lstrip("/"): (problem.code, problem.what) for problem in caught.value.problems}


def test_a_split_is_sorted_by_class_and_name(write):
    path = write(SPLIT)
    train, test = read_data(path, "train"), read_data(path)
    assert train.images.dtype == np.uint8
    assert train.labels.dtype == np.int64
    assert np.array_equal(train.images, PICTURES[[2, 1, 0, 3]])
    assert train.labels.tolist() == [0, 0, 1, 2]
    assert np.array_equal(test.images, PICTURES[[5, 4]])
    assert test.labels.tolist() == [0, 1]


def test_a_class_without_test_pictures_keeps_its_number(write):
    files = {name: data for name, data in SPLIT.items() if name != "test/cat/0.png"}
    assert read_data(write(files)).labels.tolist() == [1]


@pytest.mark.parametrize("split", ["train", "test"])
def test_class_folders_without_splits_are_both(write, split):
    found = read_data(
        write({"b/0.png": FILES[0], "a/0.png": FILES[1], "README.txt": b"text", "a/.hidden": b"", ".git/a/0.png": b""}), split
    )
    assert np.array_equal(found.images, PICTURES[[1, 0]])
    assert found.labels.tolist() == [0, 1]


def test_grey_pictures_have_one_channel(write):
    grey = PICTURES[..., :1]
    found = read_data(write({f"a/{number}.png": encoded(picture) for number, picture in enumerate(grey)}))
    assert np.array_equal(found.images, grey)


def test_jpeg_is_read_as_pillow_decodes_it(write):
    data = encoded(PICTURES[0], "JPEG")
    found = read_data(write({"a/0.jpg": data}))
    assert np.array_equal(found.images[0], np.asarray(Image.open(io.BytesIO(data))))
    assert not np.array_equal(found.images[0], PICTURES[0])  # JPEG loses something: it was one


def test_an_unknown_class_is_named(write):
    path = write(SPLIT | {"test/yak/0.png": FILES[0], "test/gnu/0.png": FILES[0]})
    what = "is no class of the training pictures, which are cat, dog, eel"
    assert problems_of(path) == {"test/gnu": ("DS2TA-146", what), "test/yak": ("DS2TA-146", what)}
    assert problems_of(path, "train").keys() == {"test/gnu", "test/yak"}  # the layout is wrong, whatever is read of it


def test_pictures_that_lie_deeper_are_named(write):
    path = write(SPLIT | {"test/cat/old/0.png": FILES[0]})
    assert problems_of(path) == {"test/cat/old/0.png": ("DS2TA-146", "lies deeper than a class folder")}


def test_an_archive_without_pictures(tmp_path):
    assert problems_of(archived(tmp_path / "empty.zip", {"README": b""})) == {
        "": ("DS2TA-146", "has no class folders with pictures of the split 'test'")
    }


def test_a_data_set_without_the_split(write):
    path = write({name: data for name, data in SPLIT.items() if name.startswith("train")})
    assert problems_of(path) == {"": ("DS2TA-146", "has no class folders with pictures of the split 'test'")}


def test_every_damaged_picture_is_named_at_once(write):
    files = {
        "a/0-good.png": FILES[0],
        "a/1-cut.png": FILES[1][:-40],
        "a/2-text.png": b"no picture",
        "b/0-empty.jpg": b"",
        "b/1-larger.png": encoded(np.zeros((6, 4, 3), np.uint8)),
        "b/2-grey.png": encoded(PICTURES[2][..., :1]),
        "b/3-cut.jpg": encoded(np.kron(PICTURES[3], np.ones((9, 9, 1), np.uint8)), "JPEG")[:-200],
        "b/4-good.png": FILES[4],
    }
    found = problems_of(write(files))
    assert {code for code, _ in found.values()} == {"DS2TA-147"}
    assert found.keys() == {name for name in files if "good" not in name}
    assert found["a/2-text.png"][1] == "is no JPEG or PNG file"
    assert "is 6 x 4 x 3, the pictures before it are 5 x 4 x 3" in found["b/1-larger.png"][1]
    assert "is 5 x 4 x 1" in found["b/2-grey.png"][1]


def test_a_truncated_jpeg_is_refused(write):
    large = encoded(RANDOM.integers(0, 256, (40, 40, 3), dtype=np.uint8), "JPEG")
    found = problems_of(write({"a/0.jpg": large, "a/1.jpg": large[: len(large) // 2]}))
    assert found.keys() == {"a/1.jpg"}
    assert "truncated" in found["a/1.jpg"][1]


def test_transparent_pictures_are_refused(write):
    file = io.BytesIO()
    Image.new("RGBA", (4, 5)).save(file, "PNG")
    assert problems_of(write({"a/0.png": file.getvalue()})) == {
        "a/0.png": ("DS2TA-147", "cannot be read: its colours are RGBA, not L or RGB")
    }


def test_very_many_problems_are_counted(write):
    found = problems_of(write({f"a/{number:03}.png": b"" for number in range(50)}))
    assert len(found) == 21
    assert found[""] == ("DS2TA-147", "30 more pictures or folders are wrong")


def test_other_formats_are_not_opened(write):
    file = io.BytesIO()
    Image.new("RGB", (4, 5)).save(file, "BMP")
    assert problems_of(write({"a/0.png": file.getvalue()})).keys() == {"a/0.png"}


def test_a_picture_that_expands_beyond_all_measure(tmp_path):
    """Few bytes, many pixels: 300 million of one colour."""
    file = io.BytesIO()
    Image.new("L", (15_000, 20_000)).save(file, "PNG")
    assert "bomb" in problems_of(filled(tmp_path / "one", {"a/0.png": file.getvalue()}))["a/0.png"][1]


def test_many_pictures_that_expand_beyond_all_measure(tmp_path):
    file = io.BytesIO()
    Image.new("L", (2000, 2000)).save(file, "PNG")
    one = file.getvalue()
    path = filled(tmp_path / "many", {f"a/{number}.png": one for number in range(130)})
    assert problems_of(path)[""][0] == "DS2TA-136"


def test_an_archive_that_says_it_expands_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "zeros.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a/0.png", "w") as member:
        for _ in range(400):
            member.write(bytes(2**20))
    assert problems_of(tmp_path / "zeros.zip")[""][0] == "DS2TA-136"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    assert problems_of(tmp_path / "a.zip")[""][0] == "DS2TA-146"


def test_a_member_that_is_damaged(tmp_path):
    path = archived(tmp_path / "a.zip", {"a/0.png": FILES[0], "a/1.png": FILES[1]})
    data = bytearray(path.read_bytes())
    at = data.index(FILES[1])
    data[at + 60] ^= 255
    path.write_bytes(bytes(data))
    assert problems_of(path).keys() == {"a/1.png"}


def test_without_pillow_the_installing_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingRuntimeError) as caught:
        read_data(filled(tmp_path, SPLIT))
    (problem,) = caught.value.problems
    assert problem.code == "DS2TA-401"
    assert "ds2ta-deploy[images]" in problem.mend
