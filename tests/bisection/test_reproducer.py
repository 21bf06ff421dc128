"""Planted faults: searched, explained, written down, replayed."""

import json
from dataclasses import replace
from functools import reduce

import numpy as np
import onnx
import pytest
from builders import trace_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import Tampered, copy_artifact, files_of, frozen, names_in, one_more, read_manifest, replaced, rewrite

from ds2ta_deploy.artifact import GRAPH, MODEL, Artifact
from ds2ta_deploy.bisection.finding import explain
from ds2ta_deploy.bisection.replay import replay
from ds2ta_deploy.bisection.reproducer import OP, OPERANDS, RECORD, REPRODUCER, VALUES, write
from ds2ta_deploy.bisection.search import bisect, search
from ds2ta_deploy.bisection.sides import Side
from ds2ta_deploy.datasets import npz_bytes, read_arrays
from ds2ta_deploy.errors import Ds2taError, InputError, UsageError
from ds2ta_deploy.exporting import export
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.graph.fragment import cut, from_bytes, to_bytes
from ds2ta_deploy.runtimes.ort import OnnxRuntime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime


@pytest.fixture(scope="module")
def exported(small_graph, small_inputs, tmp_path_factory):
    """Return the directory of an artifact. Shared: copy before changing it."""
    return export(frozen(small_graph), "onnx", tmp_path_factory.mktemp("reproducer") / "out", inputs=small_inputs).path


def faulty(exported, folder, change):
    """Copy the artifact with its ONNX file changed."""
    copy = copy_artifact(exported, folder / "faulty")
    rewrite(copy, MODEL, change((copy / MODEL).read_bytes()))
    return Artifact.open(copy, allow_modified=True)


def rewired(node, place, value):
    """Return the change that makes a node read another value."""

    def change(data):
        model = onnx.load_model_from_string(data)
        next(found for found in model.graph.node if found.name == node).input[place] = value
        return model.SerializeToString()

    return change


def found_and_written(artifact, out, *arguments, **options):
    result = bisect(artifact, *arguments, **options)
    finding = explain(artifact.graph, result.located)
    return finding, write(finding, result.located, out)


@pytest.fixture(scope="module")
def wrong_table(exported, tmp_path_factory):
    """Return the finding and the folder of a table with one entry that is too large. Shared: copy before changing it."""
    folder = tmp_path_factory.mktemp("table")
    artifact = faulty(exported, folder, lambda data: one_more(data, "blocks.0.attn.table", 6))
    finding, _ = found_and_written(artifact, folder / "reproducer", "onnxruntime")
    return finding, folder / "reproducer"


# --- what is found ---------------------------------------------------------------------------------------------------


def test_the_op_its_operands_and_its_own_opinion(wrong_table, small_graph, small_inputs):
    finding, _ = wrong_table
    trace = trace_of(small_graph, small_inputs)
    step, head, query, key = (
        np.argwhere(trace["blocks.0.attn.scores"][:, 0] == [[[1]]])[0] if False else (finding.place[0], *finding.place[2:])
    )
    table = next(op.table for op in small_graph if op.name == "blocks.0.attn.denoiser")
    score = int(trace["blocks.0.attn.scores"][step, 0, head, query, key])
    assert (head, score) == (1, 1)  # entry 6 of [2, 5]
    assert finding.own.op.name == "blocks.0.attn.denoiser"
    assert finding.divergence.expected == finding.own.at_place == int(table[1, 1])
    assert finding.divergence.found == int(table[1, 1]) + 1
    assert finding.words == f"sample 0, time step {step}, head 1, query {query}, key {key}"
    assert int(finding.own.read["score"]) == 1
    assert finding.own.read["table"].tolist() == table[1].tolist()
    assert [(operand.name, operand.agrees) for operand in finding.operands] == [("blocks.0.attn.scores", True)]
    assert finding.is_first_cause


def test_what_differed_before_is_no_first_cause(small_graph, small_inputs, wrong_table):
    """An explanation of a later op says that its operands differ already."""
    honest = ReferenceRuntime(small_graph)
    wrong = Tampered(honest, "blocks.0.attn.scores", (1, 0, 0, 0, 0))
    names = small_graph.observable
    sides = [Side(runtime.name, lambda _start, batch, runtime=runtime: runtime.trace(batch, names), runtime) for runtime in (honest, wrong)]
    located = search(small_graph, small_inputs, sides[0], sides[1:]).located
    assert explain(small_graph, located).is_first_cause
    for step, agrees in ((0, True), (1, False), (2, False)):
        later = replace(located, divergence=replace(located.divergence, value="blocks.0.attn.denoised", step=step))
        finding = explain(small_graph, later)
        assert [(operand.name, operand.agrees) for operand in finding.operands] == [("blocks.0.attn.scores", agrees)]
        assert finding.is_first_cause == agrees
    key = "blocks.0.attn.k.spikes"
    finding = explain(small_graph, replace(located, found={**located.found, key: 1 - located.found[key]}))
    agreeing = {operand.name: operand.agrees for operand in finding.operands}
    assert agreeing == {"blocks.0.attn.q.spikes": True, key: False}
    assert not finding.is_first_cause


def test_operands_that_the_op_refuses_are_no_crash(small_graph, small_inputs, tmp_path):
    """Two engines that both read outside a table, differently: the op itself has no opinion."""
    honest, names = ReferenceRuntime(small_graph), small_graph.observable
    outside = Tampered(honest, "blocks.0.attn.scores", (0, 0, 0, 0, 0))
    outside.trace = lambda inputs, wanted: _with(honest.trace(inputs, wanted), "blocks.0.attn.scores", 9)
    other = Tampered(outside, "blocks.0.attn.denoised", (0, 0, 0, 0, 0))
    sides = [Side(name, lambda _start, batch, side=side: side.trace(batch, names), side) for name, side in (("a", outside), ("b", other))]
    located = search(small_graph, small_inputs, sides[0], sides[1:]).located
    finding = explain(small_graph, located)
    assert (finding.own.at_place, finding.own.value, finding.own.read) == (None, None, {})
    assert "DS2TA-221" in finding.own.refusal
    record = write(finding, located, tmp_path / "out")
    assert (record.op_value, record.parts) == (None, ())
    assert "refuses them (DS2TA-221" in (tmp_path / "out" / "README.md").read_text()
    result = replay(Artifact.open(tmp_path / "out"))
    assert [result.baseline.how, result.runtime.how, result.own.at_place] == ["recorded", "recorded", None]
    with pytest.raises(UsageError, match="DS2TA-504"):
        replay(Artifact.open(tmp_path / "out"), "reference")


def _with(trace, value, integer):
    changed = trace[value].copy()
    changed[0, 0, 0, 0, 0] = integer
    return {**trace, value: changed}


# --- what is written -------------------------------------------------------------------------------------------------


def test_the_folder_is_an_artifact_of_its_own(wrong_table):
    finding, folder = wrong_table
    opened = Artifact.open(folder)
    assert opened.manifest.target == REPRODUCER
    assert names_in(folder) == sorted(["README.md", "manifest.json", "onnxruntime.onnx", OP, OPERANDS, VALUES, RECORD])
    assert sorted(opened.manifest.files) == sorted(set(names_in(folder)) - {"manifest.json"})
    fragment = from_bytes((folder / OP).read_bytes())
    assert [op.name for op in fragment.ops] == ["blocks.0.attn.denoiser"]
    values = read_arrays(folder / VALUES, ["baseline", "runtime", "op"])
    assert np.array_equal(values["baseline"], values["op"])
    assert int(values["runtime"][finding.place]) == int(values["op"][finding.place]) + 1
    operands = read_arrays(folder / OPERANDS, list(fragment.reads))
    assert operands["blocks.0.attn.scores"].shape == (4, 1, 2, 12, 12)
    record = json.loads((folder / RECORD).read_text())
    assert record["parts"] == [{"runtime": "onnxruntime", "target": "onnx", "file": "onnxruntime.onnx", "reads": ["blocks.0.attn.scores"]}]
    text = (folder / "README.md").read_text()
    assert "    ds2ta bisect .\n" in text
    assert "recorded" not in text
    assert finding.words in text


def test_the_same_finding_gives_the_same_bytes(exported, wrong_table, tmp_path):
    artifact = faulty(exported, tmp_path, lambda data: one_more(data, "blocks.0.attn.table", 6))
    found_and_written(artifact, tmp_path / "again", "onnxruntime")
    assert files_of(tmp_path / "again") == files_of(wrong_table[1])


def test_it_replaces_nothing(exported, tmp_path):
    artifact = faulty(exported, tmp_path, lambda data: one_more(data, "head.bias", 0))
    (tmp_path / "taken").mkdir()
    with pytest.raises(UsageError, match="DS2TA-501"):
        found_and_written(artifact, tmp_path / "taken", "onnxruntime")
    assert names_in(tmp_path) == ["faulty", "taken"]


# --- replayed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "op", "reads"),
    [
        (lambda data: one_more(data, "patch.stages.0.weight", 5), "patch.stages.0.weights", {"input_values"}),
        (lambda data: one_more(data, "patch.stages.0.bias", 5), "patch.stages.0.window", {"patch.stages.0.product"}),
        (
            lambda data: reduce(lambda made, index: one_more(made, "encoder.table", index), range(256, 512), data),
            "encoder",
            {"images"},
        ),
        (lambda data: one_more(data, "blocks.0.attn.k.threshold", 1), "blocks.0.attn.k", {"blocks.0.attn.k.current"}),
        (lambda data: one_more(data, "head.weight", 1), "head", {"blocks.0.mlp_residual"}),
        (
            rewired("blocks.0.attn", 2, "blocks.0.attn.k.spikes"),
            "blocks.0.attn.map_value",
            {"blocks.0.attn.denoised", "blocks.0.attn.k.spikes"},
        ),
        (rewired("patch.residual.add", 0, "patch.stages.0.pooled"), "patch.residual.add", {"patch.stages.0.pooled"}),
    ],
)
def test_a_planted_fault_replays_alone_on_every_engine_of_its_target(exported, tmp_path, change, op, reads):
    finding, record = found_and_written(faulty(exported, tmp_path, change), tmp_path / "out", "onnxruntime")
    assert record.op == finding.own.op.name == op
    assert finding.is_first_cause
    assert [set(part.reads) for part in record.parts] == [reads]
    opened = Artifact.open(tmp_path / "out")
    for engine in (None, "onnxruntime", "onnx-reference"):
        result = replay(opened, engine)
        assert (result.baseline.how, result.runtime.how) == ("op", "part")
        assert (result.baseline.value, result.runtime.value) == (record.baseline_value, record.runtime_value)
        assert result.own.at_place == finding.own.at_place
        assert result.divergence == replace(finding.divergence, runtime=engine or "onnxruntime")
    same = replay(opened, "onnx-reference", "onnxruntime")  # both run the faulty part
    assert (same.divergence, same.baseline.value) == (None, record.runtime_value)
    with pytest.raises(UsageError, match="DS2TA-504"):
        replay(opened, "torch")


def test_a_fault_in_the_graph_replays_as_one(exported, small_graph, tmp_path):
    copy = copy_artifact(exported, tmp_path / "copy")
    window = next(op for op in small_graph if op.name == "blocks.0.attn.q.window")
    changed = replaced(frozen(small_graph), window.name, decay=window.decay + 1)
    rewrite(copy, GRAPH, serialize.to_bytes(changed))
    finding, record = found_and_written(Artifact.open(copy, allow_modified=True), tmp_path / "out", "onnxruntime")
    assert (record.op, finding.divergence.step) == ("blocks.0.attn.q.window", 1)
    result = replay(Artifact.open(tmp_path / "out"))
    assert (result.baseline.value, result.own.at_place, result.runtime.value) == (
        record.baseline_value,
        record.baseline_value,
        record.runtime_value,
    )


def test_what_was_recorded_is_compared_by_population(exported, small_graph, tmp_path):
    copy = copy_artifact(exported, tmp_path / "copy")
    op = next(op for op in small_graph if op.name == "patch.position.weights")
    rewrite(copy, GRAPH, serialize.to_bytes(replaced(frozen(small_graph), op.name, weight=-op.weight)))
    finding, record = found_and_written(Artifact.open(copy, allow_modified=True), tmp_path / "out", "golden")
    assert [op.name for op in finding.fragment.ops] == ["patch.position.weights", "patch.position.window", "patch.position"]
    assert finding.own.op.name == "patch.position"
    assert (record.value, record.parts) == ("patch.position.spikes", ())
    result = replay(Artifact.open(tmp_path / "out"))
    assert (result.baseline.how, result.runtime.how) == ("op", "recorded")
    assert result.divergence == finding.divergence
    assert "golden cannot run this op alone" in (tmp_path / "out" / "README.md").read_text()


def test_a_part_that_does_not_show_it_is_left_out(small_graph, small_inputs, tmp_path):
    """An engine that is wrong in the whole and right in the part: what it said is replayed as recorded."""
    from ds2ta_deploy.exporters.onnx import to_onnx

    class Fusing(OnnxRuntime):
        def trace(self, inputs, wanted):
            return Tampered(super(), "patch.tokens", (2, 0, 5, 3)).trace(inputs, wanted)

    honest, names = ReferenceRuntime(small_graph), small_graph.observable
    wrong = Fusing(to_onnx(small_graph).SerializeToString(), small_graph)
    sides = [Side(side.name, lambda _start, batch, side=side: side.trace(batch, names), side) for side in (honest, wrong)]
    located = search(small_graph, small_inputs, sides[0], sides[1:]).located
    record = write(explain(small_graph, located), located, tmp_path / "out")
    assert (record.op, record.words, record.parts) == ("patch.flatten", "sample 0, time step 2, token 5, channel 3", ())
    assert replay(Artifact.open(tmp_path / "out")).runtime.how == "recorded"
    assert "onnxruntime cannot run this op alone, or does not show it then" in (tmp_path / "out" / "README.md").read_text()


# --- folders of strangers --------------------------------------------------------------------------------------------


@pytest.fixture
def changeable(wrong_table, tmp_path):
    return copy_artifact(wrong_table[1], tmp_path / "changeable")


def changed_record(folder, **fields):
    record = json.loads((folder / RECORD).read_text()) | fields
    return Artifact.open(rewrite(folder, RECORD, json.dumps(record).encode(), rehash=True))


@pytest.mark.parametrize(
    "fields",
    [
        {"index": [0, 0, 12]},
        {"index": [0, 0]},
        {"index": [-1, 0, 0]},
        {"step": None},
        {"step": 4},
        {"step": -1},
        {"step": "1"},
        {"schema": "ds2ta-reproducer/2"},
        {"more": 1},
    ],
)
def test_a_record_that_does_not_fit_is_refused(changeable, fields):
    with pytest.raises(InputError, match=r"DS2TA-157 \[.*reproducer\.json\]"):
        replay(changed_record(changeable, **fields))


def test_a_part_that_is_none_of_its_files_is_refused(changeable):
    part = json.loads((changeable / RECORD).read_text())["parts"][0]
    with pytest.raises(InputError, match="DS2TA-152"):
        replay(changed_record(changeable, parts=[{**part, "file": "../../secret.onnx"}]))
    with pytest.raises(InputError, match="DS2TA-133"):
        replay(changed_record(changeable, parts=[{**part, "reads": ["nothing"]}]))
    with pytest.raises(InputError, match="DS2TA-161"):
        replay(changed_record(changeable, parts=[{**part, "reads": []}]))
    with pytest.raises(InputError, match="DS2TA-161"):
        replay(changed_record(changeable, parts=[part], value="blocks.0.attn.scores"))


def test_a_runtime_that_does_not_exist_is_as_recorded(changeable):
    result = replay(changed_record(changeable, runtime="\x1b[31mred", parts=[]))
    assert (result.runtime.how, result.runtime.runtime) == ("recorded", "\x1b[31mred")


@pytest.mark.parametrize(
    "change",
    [
        lambda scores: scores[:, :0],
        lambda scores: np.repeat(scores, 2, axis=1),
        lambda scores: scores[0],
        lambda scores: scores.astype(np.int64),
        lambda scores: scores.astype(np.float32),
    ],
)
def test_operands_that_do_not_fit_are_refused(changeable, change):
    name = "blocks.0.attn.scores"
    arrays = read_arrays(changeable / OPERANDS, [name])
    artifact = Artifact.open(rewrite(changeable, OPERANDS, npz_bytes({name: change(arrays[name])}), rehash=True))
    with pytest.raises(InputError, match=r"DS2TA-157 \[.*operands\.npz\]"):
        replay(artifact)


def test_another_op_than_the_values_is_refused(changeable, small_graph):
    fragment = cut(small_graph, "head.logits", small_graph.observable)
    with pytest.raises(InputError, match="DS2TA-133"):
        replay(Artifact.open(rewrite(changeable, OP, to_bytes(fragment), rehash=True)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_damaged_folders_end_in_errors_with_a_code(wrong_table, tmp_path_factory, data):
    folder = copy_artifact(wrong_table[1], tmp_path_factory.mktemp("damaged") / "copy")
    name = data.draw(st.sampled_from(sorted(set(read_manifest(folder)["files"]) - {"README.md"})))
    content = bytearray((folder / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    rewrite(folder, name, bytes(content), rehash=True)
    try:
        replay(Artifact.open(folder))
    except Ds2taError as error:
        assert all(problem.code.startswith("DS2TA-") for problem in error.problems)
