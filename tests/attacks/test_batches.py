"""Python batches that are programs: nothing in them runs, and none takes more memory than it is large."""

import pickle
import struct

import numpy as np
import pytest
from attack_files import Bomb, Nested
from picture_files import python2_batch, python2_string, rows_of

ROWS = rows_of(np.zeros((2, 32, 32, 3), np.uint8))
READER = "batch"


def written(folder, data):
    path = folder / "test_batch"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("where", ["instead", "as data", "as labels", "beside", "as a label", "inside an array"])
def test_code_in_a_batch_never_runs(tmp_path, refused, protocol, where):
    sign = tmp_path / "ran"
    bomb, good = Bomb(sign), {"data": ROWS, "labels": [1, 2]}
    batch = {
        "instead": bomb,
        "as data": good | {"data": bomb},
        "as labels": good | {"labels": bomb},
        "beside": good | {"filenames": [bomb]},
        "as a label": good | {"labels": [1, bomb]},
        "inside an array": good | {"data": np.array([bomb], dtype=object)},
    }[where]
    data = pickle.dumps(batch, protocol)
    pickle.loads(data)  # noqa: S301 - shows that the bomb works
    assert sign.exists()
    sign.unlink()
    refused(READER, written(tmp_path, data), "DS2TA-145")
    assert not sign.exists()


def test_a_pickle_inside_a_pickle_never_runs(tmp_path, refused):
    sign = tmp_path / "ran"
    refused(READER, written(tmp_path, pickle.dumps({"data": ROWS, "labels": Nested(pickle.dumps(Bomb(sign)))})), "DS2TA-145")
    assert not sign.exists()


@pytest.mark.parametrize(
    "asked",
    [
        "posix system",
        "os system",
        "builtins eval",
        "builtins getattr",
        "numpy load",
        "numpy.core.multiarray scalar",
        "numpy.f2py.crackfortran myeval",
    ],
)
def test_a_name_that_no_array_needs(tmp_path, refused, asked):
    module, name = asked.split()
    found = refused(READER, written(tmp_path, f"c{module}\n{name}\n(S'touch ran'\ntR.".encode()), "DS2TA-145")
    assert f"asks for {module}.{name}" in found.words


BOMBS = {
    "an array that is larger than memory, made before it is filled": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
    b"(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ftU\x01btR.",
    "a place in memory that is far away": b"Nr\xff\xff\xff\xff.",
    "a text that is longer than the file": b"T\xff\xff\xff\x7fabc.",
    "bytes that are longer than memory": b"\x8e" + struct.pack("<Q", 2**62) + b"abc.",
    "a number of a million digits": b"I" + b"9" * 10**6 + b"\n.",
    "an integer of a gigabyte": b"\x8b" + struct.pack("<i", 2**30) + b"\1.",
    "brackets without end": b"(" * 10**6,
    "tuples in tuples": b"N" + b"\x85" * 10**6 + b".",
    "tuples of tuples that are shared": b"N" + b"2\x86" * 10**5 + b".",
    "a list that holds itself": b"]q\0h\0a.",
    "a frame without end": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
    "a type with fields": python2_batch(ROWS, [1, 2], kind=b"O8"),
    "a text that every array copies": b"\x80\x02"
    + python2_string(b"\xff" * 10**6)
    + b"q\0"
    + b"0cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85U\x01btR(K\x01J@B\x0f\0\x85cnumpy\ndtype\n(U\x02u1K\0K\1tR\x89h\0tb"
    * 10**4
    + b".",
}


@pytest.mark.parametrize("how", BOMBS)
def test_a_batch_that_would_fill_the_memory(tmp_path, refused, how):
    refused(READER, written(tmp_path, BOMBS[how]), "DS2TA-145")
