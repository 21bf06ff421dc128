"""Every extreme that the native library meets, against the graph's own execution, on every instruction set."""

import dataclasses
from typing import get_args

import numpy as np
import pytest
from builders import assert_fires
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from native_support import Recipe, Weights, assert_native_equal, build, needs_library, provable
from support import spiking_chain

pytestmark = needs_library

BASE = Recipe(heads=2)


def check(recipe, *, pixels=None, batch=2, threads=(1, 3)):
    """Compare everything and return the values."""
    graph, inputs = build(recipe, batch=batch, pixels=pixels)
    assert provable(graph)
    return assert_native_equal(graph, inputs, threads)


def rates(trace):
    """Return the firing rate of every population."""
    return {name: float(value.mean()) for name, value in trace.items() if name.endswith(".spikes")}


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7, 8, 10, 16, 64])
@pytest.mark.parametrize("still", [False, True])
def test_any_number_of_time_steps(steps, still):
    assert_fires(check(dataclasses.replace(BASE, steps=steps, still=still, window=(3, 1, 2), seed=1)))


@pytest.mark.parametrize("weights", get_args(Weights))
@pytest.mark.parametrize("activity", ["all", "none", "some"])
def test_silence_and_uproar_under_every_kind_of_weights(weights, activity):
    # 300 channels under a 3x3 kernel: 2700 products of 128 leave 16 bits ten times over.
    recipe = Recipe(steps=3, picture=(2, 3, 2), channels=(300, 65), width=64, heads=2, weights=weights, activity=activity, seed=3)
    found = rates(check(recipe, pixels=None if activity == "some" else 255))
    expected = {"all": {1.0}, "none": {0.0}}.get(activity)
    assert expected is None or set(found.values()) == expected


@pytest.mark.parametrize("pixels", [0, 255])
def test_a_black_and_a_white_picture(pixels):
    check(dataclasses.replace(BASE, still=True, kernels=(5, 3)), pixels=pixels)


@pytest.mark.parametrize("channels", [(255, 3), (256, 63), (510, 64), (511, 65)])
@pytest.mark.parametrize("weights", ["smallest", "largest", "ends"])
def test_sums_that_leave_16_bits_are_cut_in_the_right_places(channels, weights):
    for kernel in (1, 3):
        recipe = Recipe(steps=2, channels=channels, kernels=(1, kernel), picture=(2, 2, 1), weights=weights, activity="all", doublings=1)
        trace = check(recipe, threads=(1,))
        assert np.abs(trace["conv.product"]).max() > 2**15 or weights == "ends"


@pytest.mark.parametrize("width", [254, 256, 257, 300, 600])
def test_a_linear_layer_wider_than_16_bits_allow(width):
    for weights in ("smallest", "largest", "ends"):
        recipe = Recipe(steps=2, channels=(3, width), width=width, heads=1, weights=weights, activity="all", picture=(1, 2, 1))
        trace = check(recipe, threads=(1,))
        assert np.abs(trace["attn.q.product"]).max() > 2**15 or weights == "ends" or width < 259


@pytest.mark.parametrize("doublings", range(8))
def test_counts_of_up_to_eight_bits(doublings):
    # 2^doublings is the largest count; a value of 255 needs all eight planes filled, see below.
    trace = check(Recipe(doublings=doublings, kernels=(3, 3), seed=5))
    largest = max(int(trace[name].max()) for name in trace if name.startswith("double") or name == "encoder.spikes")
    assert largest == 2**doublings


def test_counts_of_255():
    from builders import Draft

    from ds2ta_deploy.graph import ops
    from ds2ta_deploy.graph.graph import Graph

    inputs = np.random.default_rng(0).integers(0, 256, (3, 2, 3, 3, 1), dtype=np.uint8)
    draft = Draft(inputs, 0)
    value = draft.add(ops.InputTable, "table", ["images"], "input_values", table=draft.integers(300, (1, 256), np.int16), still=0)
    value = draft.conv("conv", value, 70, first=True)
    value = draft.add(ops.Tokens, "flatten", [value], "tokens")
    total = value
    for number in range(7):  # 1 + 2 (1 + 2 (1 + ...)) = 255
        total = draft.residual(f"once.{number}", draft.residual(f"twice.{number}", total, total), value)
    value = draft.linear("linear", total, 65)
    draft.add(ops.Readout, "head", [total], "head.logits", weight=draft.integers(127, (3, 70), np.int8), bias=np.zeros(3, np.int32))
    kind = ops.ValueType((3, None, 3, 3, 1), "uint8")
    trace = assert_native_equal(Graph("counts", "images", kind, tuple(draft.ops), "head.logits", 1.0, {}), inputs, (1, 2))
    assert trace["once.6"].max() == 255
    assert_fires(trace)


@pytest.mark.parametrize("head_width", [1, 7, 8, 16, 17, 32, 64, 65, 100, 128, 200])
@pytest.mark.parametrize("heads", [1, 3])
def test_heads_of_any_width(head_width, heads):
    trace = check(Recipe(width=heads * head_width, heads=heads, channels=(9, 33), picture=(3, 3, 2), seed=2), threads=(2,))
    if heads * head_width > 1:  # a single channel may well be stuck
        assert_fires(trace)


@pytest.mark.parametrize("table", [1, 1170, 1171, 5000, 32767])
def test_attention_sums_within_16_bits_and_beyond(table):
    # 28 tokens: 28 * 1170 is the largest sum that 16 bits hold.
    recipe = Recipe(picture=(4, 7, 1), width=48, heads=3, channels=(5, 20), table=table, seed=1)
    check(recipe)
    busy = check(dataclasses.replace(recipe, activity="all"), threads=(1, 2))
    # All fire, so every score is the head's width, every entry is -table, every sum is over all tokens.
    assert (busy["attn.context"] == -28 * table).all()


@pytest.mark.parametrize("picture", [(1, 1, 1), (1, 2, 3), (2, 1, 1), (1, 9, 2), (9, 1, 2), (7, 5, 1), (8, 8, 4)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("pool", [False, True])
def test_pictures_of_any_size_under_any_kernel(picture, kernel, pool):
    recipe = Recipe(picture=picture, kernels=(kernel, kernel), pool=pool, still=True, channels=(20, 12), seed=7)
    check(recipe, batch=5, threads=(1, 4))


@pytest.mark.parametrize("channels", [1, 3, 63, 64, 65, 100, 128, 129])
def test_channels_that_are_no_multiple_of_a_register(channels):
    check(Recipe(channels=(channels, channels), width=channels, heads=1, picture=(3, 3, channels % 5 + 1), seed=8), threads=(2,))


@pytest.mark.parametrize("taps", range(1, 7))
@pytest.mark.parametrize("decay", range(9))
def test_windows(taps, decay):
    for guard_bits in (0, 3, 8):
        graph, inputs = spiking_chain(7, window=(taps, decay, guard_bits), leak=(3, 2), counts=2, seed=taps)
        assert_native_equal(graph, inputs)


@pytest.mark.parametrize("guard_bits", range(9))
def test_guard_bits(guard_bits):
    graph, inputs = spiking_chain(16, window=(4, 2, guard_bits), seed=1)
    assert_fires(assert_native_equal(graph, inputs))


@pytest.mark.parametrize("leak", [(0, 0), (1, 0), (1, 1), (0, 5), (32, 5), (3, 2), (7, 3), (255, 8), (1, 16), (3, 16)])
def test_leaks(leak):
    graph, inputs = spiking_chain(10, leak=leak, window=(2, 1, 1))
    assert provable(graph)
    assert_fires(assert_native_equal(graph, inputs))


def test_a_threshold_that_is_met_exactly_fires():
    graph, inputs = build(dataclasses.replace(BASE, weights="two bits", seed=11))
    trace = assert_native_equal(graph, inputs)
    limits = {op.name: op.threshold for op in graph if hasattr(op, "threshold")}
    met = {name: int((trace[f"{name}.membrane"] == limit).sum()) for name, limit in limits.items()}
    assert all(met.values())
    for name, limit in limits.items():
        assert (trace[f"{name}.spikes"][trace[f"{name}.membrane"] == limit] == 1).all()
        assert (trace[f"{name}.spikes"][trace[f"{name}.membrane"] == limit - 1] == 0).all()


def test_more_threads_than_tokens():
    check(Recipe(picture=(1, 2, 1), heads=2), threads=(4, 16, 64))


def test_attentions_of_different_widths_in_one_network_keep_out_of_each_others_way():
    # What threads work in is shared by all operations: a narrow attention comes behind a wide one.
    from native_support import join_attentions

    for widths in ((100, 65), (65, 100), (128, 3), (3, 128)):
        graph, inputs = join_attentions(widths)
        assert_native_equal(graph, inputs, (1, 2))


recipes = st.builds(
    Recipe,
    steps=st.sampled_from([1, 2, 3, 4, 5, 7, 10, 16]),
    still=st.booleans(),
    picture=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)),
    channels=st.tuples(st.sampled_from([1, 3, 8, 63, 64, 65, 100, 300]), st.sampled_from([1, 3, 63, 64, 65, 260])),
    kernels=st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 3, 5])),
    pool=st.booleans(),
    doublings=st.integers(0, 7),
    width=st.sampled_from([6, 18, 36, 66, 96, 102, 192, 258]),
    heads=st.sampled_from([0, 1, 2, 3, 6]),
    table=st.sampled_from([1, 6, 300, 3000, 32767]),
    window=st.tuples(st.integers(1, 6), st.integers(0, 8), st.integers(0, 8)),
    leak=st.sampled_from([(1, 1), (0, 0), (1, 0), (3, 2), (7, 3), (0, 3)]),
    weights=st.sampled_from(get_args(Weights)),
    activity=st.sampled_from(["some", "some", "none", "all"]),
    seed=st.integers(0, 2**20),
)
pixels = st.sampled_from([None, None, 0, 255])


@given(recipe=recipes, pixels=pixels, batch=st.integers(1, 3), threads=st.sampled_from([1, 2, 3, 5]))
@settings(max_examples=20)
def test_any_network(recipe, pixels, batch, threads):
    graph, inputs = build(recipe, batch=batch, pixels=pixels)
    assume(provable(graph))
    assert_native_equal(graph, inputs, (threads,))


@pytest.mark.long
@given(recipe=recipes, pixels=pixels, batch=st.integers(1, 3), threads=st.sampled_from([1, 2, 3, 5]))
@settings(max_examples=1500)
def test_very_many_networks(recipe, pixels, batch, threads):
    graph, inputs = build(recipe, batch=batch, pixels=pixels)
    assume(provable(graph))
    assert_native_equal(graph, inputs, (threads,))
