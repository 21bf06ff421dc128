"""The second derivation: it agrees, it knows nothing of the first, and it finds every lie."""

import ast
import copy
import dataclasses
import json
from pathlib import Path

import builders
import msgspec
import numpy as np
import pytest
from compositions import COMPOSITIONS, build
from stream_graph import build_stream_graph
from support import attention_on_counts, frozen, replaced, spiking_chain

from ds2ta_deploy import certificate_check, certificate_rules, certificate_weights
from ds2ta_deploy.certificate import certify
from ds2ta_deploy.certificate_check import check, derive
from ds2ta_deploy.errors import InputError
from ds2ta_deploy.graph import ops, serialize


def plain(graph):
    """Return the certificate as a manifest holds it."""
    return json.loads(msgspec.json.encode(certify(graph)))


def leaves(data, path=()):
    """Yield the path of every number and text."""
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from leaves(value, (*path, key))
    else:
        yield path


def changed(data, path, value):
    """Return a copy with one leaf replaced."""
    copied = copy.deepcopy(data)
    place = copied
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copied


@pytest.mark.parametrize("module", [certificate_check, certificate_rules, certificate_weights])
def test_the_checker_shares_no_code_with_the_proof(module):
    tree = ast.parse(Path(module.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {name for name in imported if name.startswith(("ds2ta_deploy", "."))}
    assert own <= {"ds2ta_deploy.errors", "ds2ta_deploy.certificate_rules", "ds2ta_deploy.certificate_weights"}
    assert not {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)} & {
        "__import__",
        "eval",
        "exec",
    }
    assert "importlib" not in imported


def graphs():
    yield from ((f"small {seed} {still}", builders.build_small_graph(seed, still=still)) for seed in (3, 4) for still in (True, False))
    for leak in ((0, 0), (1, 0), (1, 1), (1, 2), (3, 2), (7, 3)):
        yield f"leak {leak}", spiking_chain(4, leak=leak)[0]
    for window in ((1, 0, 0), (2, 1, 0), (3, 2, 1), (9, 1, 4)):
        yield f"window {window}", spiking_chain(5, window=window)[0]
    yield from ((f"counts {counts}", spiking_chain(2, counts=counts)[0]) for counts in (0, 3, 7))
    for counted in ("qkv", "q", "k", "v"):
        yield f"attention {counted}", attention_on_counts(3, counted=counted)[0]
    attention = attention_on_counts(0)[0]
    yield "uint8 maps", replaced(attention, "attn.denoiser", table=np.array([[0, 255], [7, 3]], np.int16))
    yield "wide maps", replaced(attention, "attn.denoiser", table=np.array([[-300, 255], [7, 3000]], np.int16))
    yield from ((f"stream {seed} {still}", build_stream_graph(seed, still=still)) for seed in (5, 6) for still in (True, False))
    yield from ((name, build(name)[0]) for name in COMPOSITIONS)
    yield "loihi", dataclasses.replace(builders.build_small_graph(), facts={"profile": "loihi"})


@pytest.mark.parametrize(("graph"), [pytest.param(graph, id=name) for name, graph in graphs()])
def test_it_agrees_on_every_entry(graph):
    certificate = plain(graph)
    data = serialize.to_bytes(graph)
    assert derive(data) == certificate
    assert check(data, certificate) == len(certificate["bounds"]) + len(certificate["tables"]) + len(certificate["products"])


def test_it_agrees_on_a_frozen_model(tiny_graph):
    assert check(serialize.to_bytes(tiny_graph), plain(tiny_graph)) > 50


def assert_lies_are_found(graph, *, every):
    """Change one leaf after the other, of so many each time."""
    data, certificate = serialize.to_bytes(graph), plain(graph)
    paths = list(leaves(certificate))[::every]
    assert len(paths) > 100
    for path in paths:
        place = certificate
        for key in path:
            place = place[key]
        with pytest.raises(InputError, match="DS2TA-170"):
            check(data, changed(certificate, path, place + 1 if isinstance(place, int) else f"{place}x"))


def test_every_changed_field_is_found(small_graph):
    assert_lies_are_found(small_graph, every=1)


def test_a_changed_field_is_found_among_those_of_a_stream(stream_graph):
    assert_lies_are_found(stream_graph, every=13)


@pytest.mark.parametrize("section", ["bounds", "tables", "products"])
def test_missing_invented_repeated_and_reordered_entries_are_found(small_graph, section):
    data, certificate = serialize.to_bytes(small_graph), plain(small_graph)
    entries = certificate[section]
    invented = entries[0] | {"value": "new", "op": "new"} if section != "bounds" else entries[0] | {"value": "new"}
    for lie in (entries[1:], entries[:-1], [], [*entries, invented], [*entries, entries[0]], entries[::-1]):
        with pytest.raises(InputError, match="DS2TA-170"):
            check(data, certificate | {section: lie})


def test_what_differs_is_named(small_graph):
    data, certificate = serialize.to_bytes(small_graph), plain(small_graph)
    index = next(i for i, entry in enumerate(certificate["bounds"]) if entry["value"] == "blocks.0.mlp.fc1.membrane")
    true = certificate["bounds"][index]["high"]
    with pytest.raises(InputError) as caught:
        check(data, changed(certificate, ("bounds", index, "high"), true - 1), "OUT/manifest.json")
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("DS2TA-170", "OUT/manifest.json: blocks.0.mlp.fc1.membrane")
    assert f"high is {true - 1}, must be {true}" in problem.what


@pytest.mark.parametrize(
    ("name", "field", "index", "by"),
    [
        ("blocks.0.mlp.fc1.weights", "weight", (0, 0), 1),
        ("blocks.0.attn.q", "threshold", (3,), 1),
        ("patch.stages.0.window", "bias", (1,), -1),
        ("blocks.0.attn.denoiser", "table", (1, 2), 1),
        ("encoder", "table", (0, 17), 1),
    ],
)
def test_a_changed_graph_is_not_the_certified_one(small_graph, name, field, index, by):
    (op,) = [op for op in small_graph if op.name == name]
    array = getattr(op, field).copy()
    array[index] += by
    other = replaced(small_graph, name, **{field: array})
    with pytest.raises(InputError) as caught:
        check(serialize.to_bytes(other), plain(small_graph))
    assert caught.value.problems[0].code == "DS2TA-170"
    assert caught.value.problems[0].where.endswith(": graph")


def test_a_changed_wiring_is_found_even_if_the_hash_is_made_to_fit(small_graph):
    (add,) = [op for op in small_graph if op.name == "blocks.0.mlp_residual.add"]
    other = replaced(small_graph, add.name, inputs=(add.inputs[0], add.inputs[0]))
    data = serialize.to_bytes(other)
    with pytest.raises(InputError) as caught:
        check(data, plain(small_graph) | {"graph": derive(data)["graph"]})
    assert any(problem.where.endswith(": blocks.0.mlp_residual") for problem in caught.value.problems)


def test_a_graph_that_could_overflow_has_no_second_derivation():
    graph, _ = spiking_chain(2, counts=7)
    head = graph.ops[-1]
    more = ops.Add("more", ("double.6", "double.6"), ("too_much",))
    wide = dataclasses.replace(graph, ops=(*graph.ops[:-1], more, head))
    assert wide.types
    with pytest.raises(InputError, match=r"DS2TA-171.*too_much can reach \[0, 256\]"):
        derive(serialize.to_bytes(wide))


def test_an_index_that_could_leave_its_table_has_none_either(small_graph):
    table = next(op for op in small_graph if isinstance(op, ops.Lookup)).table
    short = replaced(small_graph, "blocks.0.attn.denoiser", table=table[:, :4])
    with pytest.raises(InputError, match=r"DS2TA-171.*blocks.0.attn.denoiser: an index can reach \[0, 4\], the table holds 0..3"):
        derive(serialize.to_bytes(short))


@pytest.mark.parametrize(
    "data", [b"", b"short", b"\0" * 100, b"\xff" * 8 + b"{}", (2).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]"]
)
def test_what_is_no_graph_file(data):
    with pytest.raises(InputError, match="DS2TA-171"):
        derive(data, "g")


def test_a_graph_without_its_tensors_or_with_an_op_of_another_name(small_graph):
    data = serialize.to_bytes(small_graph)
    with pytest.raises(InputError, match="DS2TA-171"):
        derive(data.replace(b'\\"op\\":\\"Tokens\\"', b'\\"op\\":\\"Tokenz\\"'))
    with pytest.raises(InputError, match="DS2TA-171"):
        derive(data.replace(b"encoder/table", b"encodes/table"))


def test_only_frozen_graphs_of_a_known_profile(small_graph):
    graph = dataclasses.replace(frozen(small_graph), facts={"profile": "gpu"})
    with pytest.raises(InputError, match=r"DS2TA-171.*gpu"):
        derive(serialize.to_bytes(graph))
