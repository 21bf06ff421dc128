"""Pictures and golden values from archives that expand, lie, or hold code."""

import bz2
import gzip
import lzma
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

BOTH = pytest.mark.parametrize("reader", ["data", "golden"])


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self):
        return (Path.touch, (self.sign,))


def npy(header: str, body: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """Return an array file with this header, whatever it says."""
    text = header.encode("latin1")
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + body


def save(path: Path, **arrays) -> Path:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return path


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


@BOTH
@pytest.mark.parametrize("name", ["images", "labels"])  # "frames" are read as "images" are
def test_pickled_objects_are_refused_and_never_run(tmp_path, refused, reader, name):
    sign = tmp_path / "ran"
    arrays = {"images": np.zeros((1, 2, 2, 1), np.uint8), name: np.array([Bomb(sign)], dtype=object)}
    path = save(tmp_path / "objects.npz", **arrays)
    with np.load(path, allow_pickle=True) as opened:  # shows that the bomb works
        assert opened[name].size
    assert sign.exists()
    sign.unlink()
    refused(reader, path, "DS2TA-132")
    path.write_bytes(pickle.dumps(Bomb(sign)))
    refused(reader, path, "DS2TA-132")
    assert not sign.exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_bomb_of_zeros(tmp_path, refused, method):
    path, pictures = tmp_path / "bomb.npz", 300
    with zipfile.ZipFile(path, "w", method) as file, file.open("images.npy", "w") as member:
        member.write(npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({pictures}, 1024, 1024, 1)}}\n"))
        for _ in range(pictures):
            member.write(bytes(2**20))
    assert path.stat().st_size < 2**19
    refused("data", path, "DS2TA-136")
    refused("golden", path, "DS2TA-136")


@BOTH
def test_many_members_that_all_lie_in_the_same_place(tmp_path, refused, reader):
    path = archive(tmp_path / "overlap.npz", {"images.npy": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}\n", bytes(2**20))})
    data = path.read_bytes()
    directory, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    count = 60_000
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, (end - directory) * count, directory, 0)
    path.write_bytes(data[:directory] + data[directory:end] * count + tail)
    refused(reader, path, "DS2TA-136")


@BOTH
@pytest.mark.parametrize("data", [b"", b"pixels", b"\x93NUMPX\x01\x00", b"\x80\x04K\x01."])
def test_a_member_that_is_no_array(tmp_path, refused, reader, data):
    refused(reader, archive(tmp_path / "bytes.npz", {"images.npy": data}), "DS2TA-132")


SHAPES = {
    "larger than memory": "(1048576, 1048576, 4, 4)",
    "larger than any address": "(4611686018427387904, 4, 4, 4)",
    "more than 64 bits": "(340282366920938463463374607431768211456, 1, 1, 1)",
    "of a thousand digits": "(" + "9" * 5000 + ",)",
    "negative": "(-1, 2, 2, 1)",
    "of a hundred axes": "(" + "1, " * 100 + ")",
    "no tuple": "7",
    "of fractions": "(1.5, 2)",
}


@BOTH
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("how", SHAPES)
def test_an_array_that_lies_about_its_shape(tmp_path, refused, reader, how, method):
    lying = npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {SHAPES[how]}}}\n", bytes(64))
    refused(reader, archive(tmp_path / "lying.npz", {"images.npy": lying}, method), "DS2TA-132")


HEADERS = {
    "nested": "(" * 9000,
    "signs": "-" * 9000 + "1",
    "no end": "{'descr': '|u1'",
    "an open string": "{'descr': '''",
    "indented": "  {\n 'descr'\n   :",
    "code": "__import__('os').system('touch ran')",
    "no dictionary": "[1]",
    "a record": "{'descr': [('a', 'O'), ('b', '<U1000000000')], 'fortran_order': False, 'shape': (1,)}",
    "an endless string": "{'descr': '<U2000000000', 'fortran_order': False, 'shape': (1,)}",
    "an unknown type": "{'descr': '<x9', 'fortran_order': False, 'shape': (1,)}",
    "too long": "{" + " " * 60_000 + "}",
    "NUL": "\0" * 100,
}


@BOTH
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0), (9, 9)])
@pytest.mark.parametrize("how", HEADERS)
def test_a_header_of_an_array_that_is_none(tmp_path, refused, reader, how, version):
    refused(reader, archive(tmp_path / "header.npz", {"images.npy": npy(HEADERS[how], version=version)}), "DS2TA-132")


@pytest.mark.parametrize(
    ("method", "spoil"), [(zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2), (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA), (zipfile.ZIP_STORED, 99)]
)
def test_a_member_in_another_compression_than_it_says(tmp_path, refused, method, spoil):
    good = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 2, 1)}\n", bytes(4))
    path = archive(tmp_path / "mixed.npz", {"images.npy": good}, method)
    data = bytearray(path.read_bytes())
    data[8:10] = struct.pack("<H", spoil)
    directory = data.index(b"PK\x01\x02")
    data[directory + 10 : directory + 12] = struct.pack("<H", spoil)
    path.write_bytes(bytes(data))
    refused("data", path, "DS2TA-132")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 5e-324, 1e308])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_pictures_that_are_no_integers(tmp_path, refused, kind, value):
    with np.errstate(over="ignore"):
        images = np.full((1, 2, 2, 1), value).astype(kind)
    refused("data", save(tmp_path / "floats.npz", images=images), "DS2TA-133")


# --- idx -------------------------------------------------------------------------------------------------------------


def test_a_gzip_bomb(tmp_path, refused):
    path = tmp_path / "pictures-idx3-ubyte.gz"
    with gzip.open(path, "wb") as file:
        file.write(bytes([0, 0, 8, 3]) + struct.pack(">3I", 300, 1024, 1024))
        for _ in range(300):
            file.write(bytes(2**20))
    assert path.stat().st_size < 2**19
    refused("idx", path, "DS2TA-136")


@pytest.mark.parametrize("shape", [(2**32 - 1,) * 3, (0, 2**32 - 1, 2**32 - 1), (2**16, 2**16, 2**16)])
def test_an_idx_file_that_lies_about_its_shape(tmp_path, refused, shape):
    path = tmp_path / "idx"
    path.write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", *shape) + bytes(64))
    refused("idx", path, "DS2TA-131")


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress, lambda data: gzip.compress(data)[:-8]], ids=["bz2", "xz", "cut"])
def test_an_idx_file_in_another_compression_than_its_name_says(tmp_path, refused, pack):
    path = tmp_path / "idx.gz"
    path.write_bytes(pack(bytes([0, 0, 8, 1]) + struct.pack(">I", 4) + bytes(4)))
    refused("idx", path, "DS2TA-131")


def test_nothing_above_is_refused_for_being_compressed(tmp_path, contained):
    path = save(tmp_path / "fine.npz", images=np.zeros((100, 256, 256, 1), np.uint8))
    assert path.stat().st_size < 2**16
    assert contained.read("data", path).kind == "accepted"
    packed = tmp_path / "fine.gz"
    packed.write_bytes(gzip.compress(bytes([0, 0, 8, 1]) + struct.pack(">I", 2**20) + bytes(2**20)))
    assert contained.read("idx", packed).kind == "accepted"
