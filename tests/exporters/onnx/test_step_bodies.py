"""Every body that remembers, alone, on two engines, against the op's own ``advance``: from any state, any number of steps."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2ta_deploy.exporters.onnx import bodies, op_bodies
from ds2ta_deploy.exporters.onnx.functions import FunctionLibrary
from ds2ta_deploy.graph import ops

SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=15)


def integers(random, largest, *shape):
    return random.integers(-largest, largest, shape, dtype=np.int32, endpoint=True)


def defined(name, given, made, attributes, body):
    library = FunctionLibrary()
    return library, library.add(name, given, made, attributes, body, "")


@few
@given(steps=st.integers(1, 3), leak=st.sampled_from([(1, 1), (1, 2), (1, 0), (3, 2), (171, 8)]), seed=SEEDS)
def test_a_neuron_goes_on_from_what_was_carried(check_function, steps, leak, seed):
    random, numerator = np.random.default_rng(seed), leak[0] != 1
    threshold = random.integers(1, 2000, 5).astype(np.int32)
    current, carried = integers(random, 3000, steps, 2, 3, 5), integers(random, 2000, 2, 3, 5)
    current[0, 0] = threshold - carried[0]  # fires at equality with what was carried
    neuron = ops.Lif("n", ("i",), ("s", "v"), threshold=threshold, leak_numerator=leak[0], leak_shift=leak[1])
    (spikes, membrane), after = neuron.advance(0, {"carried": carried.astype(np.int64)}, current.astype(np.int64))
    attributes = {"leak_divisor": 2 ** leak[1]} | ({"leak_numerator": leak[0]} if numerator else {})
    body = bodies.lif(steps, numerator=numerator, carried=True)
    library, kind = defined("StepLif", ["current", "threshold", "carried"], ["spikes", "membrane", "next_carried"], attributes, body)
    expected = {"spikes": spikes, "membrane": membrane, "next_carried": after["carried"]}
    feeds = {"current": current, "threshold": threshold, "carried": carried}
    check_function(library, kind, feeds, expected, ["uint8", "int32", "int32"], **attributes)


@few
@given(steps=st.integers(1, 4), taps=st.integers(2, 5), decay=st.integers(0, 3), guard=st.integers(0, 5), seed=SEEDS)
def test_a_window_reaches_back_into_its_history(check_function, steps, taps, decay, guard, seed):
    random = np.random.default_rng(seed)
    product, history = integers(random, 9999, steps, 2, 3, 4), integers(random, 9999, taps - 1, 2, 3, 4)
    bias = integers(random, 9999, 4)
    window = ops.TemporalWindow("w", ("i",), ("o",), bias=bias, taps=taps, decay=decay, guard_bits=guard)
    (current,), after = window.advance(0, {"history": history.astype(np.int64)}, product.astype(np.int64))
    exponents = [guard - decay * lag for lag in range(taps)]
    attributes = {"multipliers": [2 ** max(0, each) for each in exponents], "divisors": [2 ** max(0, -each) for each in exponents]}
    body = bodies.temporal_window(steps, taps, floors=True, history=True)
    given_, made = ["product", "bias", "history"], ["current", "next_history"]
    library, kind = defined("StepTemporalWindow", given_, made, attributes, body)
    expected = {"current": current, "next_history": after["history"]}
    feeds = {"product": product, "bias": bias, "history": history}
    check_function(library, kind, feeds, expected, ["int32", "int32"], **attributes)


@few
@given(present=st.integers(1, 3), blocks=st.integers(1, 3), rank=st.sampled_from([4, 5]), seed=SEEDS)
def test_a_saccadic_neuron_uses_the_weights_of_its_step(check_function, present, blocks, rank, seed):
    """Block after block to the last step that it has weights for; every state is that of the op's class."""
    random, steps = np.random.default_rng(seed), present * blocks
    rest = (2, 3, 4, 2)[: rank - 1]
    matrix = np.tril(integers(random, 99, steps, steps)).astype(np.int16)
    threshold = integers(random, 99, steps)
    mix = ops.TimeMix("m", ("i",), ("o",), matrix=matrix)
    fire = ops.Threshold("t", ("i",), ("o",), threshold=threshold)
    body = op_bodies.step_threshold(present, rank)
    comparing = defined("StepThreshold", ["inputs", "block", "threshold"], ["spikes"], [], body)
    if steps > 1:
        body = op_bodies.step_time_mix(steps, present, rank)
        mixing = defined("StepTimeMix", ["inputs", "block", "matrix", "past"], ["mixed", "next_past"], [], body)
    state = {"past": np.zeros((steps - 1, *rest), np.int64)} if steps > 1 else {}
    for number in range(blocks):
        values, block = integers(random, 99, present, *rest), np.array([number])
        (mixed,), after = mix.advance(number * present, state, values.astype(np.int64))
        if steps > 1:
            feeds = {"inputs": values, "block": block, "matrix": matrix, "past": state["past"].astype(np.int32)}
            check_function(*mixing, feeds, {"mixed": mixed, "next_past": after["past"]}, ["int32", "int32"])
        state = after
        ((spikes,), _) = fire.advance(number * present, {}, values.astype(np.int64))
        check_function(*comparing, {"inputs": values, "block": block, "threshold": threshold}, {"spikes": spikes}, ["uint8"])


@few
@given(steps=st.integers(1, 3), trained=st.integers(1, 16), summed=st.integers(0, 2000), seed=SEEDS)
def test_a_readout_adds_to_its_sum_and_the_bias_follows_the_steps(check_function, steps, trained, summed, seed):
    random = np.random.default_rng(seed)
    tokens = random.integers(0, 3, (steps, 2, 5, 7)).astype(np.uint8)
    weight, bias = random.integers(-127, 128, (3, 7)).astype(np.int8), integers(random, 99999, 3)
    head = ops.Readout("h", ("i",), ("o",), weight=weight, bias=bias)
    total = integers(random, 99999, 2, 3)
    _, after = head.advance(0, {"total": total.astype(np.int64)}, tokens.astype(np.int64))
    adding = defined("StepReadout", ["tokens", "weight", "total"], ["next_total"], [], bodies.step_readout())
    feeds = {"tokens": tokens, "weight": np.ascontiguousarray(weight.T), "total": total}
    check_function(*adding, feeds, {"next_total": after["total"]}, ["int32"])
    library, kind = defined(
        "StepLogits", ["total", "summed", "bias_whole", "bias_rest"], ["logits"], ["trained_steps"], bodies.step_logits()
    )
    wide = bias.astype(np.int64)
    feeds = {"total": total, "summed": np.array([summed]), "bias_whole": wide // trained, "bias_rest": wide % trained}
    expected = {"logits": total.astype(np.int64) + head.bias_over(summed, trained)}
    check_function(library, kind, feeds, expected, ["int32"], trained_steps=trained)
