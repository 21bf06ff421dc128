"""The exported package trusts nothing in its files, and expects of every op what the op's class declares."""

import json

import numpy as np
import pytest
from builders import build_small_graph, small_inputs
from lava_support import chunked_network, write_export

from ds2ta_deploy.exporters.lava.ds2ta_lava import check, stepper
from ds2ta_deploy.exporters.lava.ds2ta_lava.arithmetic import NetworkError
from ds2ta_deploy.exporters.lava.ds2ta_lava.network import read_network
from ds2ta_deploy.graph import ops


def test_every_op_has_the_fields_that_its_class_declares():
    assert set(check.OPS) == set(ops.OPS)
    for name, shape in check.OPS.items():
        kind = ops.OPS[name]
        assert (shape.inputs, shape.outputs) == (len(kind.INPUT_RANKS), kind.OUTPUTS), kind
        assert dict(shape.integers) == kind.INTEGERS, kind
        assert dict(shape.tensors) == {name: rank for name, (rank, _) in kind.ARRAYS.items()}, kind


@pytest.fixture
def directory(tmp_path):
    return write_export(build_small_graph(), tmp_path)


def changed(directory, change):
    """Apply a change to graph.json."""
    path = directory / "graph.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return directory


def process(data, name="blocks.0.mlp.fc1"):
    return next(entry for entry in data["processes"] if entry["name"] == name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.update(time_steps=2**40), "'time_steps' is no number from 1 to 1024"),
        (lambda data: data.update(state_bits=True), "'state_bits' is no number"),
        (lambda data: data.update(populations=[1]), "'populations' does not hold names"),
        (lambda data: data.pop("input"), "'input' is missing"),
        (lambda data: data["input"].update(shape=[-1]), "'input' has no shape"),
        (lambda data: data["values"]["blocks.0.mlp.fc1.spikes"].update(dtype="float32"), "value 'blocks.0.mlp.fc1.spikes' has no"),
        (lambda data: data["values"]["blocks.0.mlp.fc1.spikes"].update(shape=[2**20, 2**20]), "value 'blocks.0.mlp.fc1.spikes' has no"),
        (lambda data: process(data).update(inputs=["nowhere"]), "receives 'nowhere', which nothing before it sends"),
        (lambda data: process(data).update(output="nothing"), "sends 'nothing', which it does not make"),
        (lambda data: process(data)["steps"][0].update(op="Softmax"), "a step has no op that is known"),
        (lambda data: process(data)["steps"][1]["integers"].update(taps=0), "TemporalWindow has integers out of range"),
        (lambda data: process(data)["steps"][1]["integers"].pop("taps"), "TemporalWindow does not have the integers"),
        (lambda data: process(data)["steps"][0]["tensors"].update(weight="no such"), "Linear has a tensor that is missing"),
        (lambda data: process(data)["steps"].reverse(), "which is not there yet"),
        (lambda data: data["processes"].reverse(), "which nothing before it sends"),
        (lambda data: data["values"]["blocks.0.mlp.fc1.spikes"].update(steps=3), "value 'blocks.0.mlp.fc1.spikes' has no"),
        (lambda data: data["values"]["blocks.0.mlp.fc1.spikes"].update(steps=2), "Lif makes 'blocks.0.mlp.fc1.spikes' in 4 of 4 time"),
        (lambda data: data["values"]["head.logits"].update(steps=4), "Readout makes 'head.logits' in 0 of 4 time steps, not in 4"),
        (lambda data: process(data)["steps"][0].update(once=True), "Linear makes 'blocks.0.mlp.fc1.product' anew in every time step"),
        (lambda data: process(data, "patch.stages.0")["steps"][1].update(once=False), "Conv2d makes 'patch.stages.0.product' once"),
        (lambda data: process(data).update(delay=-1), "has a delay that is no number"),
        (lambda data: process(data).pop("delay"), "has a delay that is no number"),
        (lambda data: process(data).update(delay=2), "blocks.0.mlp.fc1 says delay 2 and has 0"),
        (lambda data: data["output"].update(name="blocks.0.mlp.fc1.spikes"), "is no value of a whole sample"),
        (lambda data: data["populations"].append("unheard"), "no process makes 'unheard'"),
    ],
)
def test_what_is_wrong_is_said(directory, change, said):
    with pytest.raises(NetworkError) as caught:
        read_network(changed(directory, change))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda entry, _: entry["steps"][1]["integers"].update(steps=4),
            "Chunk makes 'blocks.0.attn.q._chunks' in 1 of 4 time steps, not in 2",
        ),
        (lambda entry, _: entry["steps"][1]["integers"].update(steps=3), "Chunk makes 'blocks.0.attn.q._chunks' in None of 4"),
        (
            lambda entry, _: entry["steps"][-4]["integers"].update(steps=1),
            "Unchunk makes 'blocks.0.attn._steps' in 2 of 4 time steps, not in 4",
        ),
        (lambda entry, _: entry.update(output="blocks.0.attn.key_value"), "sends 'blocks.0.attn.key_value', which is not there in every"),
        (lambda entry, _: entry.update(delay=0), "blocks.0.attn says delay 0 and has 1"),
        (lambda _, values: values["blocks.0.attn.key_value"].update(steps=4), "MatMul makes 'blocks.0.attn.key_value' in 2 of 4"),
    ],
)
def test_what_is_wrong_with_chunks_is_said(tmp_path, change, said):
    directory = write_export(chunked_network((2,), still=False)[0], tmp_path)
    with pytest.raises(NetworkError) as caught:
        read_network(changed(directory, lambda data: change(process(data, "blocks.0.attn"), data["values"])))
    assert said in str(caught.value)


def test_a_tensor_of_another_shape_is_found_when_it_is_used(directory):
    with np.load(directory / "tensors.npz") as file:
        tensors = dict(file)
    tensors["blocks.0.mlp.fc1.weights/weight"] = tensors["blocks.0.mlp.fc1.weights/weight"][:, :-1]
    np.savez(directory / "tensors.npz", **tensors)
    with pytest.raises(NetworkError, match=r"Linear cannot make blocks\.0\.mlp\.fc1\.product"):
        stepper.run(read_network(directory), small_inputs(), ())


def test_a_value_of_another_shape_is_found_when_it_is_made(directory):
    network = read_network(changed(directory, lambda data: data["values"]["blocks.0.mlp.fc1.spikes"].update(shape=[3, 16])))
    with pytest.raises(NetworkError, match=r"blocks\.0\.mlp\.fc1\.spikes has shape \(5, 12, 16\), graph.json says \(3, 16\)"):
        stepper.run(network, small_inputs(), ())


def test_a_count_that_its_type_cannot_store_does_not_wrap():
    said = check.check_value(np.array([[0, 256]]), "count", (2,), "uint8")
    assert said == "count holds [0, 256], which uint8 cannot store"
    assert check.check_value(np.array([[0, 255]]), "count", (2,), "uint8") is None
