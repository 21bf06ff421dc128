import pickle
import pickletools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_files import python2_batch

from ds2ta_deploy.plain_pickles import PickledArray, PickleRefusedError, read_plain_pickle

RANDOM = np.random.default_rng(0)

KEYS = st.text(max_size=4) | st.binary(max_size=4) | st.integers(-5, 2**40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5) | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4) | st.tuples(inner, inner) | st.tuples(inner),
    max_leaves=12,
)


@given(value=VALUES, protocol=st.sampled_from([1, 2, 3, 4]))
def test_plain_values_come_back(value, protocol):
    assert read_plain_pickle(pickle.dumps(value, protocol)) == value


@given(value=VALUES)
def test_the_same_type_comes_back(value):
    assert repr(read_plain_pickle(pickle.dumps(value, 4))) == repr(value)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_bytes_comes_back(protocol, order):
    array = np.asarray(RANDOM.integers(0, 256, (3, 4, 5), dtype=np.uint8), order=order)
    read = read_plain_pickle(pickle.dumps({"data": array}, protocol))["data"]
    assert isinstance(read, PickledArray)
    assert read.array.dtype == np.uint8
    assert np.array_equal(read.array, array)


def test_what_python_2_wrote_is_read_as_pickle_reads_it():
    rows = RANDOM.integers(0, 256, (2, 3072), dtype=np.uint8)
    data = python2_batch(rows, [3, 7])
    with warnings.catch_warnings():  # NumPy would rather have the file pickled again
        warnings.simplefilter("ignore")
        expected = pickle.loads(data, encoding="latin1")  # noqa: S301 - written above
    read = read_plain_pickle(data)
    assert np.array_equal(read.pop("data").array, expected.pop("data"))
    assert read == expected
    assert read["labels"] == [3, 7]


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        2j,
        {1, 2},
        frozenset([1]),
        print,
        np.zeros(2),
        np.uint8(3),
        np.array([object()], dtype=object),
        np.zeros(2, [("a", "u1")]),
        bytearray(b"a"),
        {(1, 2): 3},
        {1.5: 2},
        range(3),
    ],
    ids=str,
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_anything_else_is_refused(value, protocol):
    with pytest.raises(PickleRefusedError):
        read_plain_pickle(pickle.dumps([value], protocol))


GOOD = pickle.dumps({"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [1, 2]}, 2)


def test_every_beginning_of_a_pickle_is_refused():
    for length in range(len(GOOD)):
        with pytest.raises(PickleRefusedError):
            read_plain_pickle(GOOD[:length])


@pytest.mark.parametrize("more", [b".", b"\0", GOOD])
def test_what_goes_on_behind_its_end_is_refused(more):
    with pytest.raises(PickleRefusedError, match="behind its end"):
        read_plain_pickle(GOOD + more)


@given(position=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255))
def test_a_spoiled_pickle_is_refused_or_holds_other_plain_values(position, byte):
    spoiled = bytearray(GOOD)
    spoiled[position] = byte
    try:
        read = read_plain_pickle(bytes(spoiled))
    except PickleRefusedError as error:
        assert str(error)
    else:
        assert isinstance(read, dict | list | tuple | PickledArray | str | bytes | int | None)


@pytest.mark.parametrize(
    "operation", [code for code in pickletools.opcodes if code.name in {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "PERSID"}]
)
def test_instructions_that_make_other_things_are_refused(operation):
    data = {"INST": b"(iposix\nsystem\n.", "EXT1": b"\x82\x01.", "PERSID": b"Pa\n."}.get(
        operation.name, operation.code.encode("latin-1") + b"."
    )
    with pytest.raises(PickleRefusedError, match=operation.name):
        read_plain_pickle(data)


def test_an_array_of_another_size_than_it_says_is_refused():
    rows = np.zeros((1, 3072), np.uint8)
    for shape in ((2, 3072), (1, 3071), (2**31 - 1, 2**31 - 1), (-1, 3072)):
        with pytest.raises(PickleRefusedError):
            read_plain_pickle(python2_batch(rows, [1], shape=shape))


def test_bytes_that_are_copied_again_and_again_are_refused():
    """One text, and an instruction of five bytes a copy: a megabyte would become a terabyte."""
    text = "a" * 1000
    once = b"c_codecs\nencode\n(" + b"X" + len(text).to_bytes(4, "little") + text.encode() + b"q\x01X\x06\0\0\0latin1tR"
    again = b"c_codecs\nencode\n(h\x01X\x06\0\0\0latin1tR"
    assert read_plain_pickle(b"\x80\x02" + once + b".") == text.encode()
    with pytest.raises(PickleRefusedError, match="expands"):
        read_plain_pickle(b"\x80\x02(" + once + again * 50 + b"l.")
