"""Packed weights, against a definition written bit by bit."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.certificate_weights import unpacked
from ds2ta_deploy.graph.formats import FORMATS, format_name, narrowest, stored_bytes

#: The weights that each format can hold, and the code of each, said once more.
CODES = {
    "int4": {value: value % 16 for value in range(-8, 8)},
    "int6": {value: value % 64 for value in range(-32, 32)},
    "power-of-two": {0: 0, **{2**e: 1 + e for e in range(7)}, **{-(2**e): 9 + e for e in range(7)}},
}
BITS = {"int4": 4, "int6": 6, "power-of-two": 4}


def by_bits(name, weights):
    """Write every code's bits one after the other, the lowest first."""
    bits = [CODES[name][weight] >> place & 1 for weight in weights for place in range(BITS[name])]
    bits += [0] * (-len(bits) % 8)
    return [sum(bit << place for place, bit in enumerate(bits[start : start + 8])) for start in range(0, len(bits), 8)]


@st.composite
def held(draw):
    """A format, and weights that it holds."""
    name = draw(st.sampled_from(sorted(FORMATS)))
    return name, draw(st.lists(st.sampled_from(sorted(CODES[name])), min_size=1, max_size=40))


@given(held())
def test_what_is_packed_is_the_bits_of_the_codes_and_comes_back(given_weights):
    name, weights = given_weights
    array = np.array(weights, np.int8)
    packed = FORMATS[name].pack(array)
    assert packed.tolist() == by_bits(name, weights)
    assert len(packed) == FORMATS[name].stored_bytes(len(weights))
    assert (FORMATS[name].unpack(packed, array.shape) == array).all()
    twice = unpacked({"w": packed}, {"w": {"format": name, "shape": [len(weights)]}})["w"]  # the reader that checks certificates
    assert twice.dtype == np.int8
    assert twice.tolist() == weights


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=6))
def test_a_format_holds_just_the_weights_that_have_a_code_and_the_narrowest_one_wins(weights):
    array = np.array(weights, np.int8)
    holding = [name for name in FORMATS if set(weights) <= set(CODES[name])]
    assert [name for name, stored in FORMATS.items() if stored.holds(array)] == holding
    chosen = min(holding, key=lambda name: (BITS[name], name), default=None)
    assert (narrowest(array).name if holding else narrowest(array)) == chosen
    assert format_name(array) == (chosen or "int8")
    assert stored_bytes(array) == (-(-len(weights) * BITS[chosen] // 8) if chosen else len(weights))


def test_four_bits_are_half_a_byte_and_six_are_three_quarters():
    array = np.ones((8, 3, 3, 4), np.int8)
    assert [Fraction(stored.stored_bytes(array.size), array.size) for stored in FORMATS.values()] == [
        Fraction(1, 2),
        Fraction(1, 2),
        Fraction(3, 4),
    ]
    assert FORMATS["int6"].unpack(FORMATS["int6"].pack(array), array.shape).shape == array.shape


def test_wider_weights_are_stored_as_they_are():
    wide = np.array([1, 2], np.int16)
    assert narrowest(wide) is None
    assert (format_name(wide), stored_bytes(wide)) == ("int16", 4)


@pytest.mark.parametrize(
    ("name", "packed", "shape", "why"),
    [
        ("int4", [0x21, 0x10], (3,), "bit behind"),
        ("int6", [1, 0, 16], (3,), "bit behind"),
        ("int4", [0x21], (3,), "take 2 bytes"),
        ("int4", [0x21, 0, 0], (3,), "take 2 bytes"),
        ("int6", [1, 2], (4,), "take 3 bytes"),
        ("power-of-two", [0x18], (2,), "means nothing"),
        ("power-of-two", [0x81], (2,), "means nothing"),
        ("int4", [1], (10**12,), "take 500000000000 bytes"),
    ],
)
def test_bytes_that_are_no_weights_are_refused(name, packed, shape, why):
    with pytest.raises(ValueError, match=why):
        FORMATS[name].unpack(np.array(packed, np.uint8), shape)


def test_stored_bytes_of_another_type_are_refused():
    with pytest.raises(ValueError, match="int8"):
        FORMATS["int4"].unpack(np.array([1], np.int8), (2,))
    with pytest.raises(ValueError, match="1, 1"):
        FORMATS["int4"].unpack(np.array([[1]], np.uint8), (2,))
