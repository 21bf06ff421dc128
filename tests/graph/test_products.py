"""The u8 x s8 argument against a definition: a kernel that adds two products in saturating 16-bit arithmetic."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_graph import CHUNKED, PLAIN
from support import attention_on_counts, replaced, spiking_chain

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import MatMul, ValueType
from ds2ta_deploy.graph.products import PAIR_LIMIT, PLANE_BITS, UPPER_ZERO, Product, one_map_plane, products, products_of, split_of


def saturating_pair(a, w):
    """Return ``a_0 w_0 + a_1 w_1`` as VPMADDUBSW gives it."""
    return max(-(2**15), min(2**15 - 1, a[0] * w[0] + a[1] * w[1]))


@given(st.integers(0, 255), st.integers(-128, 127), st.integers(-128, 127))
def test_an_exact_product_never_saturates(most, one, other):
    operand = Product("op", "whole", (0, most), (min(one, other), max(one, other)))
    corners = [(a, w) for a in product((0, most), repeat=2) for w in product(operand.signed, repeat=2)]
    assert operand.pair >= max(abs(a[0] * w[0] + a[1] * w[1]) for a, w in corners)
    if operand.exact:
        assert all(saturating_pair(a, w) == a[0] * w[0] + a[1] * w[1] for a, w in corners)


@pytest.mark.parametrize(
    ("unsigned", "signed", "exact"), [((0, 128), (-127, 127), True), ((0, 128), (-128, 0), False), ((0, 129), (0, 127), True)]
)
def test_the_limit_is_what_16_bits_hold(unsigned, signed, exact):
    operand = Product("op", "whole", unsigned, signed)
    assert operand.exact is exact is (operand.pair <= PAIR_LIMIT)


@pytest.mark.parametrize(("unsigned", "signed"), [((-1, 1), (0, 1)), ((0, 256), (0, 1)), ((0, 1), (-129, 0)), ((0, 1), (0, 128))])
def test_operands_beyond_8_bits_are_not_exact(unsigned, signed):
    assert not Product("op", "whole", unsigned, signed).exact


def test_every_op_that_multiplies_is_there(small_graph):
    found = products(small_graph)
    multiplying = [op.name for op in small_graph if type(op).__name__ in ("Linear", "Conv2d", "Readout", "MatMul")]
    assert list(dict.fromkeys(entry.op for entry in found)) == multiplying
    assert all(entry.exact for entry in found)
    assert [entry.part for entry in found if entry.op == "patch.stages.0.weights"] == [
        "upper x upper",
        "upper x lower",
        "lower x upper",
        "lower x lower",
    ]


def test_the_planes_of_the_first_layer_hold_what_its_inputs_and_weights_give():
    graph, _ = spiking_chain(2)
    table, op = graph.ops[0].table.astype(int), graph.ops[1]
    weight = op.weight.astype(int)
    assert split_of(graph, op) == (2, 2)
    inputs = np.append(table, 0)  # the padding
    planes = {"upper": ((inputs >> 7) + 64, weight >> 7), "lower": (inputs & 127, weight & 127)}
    for entry in products_of(graph, op):
        left, right = entry.part.split(" x ")
        for interval, values in ((entry.unsigned, planes[left][0]), (entry.signed, planes[right][1])):
            assert interval[0] <= values.min()
            assert values.max() <= interval[1]
        if entry.part == "upper x upper":
            assert entry.unsigned == (planes["upper"][0].min(), planes["upper"][0].max())
            assert entry.signed == (planes["upper"][1].min(), planes["upper"][1].max())


@pytest.mark.parametrize(("table", "parts"), [((0, 255), ["whole"]), ((0, 256), ["upper", "lower"]), ((-1, 5), ["upper", "lower"])])
def test_a_map_is_split_only_if_some_entry_is_no_uint8(table, parts):
    graph, _ = attention_on_counts(0)
    entries = np.zeros_like(next(op for op in graph if op.name == "attn.denoiser").table)
    entries[0, :2] = table
    graph = replaced(graph, "attn.denoiser", table=entries)
    assert one_map_plane(graph) is (parts == ["whole"])
    assert [entry.part for entry in products(graph) if entry.op == "attn.map_value"] == parts
    assert [entry.part for entry in products(graph) if entry.op == "attn.query_key"] == ["whole"]


# --- two activations -------------------------------------------------------------------------------------------------


def matmul_of(left, right):
    """Return a graph and a product of two int32 values that are proven to lie in these intervals."""
    types = {name: ValueType((1, None, 1, 2, 2), "int32") for name in ("left", "right")}
    op = MatMul("m", ("left", "right"), ("product",))
    graph = Graph("g", "left", types["left"], (op,), "product", 1.0)
    vars(graph).update(types=types, ranges={"left": Interval.of(*left), "right": Interval.of(*right)})  # what both would be inferred as
    return graph, op


INT32 = st.one_of(st.integers(-300, 300), st.integers(-(2**15), 2**15), st.integers(-(2**31), 2**31 - 1))
INTERVALS = st.tuples(INT32, INT32).map(sorted)


@given(INTERVALS, INTERVALS)
def test_two_activations_are_cut_into_the_fewest_exact_products(left, right):
    graph, op = matmul_of(left, right)
    made, (one, other) = products_of(graph, op), split_of(graph, op)
    assert all(entry.exact for entry in made)
    assert len(made) == len({entry.part for entry in made}) == one * other
    if (one, other) == (1, 1):
        assert [entry.part for entry in made] == ["whole"]
    for fewer in product(range(1, 6), repeat=2):
        if (fewer[0] * fewer[1], fewer[0]) < (one * other, one):
            assert not all(entry.exact for entry in split_products(left, right, fewer))


def split_products(left, right, split):
    """Return the products of a split by the definition of planes: floor division again and again."""
    sides = []
    for ends, count, zero in ((left, split[0], UPPER_ZERO), (right, split[1], 0)):
        top = list(ends)
        for _ in range(count - 1):
            top = [end >> PLANE_BITS for end in top]
        shift = zero if count > 1 else 0
        sides.append([*[(0, 2**PLANE_BITS - 1)] * (count - 1), (top[0] + shift, top[1] + shift)])
    return [Product("m", "", one, other) for one, other in product(*sides)]


@pytest.mark.parametrize(
    ("left", "right", "split"),
    [
        ((0, 1), (0, 1), (1, 1)),
        ((0, 255), (0, 1), (1, 1)),  # a map of a head with 255 channels
        ((0, 784), (0, 1), (2, 1)),
        ((0, 1), (0, 3000), (1, 2)),  # spikes times a state K^T V
        ((0, 2), (0, 100000), (1, 3)),
        ((0, 255), (0, 127), (2, 1)),
        ((-(2**31), 2**31 - 1), (-(2**31), 2**31 - 1), (5, 5)),
    ],
)
def test_planes_follow_the_proven_ranges(left, right, split):
    assert split_of(*matmul_of(left, right)) == split


def test_what_lies_beyond_int32_is_cut_as_int32_is():
    assert split_of(*matmul_of((-(2**62), 2**62), (0, 1)))[0] == 5


def test_the_products_of_the_streams_attentions(stream_graph):
    found = products(stream_graph)
    parts = {name: [entry for entry in found if entry.op == name] for name in {entry.op for entry in found}}
    assert all(entry.exact for entries in parts.values() for entry in entries)
    assert [entry.part for entry in parts[f"{CHUNKED}.key_value"]] == ["whole"]
    assert [entry.signed for entry in parts[f"{CHUNKED}.query_state"]] == [(0, 24)]  # two steps of twelve tokens
    assert [entry.part for entry in parts[f"{PLAIN}.proj.weights"]] == ["whole x upper", "whole x lower"]
    assert parts[f"{PLAIN}.proj.weights"][1].signed == (0, 127)
