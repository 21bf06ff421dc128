"""Graph files that are deep, huge or contradictory."""

import dataclasses
import json
from pathlib import Path

import builders
import numpy as np
import pytest
import safetensors.numpy
from support import frozen, lif, replaced

from ds2ta_deploy.artifact import GRAPH
from ds2ta_deploy.graph import ops, serialize
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.populations import group


def write(path: Path, graph: Graph) -> Path:
    path.write_bytes(serialize.to_bytes(graph))
    return path


def edited(path: Path, change) -> Path:
    """Change the structure in the header of a graph file."""
    data = path.read_bytes()
    arrays = safetensors.numpy.load(data)
    structure = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"][serialize.HEADER_KEY])
    text = change(structure)
    path.write_bytes(safetensors.numpy.save(arrays, {serialize.HEADER_KEY: text if isinstance(text, str) else json.dumps(structure)}))
    return path


def deep(length: int) -> Graph:
    """Return a neuron behind a chain of windows, each of which only it can own."""
    parts: list[ops.Op] = [
        ops.InputTable("encoder", ("images",), ("pixels",), table=np.zeros((1, 256), np.int16), still=0),
        ops.Conv2d("conv", ("pixels",), ("w.0",), weight=np.ones((1, 1, 1, 1), np.int16)),
    ]
    bias = np.zeros(1, np.int32)
    parts += [ops.TemporalWindow(f"op.{n}", (f"w.{n}",), (f"w.{n + 1}",), bias=bias, taps=1, decay=0, guard_bits=0) for n in range(length)]
    parts += [lif("neuron", f"w.{length}", [1]), ops.Tokens("tokens", ("neuron.spikes",), ("t",))]
    parts.append(ops.Readout("head", ("t",), ("logits",), weight=np.ones((2, 1), np.int8), bias=np.zeros(2, np.int32)))
    return Graph("deep", "images", ops.ValueType((1, None, 2, 2, 1), "uint8"), tuple(parts), "logits", 1.0, {})


def test_a_deep_graph_is_read_grouped_and_run(tmp_path, contained):
    graph = deep(5000)
    assert len(group(graph)) == 4
    assert contained.read("graph", write(tmp_path / "deep", graph)).kind == "accepted"


HUGE = {
    "an axis": lambda s: s.update(input_shape=[None, 10**9, 5, 2]),
    "a negative axis": lambda s: s.update(input_shape=[None, -7, 5, 2]),
    "no batch": lambda s: s.update(input_shape=[5, 7, 5, 2]),
    "only batches": lambda s: s.update(input_shape=[None] * 4),
    "a thousand axes": lambda s: s.update(input_shape=[None] + [1] * 1000),
    "no axes": lambda s: s.update(input_shape=[]),
}


@pytest.mark.parametrize("how", HUGE)
def test_an_input_of_no_sensible_shape(good, refused, how):
    refused("graph", edited(good("graph"), HUGE[how]), "DS2TA-210" if how == "a thousand axes" else "DS2TA-213")


def test_a_value_of_more_elements_than_memory(tmp_path, refused):
    graph = dataclasses.replace(deep(3), input_type=ops.ValueType((1024, None, 4096, 4096, 1), "uint8"))
    refused("graph", write(tmp_path / "huge", graph), "DS2TA-210")


@pytest.mark.parametrize("value", [2**63, 2**64, -(2**63), 10**400], ids=lambda value: f"{value.bit_length()} bits")
@pytest.mark.parametrize(("name", "field"), [("blocks.0.attn.q.window", "taps"), ("blocks.0.attn.q", "leak_shift")])
def test_a_number_beyond_64_bits(good, refused, name, field, value):
    def change(structure):
        next(op for op in structure["ops"] if op["name"] == name)["attributes"][field] = value

    refused("graph", edited(good("graph"), change), "DS2TA-210")


TEXTS = ["[" * 200_000, '{"name":' * 50_000, '{"name":"\\ud800"}', '{"output_scale":1e999}', '{"input_shape":' + "9" * 10**6 + "}"]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12])
def test_a_structure_that_parsers_choke_on(good, refused, text):
    refused("graph", edited(good("graph"), lambda _: text), "DS2TA-141")


def test_an_op_that_reads_itself(good, refused):
    def change(structure):
        op = next(op for op in structure["ops"] if op["name"] == "patch.flatten")
        op["inputs"] = op["outputs"]

    refused("graph", edited(good("graph"), change), "DS2TA-211")


def test_names_of_a_million_letters(good, refused):
    def change(structure):
        structure["ops"][3]["inputs"] = ["x" * 10**6]

    found = refused("graph", edited(good("graph"), change), "DS2TA-211")
    assert len(found.words) < 5000


def test_a_table_and_a_sum_that_an_index_and_a_value_can_leave(tmp_path, refused):
    graph = frozen(builders.build_small_graph())
    (lookup,) = [op for op in graph if isinstance(op, ops.Lookup)]
    refused("graph", write(tmp_path / "index", replaced(graph, lookup.name, table=lookup.table[:, :-1])), "DS2TA-221")
    refused("graph", write(tmp_path / "sum", replaced(graph, "patch.stages.0.window", guard_bits=20)), "DS2TA-220")


def test_bits_at_the_ends_of_their_types(tmp_path, contained):
    graph = frozen(builders.build_small_graph())
    for op in graph:
        for field in op.ARRAYS:
            array = getattr(op, field)
            for value in (np.iinfo(array.dtype).min, np.iinfo(array.dtype).max, 0):
                changed = replaced(graph, op.name, **{field: np.full_like(array, value)})
                assert contained.read("graph", write(tmp_path / GRAPH, changed)).kind in ("refused", "accepted"), (op.name, field, value)
