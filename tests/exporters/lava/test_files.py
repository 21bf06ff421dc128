import ast
import dataclasses
import json
import sys

import numpy as np
import pytest
from builders import build_small_graph
from support import replaced

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.exporters.lava import to_lava
from ds2ta_deploy.exporters.lava.ds2ta_lava import check
from ds2ta_deploy.exporters.lava.processes import leaf_processes
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.populations import population_values
from ds2ta_deploy.lava_package import package_files


def description(graph):
    return json.loads(to_lava(graph)["lava/graph.json"])


def test_the_files_and_their_bytes(small_graph):
    files = to_lava(small_graph)
    assert files == to_lava(build_small_graph())
    assert {"lava/README.md", "lava/graph.json", "lava/tensors.npz", "lava/ds2ta_lava/arithmetic.py"} < set(files)
    assert {name: data for name, data in files.items() if "ds2ta_lava/" in name} == {
        f"lava/{name}": data for name, data in package_files().items()
    }
    assert "pip install --ignore-requires-python --no-deps lava-nc==0.10.0" in files["lava/README.md"].decode()


def test_the_readme_explains_every_op_and_says_how_late_a_run_is(stream_graph):
    files = to_lava(stream_graph)
    readme = files["lava/README.md"].decode()
    rows = [line.split("|")[1] for line in readme.splitlines() if line.startswith("|")]
    explained = {name for row in rows for name in row.strip().split(", ")}
    assert set(check.OPS) <= explained
    assert json.loads(files["lava/graph.json"])["latency"] == 1
    assert "beyond its model steps; 1 here" in readme


def test_every_op_is_in_one_process_and_every_process_sends_one_value(small_graph):
    leaves = leaf_processes(small_graph)
    assert sorted(op.name for leaf in leaves for op in leaf.ops) == sorted(op.name for op in small_graph)
    assert [(leaf.name, leaf.kind) for leaf in leaves] == [
        ("patch.stages.0", "Encoder"),
        ("patch.position", "SpikingConv2d"),
        *((f"blocks.0.attn.{part}", "SpikingLinear") for part in "qkv"),
        ("blocks.0.attn", "SpikingAttention"),
        ("blocks.0.attn.proj", "SpikingLinear"),
        ("blocks.0.mlp.fc1", "SpikingLinear"),
        ("blocks.0.mlp.fc2", "SpikingLinear"),
        ("head", "Readout"),
    ]
    known = {small_graph.input_name}
    for leaf in leaves:
        assert set(leaf.inputs) <= known
        known.add(leaf.output)


def test_graph_json_says_everything_that_is_needed(small_graph):
    data = description(small_graph)
    assert (data["schema"], data["time_steps"], data["state_bits"]) == ("ds2ta-lava/1", 4, 24)
    assert data["input"] == {"name": "images", "shape": [7, 5, 2], "still": True}
    assert data["populations"] == list(population_values(small_graph))
    assert [block["name"] for block in data["hierarchy"]["blocks"]] == ["patch", "blocks.0", "head"]
    inside = [name for block in data["hierarchy"]["blocks"] for name in block["processes"]]
    assert sorted(inside) == sorted(process["name"] for process in data["processes"])
    ports = {(c["to"][0], c["to"][1]) for c in data["connections"]}
    assert ports == {
        (process["name"], f"in_{port}")
        for process in data["processes"]
        if process["kind"] != "Encoder"
        for port in range(len(process["inputs"]))
    }
    once = {step["op"] for process in data["processes"] for step in process["steps"] if step["once"]}
    assert once == {"InputTable", "Conv2d", "TemporalWindow"}


def test_a_value_that_does_not_fit_is_named_with_its_bits(small_graph):
    bias = np.full(16, 2**23, np.int32)
    with pytest.raises(UnsupportedError, match=r"DS2TA-220 \[blocks\.0\.mlp\.fc1\.current\].*needs 25 bits, profile loihi grants 24"):
        to_lava(replaced(small_graph, "blocks.0.mlp.fc1.window", bias=bias))


def test_wide_weights_are_for_the_encoder_only(small_graph):
    for most in (2**14 - 1, -(2**14)):
        assert to_lava(replaced(small_graph, "blocks.0.mlp.fc1.weights", weight=np.resize(np.array([most, 0], np.int16), (16, 8))))
    weight = np.full((16, 8), 2**14, np.int16)
    with pytest.raises(UnsupportedError, match=r"DS2TA-240 \[blocks\.0\.mlp\.fc1\.weights\].*which two synapses of 8 bits cannot hold"):
        to_lava(replaced(small_graph, "blocks.0.mlp.fc1.weights", weight=weight))


class Double(ops.Op):
    """An op that the exported arithmetic does not have."""

    INPUT_RANKS = ((4,),)
    INPUT_DTYPES = (("uint8",),)

    def infer_types(self, inputs):
        return tuple(inputs)

    def infer_ranges(self, inputs, types):
        return (inputs[0] + inputs[0],)

    def execute(self, *inputs):
        return (inputs[0] * 2,)


def test_an_op_that_lava_does_not_know(small_graph):
    doubled = [
        *small_graph.ops[:-1],
        Double("double", small_graph.ops[-1].inputs, ("doubled",)),
        dataclasses.replace(small_graph.ops[-1], inputs=("doubled",)),
    ]
    with pytest.raises(UnsupportedError, match=r"DS2TA-240 \[double\]: the op Double has no Lava form"):
        to_lava(dataclasses.replace(small_graph, ops=tuple(doubled)))


def test_the_package_needs_nothing_but_the_standard_library_numpy_and_lava():
    allowed = {*sys.stdlib_module_names, "numpy", "lava", "scipy"}  # scipy: Lava's synapses are its matrices
    lava = ("ds2ta_lava/build.py", "ds2ta_lava/processes/leaves.py", "ds2ta_lava/processes/stock.py")
    for name, data in package_files().items():
        tree = ast.parse(data, feature_version=(3, 10))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, name
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module.split(".")[0] in allowed, name
                assert node.module.split(".")[0] != "lava" or name in lava
                assert node.module.split(".")[0] != "scipy" or name == "ds2ta_lava/processes/stock.py"


def test_nothing_lies_beside_the_processes():
    beside = {name for name in package_files() if name.startswith("ds2ta_lava/processes/")}
    assert beside == {f"ds2ta_lava/processes/{name}.py" for name in ("__init__", "leaves", "stock")}
