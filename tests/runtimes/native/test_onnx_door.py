"""The native library's operators one node at a time: shapes that change, shapes that cannot be, settings."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ds2ta_deploy.runtimes.native import library

pytestmark = pytest.mark.skipif(library.library_path() is None, reason="the native library was not built: there is no C compiler")


def session_of(op_type, arrays, attributes, outputs=1, constant=None):
    """Return a session of one node; arrays are inputs of any shape, those named in ``constant`` (all but the first) are stored."""
    stored = list(arrays)[1:] if constant is None else constant
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim)
        for name, array in arrays.items()
        if name not in stored
    ]
    made = [helper.make_tensor_value_info(f"y{index}", 0, None) for index in range(outputs)]
    for index, info in enumerate(made):
        info.type.tensor_type.elem_type = TensorProto.UINT8 if index == 0 and op_type != "Readout" else TensorProto.INT32
    node = helper.make_node(op_type, list(arrays), [info.name for info in made], domain="ai.ds2ta", **attributes)
    graph = helper.make_graph([node], "one", infos, made, [numpy_helper.from_array(arrays[name], name) for name in stored])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("ai.ds2ta", 1)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(str(library.library_path()))
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def linear_arrays(steps=4, tokens=5, channels=6, outputs=7, largest=1, seed=0):
    random = np.random.default_rng(seed)
    return {
        "inputs": random.integers(0, largest + 1, (steps, 2, tokens, channels), dtype=np.uint8),
        "weight": random.integers(-127, 128, (channels, outputs)).astype(np.int8),
        "bias": random.integers(-50, 51, outputs).astype(np.int32),
        "threshold": random.integers(1, 200, outputs).astype(np.int32),
    }


def linear_spikes(arrays):
    """Return spikes and membranes by the neuron's definition, with a leak of one half."""
    current = arrays["inputs"].astype(np.int64) @ arrays["weight"].astype(np.int64) + arrays["bias"]
    spikes, membranes, carried = [], [], np.zeros_like(current[0])
    for now in current:
        membranes.append(carried + now)
        spikes.append(membranes[-1] >= arrays["threshold"])
        carried = np.where(spikes[-1], 0, membranes[-1]) >> 1
    return np.array(spikes, np.uint8), np.array(membranes, np.int32)


# --- what is computed --------------------------------------------------------------------------------------------------


def test_one_session_takes_inputs_of_changing_shapes_and_growing_counts():
    session = session_of("SpikingLinear", linear_arrays(), {"leak_divisor": 2}, outputs=2)
    for steps, tokens, largest in [(4, 5, 1), (4, 5, 9), (7, 5, 1), (4, 1, 255), (1, 70, 3), (4, 5, 0)]:
        arrays = linear_arrays() | {"inputs": linear_arrays(steps, tokens, largest=largest, seed=tokens)["inputs"]}
        spikes, membranes = session.run(None, {"inputs": arrays["inputs"]})
        expected = linear_spikes(arrays)
        assert np.array_equal(spikes, expected[0])
        assert np.array_equal(membranes, expected[1])


def test_an_empty_batch_gives_empty_outputs():
    session = session_of("SpikingLinear", linear_arrays(), {"leak_divisor": 2}, outputs=4)
    shapes = [value.shape for value in session.run(None, {"inputs": np.zeros((4, 0, 5, 6), np.uint8)})]
    assert shapes == [(4, 0, 5, 7)] * 4


def pooled_by_definition(spikes):
    padded = np.pad(spikes, [(0, 0), (0, 0), (1, 1), (1, 1), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return windows[:, :, ::2, ::2].max(axis=(-2, -1))


@pytest.mark.parametrize("shape", [(4, 2, 6, 5, 3), (1, 1, 1, 1, 1), (2, 1, 7, 8, 70), (3, 2, 2, 1, 2)])
def test_pooling_of_counts_of_any_size(shape):
    spikes = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    (pooled,) = session_of("SpikeMaxPool2d", {"spikes": spikes}, {}).run(None, {"spikes": spikes})
    assert np.array_equal(pooled, pooled_by_definition(spikes))


def test_a_readouts_weights_may_be_inputs():
    random = np.random.default_rng(2)
    arrays = {
        "tokens": random.integers(0, 256, (4, 3, 5, 6), dtype=np.uint8),
        "weight": random.integers(-128, 128, (6, 4)).astype(np.int8),
        "bias": random.integers(-1000, 1000, 4).astype(np.int32),
    }
    (logits,) = session_of("Readout", arrays, {}, constant=[]).run(None, arrays)
    sums = arrays["tokens"].sum(axis=(0, 2), dtype=np.int64)
    assert np.array_equal(logits, sums @ arrays["weight"].astype(np.int64) + arrays["bias"])


# --- what is refused ---------------------------------------------------------------------------------------------------


REFUSED_SHAPES = [
    ({"inputs": np.zeros((4, 2, 5, 9), np.uint8)}, "weight rows for 9 channels"),
    ({"inputs": np.zeros((4, 2, 5), np.uint8)}, "inputs of 3 axes"),
    ({"inputs": np.zeros((1, 4, 2, 5, 6), np.uint8)}, "inputs of 5 axes"),
    ({"inputs": np.zeros((4, 2, 0, 6), np.uint8)}, "no plan for it: 0 bytes"),
    ({"inputs": np.zeros((65, 2, 5, 6), np.uint8)}, "no plan for it: 65 time steps"),
    ({"inputs": np.zeros((0, 2, 5, 6), np.uint8)}, "no plan for it: 0 time steps"),
    ({"weight": np.zeros((6, 8), np.int8)}, "no bias and threshold for every output"),
    ({"weight": np.zeros(42, np.int8)}, "weights of 1"),
    ({"bias": np.zeros(6, np.int32)}, "no bias and threshold for every output"),
    ({"threshold": np.ones((7, 1), np.int32)}, "no bias and threshold for every output"),
    ({"threshold": np.zeros(7, np.int32)}, "a threshold of 0"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED_SHAPES, ids=[reason for _, reason in REFUSED_SHAPES])
def test_shapes_that_do_not_fit_are_an_error_of_the_call(changes, reason):
    arrays = linear_arrays() | changes
    session = session_of("SpikingLinear", arrays, {"leak_divisor": 2})
    with pytest.raises(Exception, match=f"SpikingLinear .*{reason}"):
        session.run(None, {"inputs": arrays["inputs"]})


def test_a_call_that_was_refused_spoils_no_later_one():
    session = session_of("SpikingLinear", linear_arrays(), {"leak_divisor": 2})
    for shape in ((65, 2, 5, 6), (4, 2, 5, 7)):
        with pytest.raises(Exception, match="SpikingLinear"):
            session.run(None, {"inputs": np.zeros(shape, np.uint8)})
        (spikes,) = session.run(None, {"inputs": linear_arrays()["inputs"]})
        assert np.array_equal(spikes, linear_spikes(linear_arrays())[0])


REFUSED_ATTRIBUTES = [
    ({}, "no leak between 0 and 1"),
    ({"leak_divisor": 3}, "no leak between 0 and 1"),
    ({"leak_divisor": 2, "leak_numerator": 3}, "no leak between 0 and 1"),
    ({"leak_divisor": 2, "leak_numerator": -1}, "no leak between 0 and 1"),
    ({"leak_divisor": 2, "multipliers": [4, 3]}, "not made of shifts"),
    ({"leak_divisor": 2, "multipliers": [4, 2, 2]}, "without one decay"),
    ({"leak_divisor": 2, "multipliers": [4, 2], "divisors": [1]}, "window of 2 taps"),
    ({"leak_divisor": 2, "multipliers": [1] * 65}, "window of 65 taps"),
    ({"leak_divisor": 2, "repeats": [0, 1, 1, 1]}, "repeats 0 times"),
    ({"leak_divisor": 2, "repeats": [65, 1, 1, 1]}, "repeats 65 times"),
]


@pytest.mark.parametrize(("attributes", "reason"), REFUSED_ATTRIBUTES, ids=[str(attributes) for attributes, _ in REFUSED_ATTRIBUTES])
def test_attributes_that_mean_nothing_are_an_error_of_loading(attributes, reason):
    with pytest.raises(Exception, match=f"SpikingLinear .*{reason}"):
        session_of("SpikingLinear", linear_arrays(), attributes)


def test_a_decay_that_raises_the_past_is_refused():
    session = session_of("SpikingLinear", linear_arrays(), {"leak_divisor": 2, "multipliers": [1, 2, 4]})
    with pytest.raises(Exception, match="a window or a leak out of range"):
        session.run(None, {"inputs": linear_arrays()["inputs"]})


@pytest.mark.parametrize("name", ["weight", "bias", "threshold"])
def test_what_is_packed_must_be_a_constant(name):
    stored = {"weight", "bias", "threshold"} - {name}
    with pytest.raises(Exception, match="is no constant of the file"):
        session_of("SpikingLinear", linear_arrays(), {"leak_divisor": 2}, constant=sorted(stored))


def attention_arrays(**changes):
    random = np.random.default_rng(3)
    arrays = {part: random.integers(0, 2, (2, 3, 5, 8), dtype=np.uint8) for part in "qkv"}
    arrays["table"] = random.integers(-4, 9, (2, 5)).astype(np.int16)
    return arrays | {"threshold": np.full(8, 6, np.int32)} | changes


REFUSED_ATTENTION = [
    ({"q": np.full((2, 3, 5, 8), 2, np.uint8)}, {}, "counts above 1"),
    ({"k": np.zeros((2, 3, 4, 8), np.uint8)}, {}, "that is not"),
    ({"v": np.zeros((2, 3, 5), np.uint8)}, {}, "that is not"),
    ({"table": np.zeros((2, 4), np.int16)}, {}, "a table of 4 entries"),
    ({"table": np.zeros((1, 5), np.int16)}, {}, "no table for every head"),
    ({"threshold": np.ones(7, np.int32)}, {}, "no threshold for every channel"),
    ({"table": np.zeros((3, 5), np.int16)}, {"heads": 3}, "3 heads for 8 channels"),
    ({}, {"heads": 0}, "no heads"),
    ({}, {"guard_multiplier": 3}, "guard that is no power of two"),
]


@pytest.mark.parametrize(("changes", "attributes", "reason"), REFUSED_ATTENTION, ids=[reason for *_, reason in REFUSED_ATTENTION])
def test_attention_that_does_not_fit_is_refused(changes, attributes, reason):
    arrays = attention_arrays(**changes)
    with pytest.raises(Exception, match=f"SpikingAttention .*{reason}"):
        session_of("SpikingAttention", arrays, {"leak_divisor": 2, "heads": 2} | attributes, constant=["table", "threshold"]).run(
            None, {part: arrays[part] for part in "qkv"}
        )


@pytest.mark.parametrize(
    ("op_type", "arrays", "reason"),
    [
        ("SpikeMaxPool2d", {"spikes": np.zeros((4, 2, 6, 5), np.uint8)}, "not 4 axes"),
        ("SpikeMaxPool2d", {"spikes": np.zeros((1, 4, 2, 6, 5, 3), np.uint8)}, "6 axes"),
        (
            "Readout",
            {"tokens": np.zeros((4, 2, 6, 5), np.uint8), "weight": np.zeros((6, 3), np.int8), "bias": np.zeros(3, np.int32)},
            "weights",
        ),
    ],
)
def test_other_shapes_that_do_not_fit(op_type, arrays, reason):
    session = session_of(op_type, arrays, {})
    with pytest.raises(Exception, match=f"{op_type} .*{reason}"):
        session.run(None, {next(iter(arrays)): next(iter(arrays.values()))})


@pytest.mark.parametrize(("key", "value"), [("threads", "0"), ("threads", "257"), ("threads", "2x"), ("isa", "mmx"), ("isa", "x" * 40)])
def test_the_library_refuses_such_settings_itself(key, value):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(f"ds2ta.{key}", value)
    with pytest.raises(Exception, match=rf"ds2ta\.{key}|session config entry"):
        options.register_custom_ops_library(str(library.library_path()))
