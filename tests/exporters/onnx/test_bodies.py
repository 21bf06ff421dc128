"""Every function body, alone, on two engines, against the op's own execution."""

import numpy as np
import pytest
from builders import assert_fires
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2ta_deploy.exporters.onnx import bodies, product_bodies
from ds2ta_deploy.exporters.onnx.functions import FunctionLibrary
from ds2ta_deploy.graph import ops

INT32_LOW, INT32_HIGH = -(2**31), 2**31 - 1
SEEDS = st.integers(0, 2**32 - 1)

few = settings(max_examples=25)


def assert_int32(*values):
    """Assert that a test stays inside what the range proof would allow."""
    for value in values:
        assert value.min() >= INT32_LOW
        assert value.max() <= INT32_HIGH


# --- neuron ----------------------------------------------------------------------------------------------------------


def lif_library(steps, *, numerator):
    library = FunctionLibrary()
    attributes = ["leak_divisor", "leak_numerator"] if numerator else ["leak_divisor"]
    body = bodies.lif(steps, numerator=numerator)
    return library, library.add("Lif", ["current", "threshold"], ["spikes", "membrane"], attributes, body, "")


def check_lif(check_function, current, threshold, leak, *, numerator):
    neuron = ops.Lif("n", ("i",), ("s", "v"), threshold=threshold, leak_numerator=leak[0], leak_shift=leak[1])
    spikes, membrane = neuron.execute(current.astype(np.int64))
    assert_int32(membrane, membrane * leak[0])
    assert_fires({"n.spikes": spikes})
    library, op_type = lif_library(current.shape[0], numerator=numerator)
    attributes = {"leak_divisor": 2 ** leak[1]} | ({"leak_numerator": leak[0]} if numerator else {})
    feeds = {"current": current, "threshold": threshold}
    check_function(library, op_type, feeds, {"spikes": spikes, "membrane": membrane}, ["uint8", "int32"], **attributes)


@few
@given(steps=st.integers(1, 5), leak=st.sampled_from([(1, 1), (1, 2), (1, 0), (3, 2), (7, 3), (171, 8)]), seed=SEEDS)
def test_lif_fires_leaks_and_resets_like_the_op(check_function, steps, leak, seed):
    random = np.random.default_rng(seed)
    most = 2**31 // (steps * leak[0]) - 1 if leak != (1, 1) else 2**30 - 1
    threshold = random.integers(1, most // 2, 7).astype(np.int32)
    threshold[:2] = 1, most
    current = random.integers(-most, most, (steps, 3, 4, 7), dtype=np.int32, endpoint=True)
    current[0, 0] = threshold  # fires at equality
    current[0, 1] = threshold - 1
    check_lif(check_function, current, threshold, leak, numerator=leak[0] != 1)


@pytest.mark.parametrize("numerator", [False, True])
def test_lif_floors_negative_membranes_down_to_the_last_bit_of_int32(check_function, numerator):
    # -2^30 three times: -2^30, -2^29 - 2^30, … approaches -2^31; small odd negatives tell floor from truncation.
    low = np.tile(np.array([-(2**30), -1, -3, -5, 2**30 - 1, 2**30 - 1, 2, 1], np.int32), (5, 1, 1, 1))
    threshold = np.array([1, 1, 1, 1, INT32_HIGH, 2**30, 2, 3], np.int32)
    check_lif(check_function, low, threshold, (1, 1), numerator=numerator)


def test_lif_of_three_quarters_floors_negative_membranes(check_function):
    current = np.random.default_rng(0).integers(-6, 7, (5, 1, 1, 64), dtype=np.int32)
    check_lif(check_function, current, np.full(64, 3, np.int32), (3, 2), numerator=True)


# --- window ----------------------------------------------------------------------------------------------------------


@few
@given(
    steps=st.integers(1, 5),
    taps=st.integers(1, 5),
    decay=st.integers(0, 4),
    guard=st.integers(0, 9),
    always_floors=st.booleans(),
    seed=SEEDS,
)
def test_temporal_window_shifts_and_sums_like_the_op(check_function, steps, taps, decay, guard, always_floors, seed):
    taps = min(taps, steps)
    random = np.random.default_rng(seed)
    most = 2**31 // ((taps + 1) << guard) - 1
    product = random.integers(-most, most, (steps, 2, 3, 5), dtype=np.int32, endpoint=True)
    product[:, 0] //= most // 10  # small ones, where one lost unit shows
    bias = random.integers(-most, most, 5, dtype=np.int32, endpoint=True)
    window = ops.TemporalWindow("w", ("p",), ("c",), bias=bias, taps=taps, decay=decay, guard_bits=guard)
    (current,) = window.execute(product.astype(np.int64))
    assert_int32(current)
    exponents = [guard - decay * lag for lag in range(taps)]
    floors = always_floors or min(exponents) < 0
    attributes = {"multipliers": [2 ** max(0, exponent) for exponent in exponents]}
    if floors:
        attributes["divisors"] = [2 ** max(0, -exponent) for exponent in exponents]
    library = FunctionLibrary()
    body = bodies.temporal_window(steps, taps, floors=floors)
    op_type = library.add("TemporalWindow", ["product", "bias"], ["current"], list(attributes), body, "")
    check_function(library, op_type, {"product": product, "bias": bias}, {"current": current}, ["int32"], **attributes)


# --- lookup ----------------------------------------------------------------------------------------------------------


@few
@given(entries=st.one_of(st.integers(1, 64), st.integers(65, 200)), heads=st.integers(1, 4), seed=SEEDS)
def test_lookup_finds_every_entry_of_tables_of_any_length(check_function, entries, heads, seed):
    random = np.random.default_rng(seed)
    table = random.integers(-(2**15), 2**15, (heads, entries)).astype(np.int16)
    table.reshape(-1)[[0, -1]] = -(2**15), 2**15 - 1
    scores = random.integers(0, entries, (heads, 2, 3, 5, 5), dtype=np.int32)
    scores[:, 0, 0, 0, 0], scores[:, 0, 0, 0, 1] = 0, entries - 1
    (found,) = ops.Lookup("l", ("s",), ("d",), table=table).execute(np.moveaxis(scores, 0, 2).astype(np.int64))
    library = FunctionLibrary()
    op_type = library.add("Lookup", ["scores", "table"], ["denoised"], [], bodies.lookup(entries), "")
    check_function(library, op_type, {"scores": scores, "table": table}, {"denoised": np.moveaxis(found, 2, 0)}, ["int16"])


@pytest.mark.parametrize("entries", [1, 2, 31, 32, 33, 62, 63, 64, 65, 128, 129])
def test_lookup_reads_every_single_entry_at_the_change_of_method(check_function, entries):
    table = np.stack([np.arange(entries) * 7 - 200, -np.arange(entries)]).astype(np.int16)
    scores = np.broadcast_to(np.arange(entries, dtype=np.int32), (2, 1, 1, 1, entries)).copy()
    library = FunctionLibrary()
    op_type = library.add("Lookup", ["scores", "table"], ["denoised"], [], bodies.lookup(entries), "")
    check_function(library, op_type, {"scores": scores, "table": table}, {"denoised": table[:, None, None, None]}, ["int16"])


# --- convolution and products ----------------------------------------------------------------------------------------


def flat(weight):
    """Return weights as the exporter stores them: ``[k k in, out]``."""
    return np.ascontiguousarray(weight.reshape(weight.shape[0], -1).T)


@few
@given(size=st.sampled_from([1, 3, 5]), height=st.integers(1, 6), width=st.integers(1, 6), seed=SEEDS)
def test_neighbourhoods_times_weights_are_the_convolution(check_function, size, height, width, seed):
    random = np.random.default_rng(seed)
    weight = random.integers(-127, 128, (4, size, size, 3)).astype(np.int8)
    inputs = random.integers(0, 129, (2, 3, height, width, 3), dtype=np.uint8)
    (product,) = ops.Conv2d("c", ("x",), ("p",), weight=weight).execute(inputs.astype(np.int64))
    library = FunctionLibrary()
    body = [*bodies.neighbourhood("inputs", size), "product = MatMulInteger (patches, weight)"]
    op_type = library.add("Conv", ["inputs", "weight"], ["product"], [], body, "")
    check_function(library, op_type, {"inputs": inputs, "weight": flat(weight)}, {"product": product}, ["int32"])


def wide_library(size):
    library = FunctionLibrary()
    body = [
        f"inputs_32 = Cast <to = {bodies.INT32}> (inputs)",
        *bodies.neighbourhood("inputs_32", size),
        *product_bodies.plane_product("patches", "weight", (2, 2)),
    ]
    return library, library.add("Wide", ["inputs", "weight"], ["product"], [], body, "")


@few
@given(size=st.sampled_from([1, 3, 5]), bits=st.sampled_from([8, 10, 12, 14]), channels=st.integers(1, 2), seed=SEEDS)
def test_wide_products_are_exact_up_to_14_bits(check_function, size, bits, channels, seed):
    random, most = np.random.default_rng(seed), 2 ** (bits - 1) - 1
    choices = np.array([-most, most, -1, 0, 1, -127, -128, -129, 127, 128])
    choices = np.concatenate([choices[np.abs(choices) <= most], random.integers(-most, most + 1, 6)])
    weight = random.choice(choices, (3, size, size, channels)).astype(np.int16)
    inputs = random.choice(choices, (2, 2, 4, 3, channels)).astype(np.int16)
    (product,) = ops.Conv2d("c", ("x",), ("p",), weight=weight).execute(inputs.astype(np.int64))
    assert_int32(product, np.array([most * most * size * size * channels]) // (4 if bits == 14 else 1))
    library, op_type = wide_library(size)
    check_function(library, op_type, {"inputs": inputs, "weight": flat(weight)}, {"product": product}, ["int32"])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("most", [2047, 8191])
def test_wide_products_are_exact_where_everything_is_extreme(check_function, sign, most):
    weight, inputs = np.full((2, 3, 3, 2), most, np.int16), np.full((1, 1, 3, 3, 2), sign * most, np.int16)
    library, op_type = wide_library(3)
    (product,) = ops.Conv2d("c", ("x",), ("p",), weight=weight).execute(inputs.astype(np.int64))
    assert product[0, 0, 1, 1, 0] == sign * most * most * 18
    check_function(library, op_type, {"inputs": inputs, "weight": flat(weight)}, {"product": product}, ["int32"])


# --- pooling, input, readout -----------------------------------------------------------------------------------------


@few
@given(height=st.integers(1, 9), width=st.integers(1, 9), largest=st.sampled_from([1, 255]), seed=SEEDS)
def test_pooling_takes_maxima_of_pictures_of_any_size(check_function, height, width, largest, seed):
    spikes = np.random.default_rng(seed).integers(0, largest + 1, (3, 2, height, width, 2), dtype=np.uint8)
    (pooled,) = ops.MaxPool2d("m", ("s",), ("p",)).execute(spikes.astype(np.int64))
    assert pooled.shape[2:4] == ((height + 1) // 2, (width + 1) // 2)
    library = FunctionLibrary()
    op_type = library.add("SpikeMaxPool2d", ["inputs"], ["pooled"], [], bodies.max_pool(stride=2, axis=2), "")
    check_function(library, op_type, {"inputs": spikes}, {"pooled": pooled}, ["uint8"])


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_input_table_turns_every_pixel_of_every_channel(check_function, still, channels):
    random = np.random.default_rng(channels)
    table = random.integers(-(2**15), 2**15, (channels, 256)).astype(np.int16)
    pixels = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), (2, 16, 16, channels)).copy()
    pixels = pixels if still else np.stack([pixels, 255 - pixels])
    (values,) = ops.InputTable("e", ("x",), ("v",), table=table, still=int(still)).execute(pixels.astype(np.int64))
    library = FunctionLibrary()
    op_type = library.add("InputTable", ["pixels", "table", "offsets"], ["values"], [], bodies.input_table(still=still), "")
    feeds = {"pixels": pixels, "table": table.reshape(-1), "offsets": np.arange(channels, dtype=np.int32) * 256}
    check_function(library, op_type, feeds, {"values": values}, ["int16"])


@few
@given(steps=st.integers(1, 5), tokens=st.integers(1, 9), classes=st.integers(1, 5), seed=SEEDS)
def test_the_readout_sums_over_time_and_tokens(check_function, steps, tokens, classes, seed):
    random = np.random.default_rng(seed)
    weight = random.integers(-127, 128, (classes, 6)).astype(np.int8)
    bias = random.integers(-(2**30), 2**30, classes, dtype=np.int32)
    counts = random.integers(0, 129, (steps, 3, tokens, 6), dtype=np.uint8)
    (logits,) = ops.Readout("r", ("x",), ("l",), weight=weight, bias=bias).execute(counts.astype(np.int64))
    library = FunctionLibrary()
    op_type = library.add("Readout", ["tokens", "weight", "bias"], ["logits"], [], bodies.readout(), "")
    feeds = {"tokens": counts, "weight": flat(weight), "bias": bias}
    check_function(library, op_type, feeds, {"logits": logits}, ["int32"])


# --- attention -------------------------------------------------------------------------------------------------------


def attention(q, k, v, table, heads):
    """Return context, denoised map and scores by the ops' own execution."""
    split = ops.SplitHeads("s", ("x",), ("y",), heads=heads)
    query, key, value = (split.execute(x.astype(np.int64))[0] for x in (q, k, v))
    (scores,) = ops.MatMul("qk", ("q", "k"), ("s",), transpose_right=1).execute(query, key)
    (denoised,) = ops.Lookup("l", ("s",), ("d",), table=table).execute(scores)
    (mixed,) = ops.MatMul("av", ("d", "v"), ("m",), transpose_right=0).execute(denoised, value)
    return {"context": ops.MergeHeads("m", ("x",), ("y",)).execute(mixed)[0], "denoised": denoised, "scores": scores}


@few
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 6)),
    heads=st.integers(1, 3),
    depth=st.sampled_from([1, 4, 70]),
    limits=st.sampled_from([(0, 9), (0, 255), (0, 256), (-1, 255), (-300, 300), (-(2**15), 2**15 - 1)]),
    seed=SEEDS,
)
def test_attention_maps_and_context_are_those_of_the_ops(check_function, shape, heads, depth, limits, seed):
    random = np.random.default_rng(seed)
    q, k, v = (random.integers(0, 2, (*shape, heads * depth), dtype=np.uint8) for _ in "qkv")
    q[0, 0, 0], k[0, 0, 0] = 1, 1  # the largest score is reached
    table = random.integers(limits[0], limits[1] + 1, (heads, depth + 1)).astype(np.int16)
    table[:, [0, -1]] = limits
    library = FunctionLibrary()
    lookup = library.add("Lookup", ["scores", "table"], ["denoised"], [], bodies.lookup(depth + 1), "")
    assert lookup == "Lookup"
    body = product_bodies.attention_context(one_plane=limits[0] >= 0 and limits[1] <= 255)
    op_type = library.add("Context", ["q", "k", "v", "table"], ["context", "denoised", "scores"], ["heads"], body, "")
    expected = attention(q, k, v, table, heads)
    assert expected["scores"].max() == depth
    check_function(library, op_type, {"q": q, "k": k, "v": v, "table": table}, expected, ["int32", "int16", "int32"], heads=heads)


def test_the_map_and_the_value_are_not_reassociated(check_function):
    # (QK^T) V through a table that is not linear differs from Q (K^T V); here by construction.
    q, k = np.ones((1, 1, 2, 4), np.uint8), np.ones((1, 1, 2, 4), np.uint8)
    v = np.array([[[[1, 0, 1, 0], [0, 1, 1, 0]]]], np.uint8)
    table = np.array([[0, 1, 2, 3, -5]], np.int16)
    library = FunctionLibrary()
    library.add("Lookup", ["scores", "table"], ["denoised"], [], bodies.lookup(5), "")
    body = product_bodies.attention_context(one_plane=False)
    op_type = library.add("Context", ["q", "k", "v", "table"], ["context"], ["heads"], body, "")
    expected = {"context": np.array([[[[-5, -5, -10, 0], [-5, -5, -10, 0]]]])}
    check_function(library, op_type, {"q": q, "k": k, "v": v, "table": table}, expected, ["int32"], heads=1)


# --- the small parts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [7, 8])
def test_planes_put_together_again_are_the_integer(check_function, bits):
    values = np.array([-(2**31), -(2**15), -129, -128, -127, -1, 0, 1, 127, 128, 255, 256, 2**15, 2**31 - 1], np.int32)
    library = FunctionLibrary()
    body = [*product_bodies.split_planes("x", bits, "p"), "upper = Identity (p_upper)", "lower = Identity (p_lower)"]
    op_type = library.add("Planes", ["x"], ["upper", "lower"], [], body, "")
    wide = values.astype(np.int64)
    expected = {"upper": wide >> bits, "lower": wide & (2**bits - 1)}
    check_function(library, op_type, {"x": values}, expected, ["int32", "int32"])


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_time_cut_into_steps_and_joined_is_unchanged(check_function, steps):
    value = np.arange(steps * 6, dtype=np.int32).reshape(steps, 2, 3)
    library = FunctionLibrary()
    body = [*bodies.split_time("x", steps), bodies.join_time("y", bodies.names("x", steps))]
    op_type = library.add("Time", ["x"], ["y"], [], body, "")
    check_function(library, op_type, {"x": value}, {"y": value}, ["int32"])
