import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from builders import build_small_graph
from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.errors import Ds2taError, InputError, UnsupportedError
from ds2ta_deploy.graph.formats import FORMATS
from ds2ta_deploy.graph.ranges import PROFILES, prove
from ds2ta_deploy.graph.serialize import HEADER_KEY, PACKED_KEY, from_bytes, read, to_bytes


@pytest.fixture(scope="module")
def data(small_graph) -> bytes:
    return to_bytes(small_graph)


def edited(data: bytes, change=None, tensors=None) -> bytes:
    """Return the file with its structure changed by ``change(structure)`` and its tensors by ``tensors(tensors)``."""
    arrays = safetensors.numpy.load(data)
    structure = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"][HEADER_KEY])
    if change is not None:
        change(structure)
    if tensors is not None:
        tensors(arrays)
    return safetensors.numpy.save(arrays, {HEADER_KEY: json.dumps(structure)})


def op_of(structure, name):
    return next(op for op in structure["ops"] if op["name"] == name)


def codes(data: bytes, kind=InputError):
    with pytest.raises(kind) as caught:
        from_bytes(data, "file")
    problems = caught.value.problems
    assert len(str(caught.value).splitlines()) == len(problems)
    return [problem.code for problem in problems]


# --- there and back --------------------------------------------------------------------------------------------------


def assert_same_graph(left, right):
    for field in ("name", "input_name", "input_type", "output", "output_scale", "facts"):
        assert getattr(left, field) == getattr(right, field), field
    assert len(left.ops) == len(right.ops)
    for one, other in zip(left, right, strict=True):
        assert type(one) is type(other)
        for field in dataclasses.fields(one):
            a, b = getattr(one, field.name), getattr(other, field.name)
            assert type(a) is type(b), (one.name, field.name)
            if isinstance(a, np.ndarray):
                assert a.dtype == b.dtype
                assert np.array_equal(a, b), (one.name, field.name)
            else:
                assert a == b, (one.name, field.name)


def test_a_graph_comes_back_as_it_was(small_graph, small_inputs, data):
    back = from_bytes(data)
    assert_same_graph(small_graph, back)
    assert back.types == small_graph.types
    assert np.array_equal(back.execute(small_inputs), small_graph.execute(small_inputs))


def test_a_graph_of_frames_comes_back_too():
    graph = build_small_graph(still=False)
    assert_same_graph(graph, from_bytes(to_bytes(graph)))


def test_a_file_is_read_from_its_path(tmp_path, small_graph, data):
    path = tmp_path / "graph.safetensors"
    path.write_bytes(data)
    assert_same_graph(small_graph, read(path))


def test_equal_graphs_give_equal_bytes(small_graph, data):
    for _ in range(10):
        assert to_bytes(small_graph) == data
    assert to_bytes(build_small_graph()) == data
    assert to_bytes(from_bytes(data)) == data


def test_another_process_with_other_hashes_gives_the_same_bytes(data):
    program = "import builders, hashlib; from ds2ta_deploy.graph.serialize import to_bytes; "
    program += "print(hashlib.sha256(to_bytes(builders.build_small_graph())).hexdigest())"
    tests = Path(__file__).parents[1]
    environment = {"PYTHONHASHSEED": "12345", "PYTHONPATH": f"{tests}:{tests.parent}"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == hashlib.sha256(data).hexdigest()


def test_the_order_of_arrays_in_memory_does_not_matter(small_graph, data):
    def other_order(op):
        arrays = {
            f.name: np.asfortranarray(getattr(op, f.name)) for f in dataclasses.fields(op) if isinstance(getattr(op, f.name), np.ndarray)
        }
        return dataclasses.replace(op, **arrays)

    assert to_bytes(dataclasses.replace(small_graph, ops=tuple(other_order(op) for op in small_graph))) == data


def test_the_order_of_facts_does_not_matter(small_graph, data):
    assert len(small_graph.facts) > 1
    assert to_bytes(dataclasses.replace(small_graph, facts=dict(reversed(small_graph.facts.items())))) == data


def test_any_change_gives_other_bytes(small_graph, data):
    weights = next(op for op in small_graph if op.name == "blocks.0.mlp.fc1.weights")
    changed = weights.weight.copy()
    changed[0, 0] ^= 1
    ops = tuple(dataclasses.replace(op, weight=changed) if op is weights else op for op in small_graph)
    variants = [
        dataclasses.replace(small_graph, ops=ops),
        dataclasses.replace(small_graph, name="other"),
        dataclasses.replace(small_graph, output_scale=0.25),
        dataclasses.replace(small_graph, facts={**small_graph.facts, "more": 1}),
    ]
    assert len({data, *(to_bytes(variant) for variant in variants)}) == 5


def test_the_file_is_safetensors_with_one_entry_of_readable_structure(data, small_graph):
    tensors = safetensors.numpy.load(data)
    assert tensors["blocks.0.attn.denoiser/table"].dtype == np.int16
    assert {array.dtype.kind for array in tensors.values()} == {"i"}
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(header["__metadata__"]) == [HEADER_KEY]
    structure = json.loads(header["__metadata__"][HEADER_KEY])
    assert [op["op"] for op in structure["ops"]] == [type(op).__name__ for op in small_graph]


# --- damaged files ---------------------------------------------------------------------------------------------------


def test_a_file_cut_anywhere_is_refused(data):
    for length in sorted({*range(40), *range(40, len(data), len(data) // 80), *range(len(data) - 10, len(data))}):
        assert codes(data[:length]) == ["DS2TA-140"], length


@given(st.sampled_from([b"", b"\x02" + bytes(7) + b"{}", b"\x08" + bytes(7) + b'{"a":{}}']), st.binary(max_size=60))
def test_random_bytes_are_refused(start, rest):
    assert codes(start + rest) == ["DS2TA-140"]


def test_a_safetensors_file_of_something_else_is_refused():
    assert codes(safetensors.numpy.save({"a": np.zeros(3)})) == ["DS2TA-140"]
    assert codes(safetensors.numpy.save({"a": np.zeros(3)}, {"other": "{}"})) == ["DS2TA-140"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"name": 3}', "[" * 100_000])
def test_a_structure_that_is_no_graph_is_refused(text):
    assert codes(safetensors.numpy.save({}, {HEADER_KEY: text})) == ["DS2TA-141"]


def test_a_file_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match="DS2TA-140") as caught:
            read(path)
        assert caught.value.problems[0].where == str(path)


def test_a_changed_header_is_read_or_refused_never_a_traceback(data):
    random = np.random.default_rng(0)
    end = 8 + int.from_bytes(data[:8], "little")
    refused = 0
    for _ in range(400):
        damaged = bytearray(data)
        damaged[random.integers(0, end)] = random.integers(32, 127)
        try:
            prove(from_bytes(bytes(damaged)), PROFILES["cpu"])
        except Ds2taError:
            refused += 1
    assert refused > 200


# --- wrong structures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Softmax", "", "linear", "__class__"])
def test_an_unknown_op_is_named(data, name):
    with pytest.raises(InputError) as caught:
        from_bytes(edited(data, lambda s: op_of(s, "patch.flatten").update(op=name)), "file")
    (problem,) = caught.value.problems
    assert problem.code == "DS2TA-141"
    assert problem.where == "file: patch.flatten"
    assert repr(name) in problem.what
    assert "Linear" in problem.mend


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(surprise=1),
        lambda s: s.pop("output"),
        lambda s: s.update(input_dtype="float32"),
        lambda s: s.update(input_dtype="int64"),
        lambda s: s.update(input_shape="none"),
        lambda s: s.update(ops={}),
        lambda s: s["ops"][0].update(surprise=1),
        lambda s: s["ops"][0].pop("inputs"),
        lambda s: s["ops"][0].update(name=None),
        lambda s: op_of(s, "blocks.0.attn.q.window")["attributes"].update(taps=3.5),
        lambda s: op_of(s, "blocks.0.attn.q.window")["attributes"].update(taps="3"),
        lambda s: op_of(s, "blocks.0.attn.q.window")["attributes"].update(taps=None),
    ],
)
def test_a_structure_of_other_fields_or_types_is_refused(data, change):
    assert codes(edited(data, change)) == ["DS2TA-141"]


def test_two_ops_of_one_name_are_refused(data):
    found = codes(edited(data, lambda s: op_of(s, "blocks.0.attn.merge").update(name="patch.flatten")))
    assert found == ["DS2TA-141"]


def test_missing_and_extra_tensors_are_all_named(data):
    def tensors(arrays):
        del arrays["head/bias"], arrays["blocks.0.attn.q/threshold"]
        arrays["head/offset"] = np.zeros(3, np.int32)
        arrays["nobody"] = np.zeros(3, np.int8)

    with pytest.raises(InputError) as caught:
        from_bytes(edited(data, tensors=tensors), "file")
    assert {problem.code for problem in caught.value.problems} == {"DS2TA-142"}
    assert {problem.where for problem in caught.value.problems} == {
        "file: head",
        "file: blocks.0.attn.q",
        "file: head/offset",
        "file: nobody",
    }
    assert "bias" in next(problem.what for problem in caught.value.problems if problem.where == "file: head")


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("blocks.0.attn.q.window", {"taps": 3, "decay": 1}),
        ("patch.flatten", {"more": 1}),
        ("blocks.0.attn.q", {"leak_numerator": 1, "leak_shift": 1, "inputs": 3}),
    ],
)
def test_missing_and_extra_attributes_are_named(data, name, attributes):
    with pytest.raises(InputError) as caught:
        from_bytes(edited(data, lambda s: op_of(s, name).update(attributes=attributes)), "file")
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("DS2TA-142", f"file: {name}")


def refusal(damaged: bytes) -> Ds2taError:
    """Return the error with which the file is refused; anything but one of our own errors fails the test."""
    with pytest.raises(Ds2taError) as caught:
        from_bytes(damaged, "file")
    return caught.value


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64, np.uint32, np.int64, np.bool_])
@pytest.mark.parametrize("name", ["head/weight", "head/bias", "blocks.0.attn.denoiser/table", "blocks.0.attn.q/threshold", "encoder/table"])
def test_a_tensor_of_another_type_is_refused(data, name, kind):
    error = refusal(edited(data, tensors=lambda arrays: arrays.update({name: arrays[name].astype(kind)})))
    assert {problem.code for problem in error.problems} <= {"DS2TA-142", "DS2TA-210"}
    assert any(name.split("/")[0] in problem.where for problem in error.problems)


TENSORS = [
    "encoder/table",
    "patch.position.weights/weight",
    "patch.position.window/bias",
    "patch.position/threshold",
    "blocks.0.mlp.fc1.weights/weight",
    "blocks.0.attn.denoiser/table",
    "head/weight",
    "head/bias",
]


@pytest.mark.parametrize("reshape", [lambda a: a.reshape(-1), lambda a: a[None], lambda a: a[..., None], lambda a: a[:0], lambda a: a[:-1]])
@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_of_another_shape_is_refused(data, name, reshape):
    def tensors(arrays):
        changed = np.ascontiguousarray(reshape(arrays[name]))
        arrays[name] = changed if changed.shape != arrays[name].shape else np.append(changed, changed[:1])

    refusal(edited(data, tensors=tensors))


def op_names():
    return [op.name for op in build_small_graph()]


@pytest.mark.parametrize("name", op_names())
def test_an_op_with_too_few_or_too_many_inputs_or_outputs_is_refused(data, name):
    for field in ("inputs", "outputs"):
        for change in (lambda values: values[:-1], lambda values: [*values, "images" if field == "inputs" else "more"]):  # noqa: B023
            damaged = edited(data, lambda s, field=field, change=change: op_of(s, name).update({field: change(op_of(s, name)[field])}))
            refusal(damaged)


def test_every_attribute_that_makes_no_sense_is_refused(data):
    accepted = []
    for op in build_small_graph():
        for field in dataclasses.fields(op):
            if not isinstance(getattr(op, field.name), int):
                continue
            for value in (-1, 2**31, 2**62):
                damaged = edited(
                    data, lambda s, op=op, field=field, value=value: op_of(s, op.name)["attributes"].update({field.name: value})
                )
                try:
                    from_bytes(damaged)
                    accepted.append((op.name, field.name, value))
                except Ds2taError:
                    pass
    assert accepted == []


def test_numbers_instead_of_tensors_and_the_reverse_are_refused(data):
    def number(structure):
        op_of(structure, "head")["attributes"]["weight"] = 3

    refusal(edited(data, number, lambda arrays: arrays.pop("head/weight")))

    def tensor(structure):
        del op_of(structure, "blocks.0.attn.q.window")["attributes"]["taps"]

    refusal(edited(data, tensor, lambda arrays: arrays.update({"blocks.0.attn.q.window/taps": np.array([3], np.int32)})))


def test_a_dangling_input_is_refused(data):
    def change(structure):
        op_of(structure, "head")["inputs"] = ["nowhere"]

    with pytest.raises(UnsupportedError, match=r"DS2TA-211.*'nowhere'"):
        from_bytes(edited(data, change))


def test_a_value_made_twice_is_refused(data):
    def change(structure):
        op_of(structure, "patch.flatten")["outputs"] = ["patch.residual"]

    assert "DS2TA-211" in codes(edited(data, change), UnsupportedError)


def test_an_output_that_is_not_made_is_refused(data):
    assert codes(edited(data, lambda s: s.update(output="logits")), UnsupportedError) == ["DS2TA-211"]


# --- packed weights --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packed_graph(small_graph):
    """The graph by hand with weights of three narrow formats."""
    narrow = {
        "blocks.0.mlp.fc1.weights": lambda weight: weight // 16,
        "blocks.0.mlp.fc2.weights": lambda weight: weight // 4,
        "blocks.0.attn.q.weights": lambda weight: np.sign(weight) * 2 ** (np.abs(weight.astype(int)) % 7),
    }
    ops = [dataclasses.replace(op, weight=narrow[op.name](op.weight).astype(np.int8)) if op.name in narrow else op for op in small_graph]
    return dataclasses.replace(small_graph, ops=tuple(ops))


def repacked(data: bytes, change=None, tensors=None) -> bytes:
    """:func:`edited` for a file with packed weights."""
    arrays = safetensors.numpy.load(data)
    structure = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"][PACKED_KEY])
    if change is not None:
        change(structure)
    if tensors is not None:
        tensors(arrays)
    return safetensors.numpy.save(arrays, {PACKED_KEY: json.dumps(structure)})


def test_packed_weights_come_back_and_take_fewer_bytes(packed_graph, data):
    packed = to_bytes(packed_graph)
    assert_same_graph(from_bytes(packed), packed_graph)
    assert to_bytes(from_bytes(packed)) == packed
    tensors = safetensors.numpy.load(packed)
    sizes = {name: tensors[f"blocks.0.{name}.weights/weight"].nbytes for name in ("mlp.fc1", "mlp.fc2", "attn.q", "attn.k")}
    assert sizes == {"mlp.fc1": 64, "mlp.fc2": 96, "attn.q": 32, "attn.k": 64}
    assert HEADER_KEY.encode() not in packed  # a reader of the first form must not take codes for weights
    assert PACKED_KEY.encode() not in data


NARROW = "blocks.0.mlp.fc1.weights/weight"


@pytest.mark.parametrize(
    ("change", "code", "why"),
    [
        (lambda packed: packed.clear(), "DS2TA-141", "none is"),
        (lambda packed: packed.update(nothing={"format": "int4", "shape": [2]}), "DS2TA-142", "is not there"),
        (lambda packed: packed[NARROW].update(format="int3"), "DS2TA-142", "'int3' is not known"),
        (lambda packed: packed[NARROW].update(format="int6"), "DS2TA-142", "96 bytes"),
        (lambda packed: packed[NARROW].update(shape=[16, 9]), "DS2TA-142", "72 bytes"),
        (lambda packed: packed[NARROW].update(shape=[16, -8]), "DS2TA-142", "shape"),
        (lambda packed: packed[NARROW].update(shape=[]), "DS2TA-142", "shape"),
        (lambda packed: packed[NARROW].update(shape=[1] * 200 + [128]), "DS2TA-142", "dimension"),
        (lambda packed: packed[NARROW].update(more=1), "DS2TA-141", "more"),
        (lambda packed: packed.update({NARROW: None}), "DS2TA-141", "object"),
    ],
)
def test_packing_that_does_not_fit_is_refused(packed_graph, change, code, why):
    damaged = repacked(to_bytes(packed_graph), lambda structure: change(structure["packed"]))
    assert codes(damaged) == [code]
    with pytest.raises(InputError, match=why):
        from_bytes(damaged)


def test_every_wrong_tensor_is_named_at_once(packed_graph):
    def spoil(arrays):
        arrays[NARROW] = arrays[NARROW][:-1]
        arrays["blocks.0.attn.q.weights/weight"][0] = 0x88

    assert codes(repacked(to_bytes(packed_graph), tensors=spoil)) == ["DS2TA-142", "DS2TA-142"]


def test_a_wider_format_than_need_be_is_refused(packed_graph):
    name, weight = next((f"{op.name}/weight", op.weight) for op in packed_graph if op.name == "blocks.0.mlp.fc1.weights")
    data = repacked(
        to_bytes(packed_graph),
        lambda structure: structure["packed"][name].update(format="int6"),
        lambda arrays: arrays.update({name: FORMATS["int6"].pack(weight)}),
    )
    assert codes(data) == ["DS2TA-142"]
    with pytest.raises(InputError, match="narrower"):
        from_bytes(data)


def test_weights_that_are_not_packed_are_read_whatever_they_are(packed_graph):
    """Files that were written before there was packing hold narrow weights, too."""
    names = set(json.loads(json.loads(header_of(to_bytes(packed_graph)))["__metadata__"][PACKED_KEY])["packed"])
    arrays = {f"{op.name}/weight": op.weight for op in packed_graph if hasattr(op, "weight")}

    def unpack(tensors):
        tensors.update({name: arrays[name] for name in names})

    data = repacked(to_bytes(packed_graph), lambda structure: structure.pop("packed"), unpack)
    old = data.replace(PACKED_KEY.encode(), HEADER_KEY.encode())
    assert_same_graph(from_bytes(old), packed_graph)


def header_of(data: bytes) -> bytes:
    return data[8 : 8 + int.from_bytes(data[:8], "little")]
