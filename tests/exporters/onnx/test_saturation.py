"""Kernels that add two uint8 x int8 products in 16 bits must not saturate: proved, or refused with DS2TA-231."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from compositions import build
from support import assert_exported_equal, assert_refused, attention_on_counts, replaced, spiking_chain

from ds2ta_deploy.graph import ops


def doubled_readout(doublings, largest):
    """Return the chain with a readout that reads counts up to ``2^doublings``."""
    graph, inputs = spiking_chain(2)
    names = ["linear.spikes", *(f"double.{number}" for number in range(doublings))]
    adds = [ops.Add(f"{made}.add", (read, read), (made,)) for read, made in pairwise(names)]
    readout = dataclasses.replace(graph.ops[-1], inputs=(names[-1],), weight=np.full((4, 3), largest, np.int8))
    return dataclasses.replace(graph, ops=(*graph.ops[:-1], *adds, readout)), inputs


def linear_weight(graph, largest):
    """Return the chain with the linear layer's first weight changed."""
    (linear,) = [op for op in graph if isinstance(op, ops.Linear)]
    weight = linear.weight.clip(-100, 100)
    weight[0, 0] = largest
    return replaced(graph, "linear.weights", weight=weight)


@pytest.mark.parametrize("largest", [127, -127])
def test_counts_up_to_128_are_safe_for_every_weight_that_quantizing_gives(largest):
    # 2 * 128 * 127 = 32512
    graph, inputs = spiking_chain(2, counts=7)
    assert_exported_equal(linear_weight(graph, largest), inputs)


def test_one_more_could_saturate():
    # 2 * 128 * 128 = 32768
    graph, _ = spiking_chain(2, counts=7)
    assert_refused(linear_weight(graph, -128), "DS2TA-231", "linear.weights")


def test_a_readout_is_held_to_the_same_limit():
    assert_exported_equal(*doubled_readout(7, 127))
    assert_refused(doubled_readout(7, -128)[0], "DS2TA-231", "head")


@pytest.mark.parametrize("doublings", [0, 3, 5])
def test_attention_on_small_counts_is_exact(doublings):
    assert_exported_equal(*attention_on_counts(doublings))


def test_attention_on_counts_is_exact_up_to_where_its_map_times_the_values_could_saturate():
    # the map's lower plane reaches 255: 2 * 255 * 64 = 32640, 2 * 255 * 128 does not fit; nor does 128 in int8
    assert_exported_equal(*attention_on_counts(6))
    assert_refused(attention_on_counts(7)[0], "DS2TA-231", "attn.map_value")


@pytest.mark.parametrize("counted", ["q", "k", "v"])
def test_one_large_operand_is_enough_to_be_refused_where_a_map_meets_it(counted):
    # spikes times counts of 128 fit in 16 bits; a key of 128 is no int8 and is cut in two, a value of 128 stands beside a map
    graph, inputs = attention_on_counts(7, counted=counted)
    if counted == "v":
        assert_refused(graph, "DS2TA-231", "attn.map_value")
    else:
        assert_exported_equal(graph, inputs)
    assert_exported_equal(*attention_on_counts(6, counted=counted))


@pytest.mark.parametrize("largest", [8191, 8192])
@pytest.mark.parametrize("sign", [1, -1])
def test_weights_of_14_bits_that_read_spikes_are_exact_and_wider_ones_refused(largest, sign):
    graph, inputs = build("wide and dilated")
    weight = next(op.weight for op in graph if op.name == "wide.weights").copy()
    weight[3, 2] = sign * largest
    graph = replaced(graph, "wide.weights", weight=weight)
    if largest == 8191:
        assert_exported_equal(graph, inputs)
    else:
        assert_refused(graph, "DS2TA-231", "wide.weights")


@pytest.mark.parametrize("counts", [7, 8])
def test_wide_weights_read_counts_as_far_as_their_lower_plane_allows(counts):
    # 2 * 128 * 127 = 32512
    graph, inputs = spiking_chain(2, counts=7)
    if counts == 8:
        (linear,) = [op for op in graph if isinstance(op, ops.Linear)]
        more = ops.Add("more", ("double.6", "double.0"), ("more",))
        place = graph.ops.index(linear)
        graph = dataclasses.replace(graph, ops=(*graph.ops[:place], more, *graph.ops[place:]))
        graph = replaced(graph, "linear.weights", inputs=("more",))
    (linear,) = [op for op in graph if isinstance(op, ops.Linear)]
    graph = replaced(graph, "linear.weights", weight=linear.weight.astype(np.int16))
    if counts == 7:
        assert_exported_equal(graph, inputs)
    else:
        assert_refused(graph, "DS2TA-231", "linear.weights")


@pytest.mark.parametrize("where", ["table", "weight"])
@pytest.mark.parametrize("sign", [1, -1])
def test_first_layer_values_beyond_two_planes_are_refused(where, sign):
    graph, inputs = spiking_chain(2)
    table, weight = graph.ops[0].table.copy(), graph.ops[1].weight.copy()
    changed = table if where == "table" else weight
    for largest in (8191, 8192):
        changed[(1, 255) if where == "table" else (0, 1, 2, 0)] = sign * largest
        graph = replaced(replaced(graph, "encoder", table=table), "conv.weights", weight=weight)
        if largest == 8191:
            assert_exported_equal(graph, inputs)
        else:
            assert_refused(graph, "DS2TA-231", "conv.weights")


@pytest.mark.parametrize("pixels", [(0, 200), (-200, 200)])
def test_narrow_weights_behind_wide_inputs_are_exact_too(pixels):
    graph, inputs = spiking_chain(2)
    graph = replaced(graph, "encoder", table=np.tile(np.linspace(*pixels, 256).astype(np.int16), (2, 1)))
    weight = np.random.default_rng(1).integers(-127, 128, (3, 3, 3, 2)).astype(np.int8)
    assert_exported_equal(replaced(replaced(graph, "conv.weights", weight=weight), "conv", threshold=np.full(3, 9000, np.int32)), inputs)
