import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import assert_fires, build_small_graph, small_inputs, trace_of
from support import STEPPED, Tampered, files_of, frozen, names_in, on_onnxruntime, read_manifest

from ds2ta_deploy import exporting
from ds2ta_deploy.artifact import (
    GOLDEN_HASHES,
    GOLDEN_INPUTS,
    GOLDEN_VALUES,
    GRAPH,
    MANIFEST,
    MODEL,
    MODEL_STEP,
    REPORT,
    Artifact,
    FileEntry,
)
from ds2ta_deploy.errors import InputError, MissingRuntimeError, ParityError, UnsupportedError, UsageError
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.exporters.onnx.step_model import to_onnx_step
from ds2ta_deploy.exporting import default_inputs, export
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.graph.populations import population_values
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.table import open_runtime
from ds2ta_deploy.verification import verify


@pytest.fixture
def graph(small_graph):
    return frozen(small_graph)


@pytest.fixture
def exported(graph, small_inputs, tmp_path):
    return export(graph, "onnx", tmp_path / "out", inputs=small_inputs)


def arrays(artifact, name):
    with np.load(artifact.path / name) as archive:
        return {key: archive[key] for key in archive.files}


# --- what is written -------------------------------------------------------------------------------------------------


def test_an_export_is_an_artifact_with_every_file_promised(exported):
    assert set(files_of(exported.path)) == {MANIFEST, GRAPH, MODEL, MODEL_STEP, REPORT, GOLDEN_INPUTS, GOLDEN_VALUES, GOLDEN_HASHES}
    assert Artifact.open(exported.path).manifest == exported.manifest


def test_the_graph_and_the_model_are_those_of_the_graph(exported, graph):
    assert exported.read(GRAPH) == serialize.to_bytes(graph)
    assert exported.read(MODEL) == to_onnx(graph).SerializeToString(deterministic=True)
    assert exported.read(MODEL_STEP) == to_onnx_step(StepForm.of(graph)).SerializeToString(deterministic=True)


def test_the_manifest_says_what_was_compared(exported, graph, small_inputs):
    values = population_values(graph)
    integers = sum(trace_of(graph, small_inputs)[name].size for name in values)
    assert [(e.runtime, e.samples, e.values, e.integers, e.different) for e in exported.manifest.parity] == [
        (name, 5, len(values), integers, 0) for name in ("onnxruntime", STEPPED)
    ]


def test_the_manifest_says_where_the_graph_is_from(graph, small_inputs, tmp_path):
    (tmp_path / "checkpoint").write_bytes(b"checkpoint")
    manifest = export(graph, "onnx", tmp_path / "out", inputs=small_inputs, checkpoint=tmp_path / "checkpoint").manifest
    assert (manifest.checkpoint, manifest.config) == (FileEntry.of(b"checkpoint"), {})
    assert manifest.quantization == {"profile": "cpu", "weight_bits": 8, "first_layer_bits": 10, "thresholds": "channel"}
    assert manifest.rounding == graph.facts["rounding"]


def test_a_checkpoint_that_is_not_there_is_refused(graph, small_inputs, tmp_path):
    with pytest.raises(InputError, match="DS2TA-101"):
        export(graph, "onnx", tmp_path / "out", inputs=small_inputs, checkpoint=tmp_path / "nowhere")
    assert names_in(tmp_path) == []


def test_the_golden_vectors_are_inputs_logits_of_all_and_spikes_and_counts_of_the_first(exported, graph, small_inputs):
    trace = trace_of(graph, small_inputs)
    assert_fires(trace)
    assert {name: value.tolist() for name, value in arrays(exported, GOLDEN_INPUTS).items()} == {"images": small_inputs.tolist()}
    expected = arrays(exported, GOLDEN_VALUES)
    assert set(expected) == set(population_values(graph))
    assert np.array_equal(expected["head.logits"], trace["head.logits"])
    for name in set(expected) - {"head.logits"}:
        assert np.array_equal(expected[name], trace[name][:, :1])
        assert expected[name].dtype == trace[name].dtype
    assert set(json.loads(exported.read(GOLDEN_HASHES))) == set(population_values(graph))


def test_the_model_needs_nothing_but_numpy_and_onnxruntime_to_give_the_golden_values(exported, small_inputs):
    (inputs,) = arrays(exported, GOLDEN_INPUTS).values()
    found = on_onnxruntime(onnx.load(exported.path / MODEL), {"images": inputs})
    assert np.array_equal(found["head.logits"], arrays(exported, GOLDEN_VALUES)["head.logits"])


def test_values_all_hashes_everything(graph, small_inputs, tmp_path):
    artifact = export(graph, "onnx", tmp_path / "out", inputs=small_inputs, values="all", runtimes=["onnxruntime", "onnx-reference"])
    assert set(json.loads(artifact.read(GOLDEN_HASHES))) == set(graph.observable)
    assert [entry.values for entry in artifact.manifest.parity] == [len(graph.observable)] * 3
    report = verify(artifact, ["onnxruntime"], values="all")
    assert [result.values for result in report.results] == [len(graph.observable)] * 3  # and the recorded hashes


def test_inline_expands_the_functions_and_is_verified_too(graph, small_inputs, tmp_path):
    artifact = export(graph, "onnx", tmp_path / "out", inputs=small_inputs, inline=True, values="all")
    assert artifact.manifest.inline
    assert not onnx.load(artifact.path / MODEL).functions
    assert not onnx.load(artifact.path / MODEL_STEP).functions
    assert [entry.runtime for entry in artifact.manifest.parity] == ["onnxruntime", STEPPED]


def test_without_verification_nothing_is_claimed_and_the_vectors_are_there(graph, small_inputs, tmp_path):
    artifact = export(graph, "onnx", tmp_path / "out", inputs=small_inputs, verify=False)
    assert artifact.manifest.parity == ()
    assert verify(artifact, ["onnxruntime"]).passed


def test_with_the_quantized_model_everything_is_compared_with_pytorch(tiny_quantized, tiny_graph, tiny_inputs, tmp_path):
    reports = []
    options = {"inputs": tiny_inputs, "values": "all", "on_report": reports.append}
    artifact = export(tiny_graph, "onnx", tmp_path / "out", model=tiny_quantized, **options)
    assert_fires(trace_of(tiny_graph, tiny_inputs))
    assert reports[0].baseline == "torch"
    assert [(entry.runtime, entry.different) for entry in artifact.manifest.parity] == [("reference", 0), ("onnxruntime", 0), (STEPPED, 0)]
    assert artifact.manifest.config["embed_dim"] == 32


def test_naming_the_baseline_among_the_runtimes_changes_nothing(graph, small_inputs, tmp_path):
    artifact = export(graph, "onnx", tmp_path / "out", inputs=small_inputs, runtimes=["reference", "onnxruntime"])
    assert [entry.runtime for entry in artifact.manifest.parity] == ["onnxruntime", STEPPED]


@pytest.mark.parametrize("runtimes", [[], ["reference"], ["reference", "torch"]])
def test_verifying_without_ever_running_the_exported_file_is_refused(graph, small_inputs, tmp_path, runtimes):
    with pytest.raises(UsageError, match=r"DS2TA-509: .*name one of: onnxruntime, onnx-reference"):
        export(graph, "onnx", tmp_path / "out", inputs=small_inputs, runtimes=runtimes)
    assert names_in(tmp_path) == []


def test_one_runtime_may_be_named_without_a_list(graph, small_inputs, tmp_path):
    artifact = export(graph, "onnx", tmp_path / "out", inputs=small_inputs, runtimes="onnx-reference")
    assert [entry.runtime for entry in artifact.manifest.parity] == ["onnx-reference"]


def test_a_graph_made_by_hand_can_be_exported(small_graph, small_inputs, tmp_path):
    assert "profile" not in small_graph.facts
    assert verify(export(small_graph, "onnx", tmp_path / "out", inputs=small_inputs)).passed


def test_event_frames_are_exported_and_verified(tmp_path):
    graph, inputs = frozen(build_small_graph(still=False)), small_inputs(still=False)
    graph = renamed_input(graph, "frames")
    assert_fires(trace_of(graph, inputs))
    artifact = export(graph, "onnx", tmp_path / "out", inputs=inputs)
    assert list(arrays(artifact, GOLDEN_INPUTS)) == ["frames"]
    assert verify(artifact).passed


def renamed_input(graph, name):
    """Return the graph with another name for its input."""
    first = dataclasses.replace(graph.ops[0], inputs=(name,))
    return dataclasses.replace(graph, input_name=name, ops=(first, *graph.ops[1:]))


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("name", ["images", "frames", "x"])
def test_whatever_is_exported_can_be_verified_from_its_own_vectors(tmp_path, name, still):
    graph = renamed_input(frozen(build_small_graph(still=still)), name)
    try:
        artifact = export(graph, "onnx", tmp_path / "out")
    except UnsupportedError:
        assert names_in(tmp_path) == []  # refusing it is as good
        return
    assert verify(artifact, ["onnxruntime"]).passed


# --- inputs ----------------------------------------------------------------------------------------------------------


def test_no_inputs_means_synthetic_ones_the_same_everywhere(graph, tmp_path):
    artifact = export(graph, "onnx", tmp_path / "out")
    (inputs,) = arrays(artifact, GOLDEN_INPUTS).values()
    assert inputs.shape == (8, 7, 5, 2)
    assert np.array_equal(inputs, default_inputs(graph))
    assert len({sample.tobytes() for sample in inputs}) == 8
    assert artifact.manifest.parity[0].samples == 8


def test_the_batch_is_not_the_first_axis_of_event_frames():
    graph = renamed_input(build_small_graph(still=False), "frames")
    assert default_inputs(graph).shape == (4, 8, 7, 5, 2)


def test_empty_inputs_are_refused(graph, small_inputs, tmp_path):
    with pytest.raises(UsageError, match="DS2TA-507"):
        export(graph, "onnx", tmp_path / "out", inputs=small_inputs[:0])
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "code"), [(lambda x: x.astype(np.int16), "DS2TA-120"), (lambda x: x[..., :1], "DS2TA-121"), (lambda x: x[0], "DS2TA-121")]
)
def test_inputs_that_do_not_fit_are_refused(graph, small_inputs, tmp_path, change, code):
    with pytest.raises(InputError, match=code):
        export(graph, "onnx", tmp_path / "out", inputs=change(small_inputs))
    assert names_in(tmp_path) == []


def test_progress_and_report_are_told(graph, small_inputs, tmp_path):
    told, reports = [], []
    export(graph, "onnx", tmp_path / "out", inputs=small_inputs, progress=told.append, on_report=reports.append)
    assert told[-1] == 5
    assert [report.passed for report in reports] == [True]


# --- the same bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inline", [False, True])
def test_twice_gives_the_same_bytes_in_every_file(small_inputs, tmp_path, monkeypatch, inline):
    export(frozen(build_small_graph()), "onnx", tmp_path / "one", inputs=small_inputs, inline=inline)
    later = time.time() + 400 * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    export(frozen(build_small_graph()), "onnx", tmp_path / "sub" / "two", inputs=small_inputs.copy(), inline=inline)
    one, two = files_of(tmp_path / "one"), files_of(tmp_path / "sub" / "two")
    assert len(one) == 8
    assert {name for name in one if one[name] != two.get(name)} == set()
    assert set(one) == set(two)


def test_no_file_names_a_place_on_this_machine(exported, tmp_path):
    for name, data in files_of(exported.path).items():
        assert str(tmp_path).encode() not in data, name
        assert str(Path.cwd()).encode() not in data, name


# --- it fails --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tampered(monkeypatch):
    """Make onnx-reference compute one integer wrong in whatever is exported."""

    def opened(name, artifact, checkpoint=None, **_options):
        honest = open_runtime(name, artifact, checkpoint)
        return Tampered(honest, "blocks.0.attn.q.spikes", (1, 2, 3, 4)) if name == "onnx-reference" else honest

    monkeypatch.setattr(exporting, "open_runtime", opened)


def failing(graph, small_inputs, out, **options):
    """Export, verified on both engines."""
    return export(graph, "onnx", out, inputs=small_inputs, runtimes=["onnx-reference", "onnxruntime"], **options)


@pytest.mark.usefixtures("tampered")
def test_one_wrong_integer_keeps_the_artifact_from_its_name(graph, small_inputs, tmp_path):
    with pytest.raises(ParityError) as caught:
        failing(graph, small_inputs, tmp_path / "out")
    assert caught.value.exit_code == 1
    difference, release = caught.value.problems
    assert (difference.code, difference.where) == ("DS2TA-301", "blocks.0.attn.q.spikes")
    assert "sample 2, time step 1, index [3, 4]" in difference.what
    assert (release.code, release.where) == ("DS2TA-303", str(tmp_path / "out.failed"))
    assert names_in(tmp_path) == ["out.failed"]


@pytest.mark.usefixtures("tampered")
def test_what_failed_can_be_looked_into(graph, small_inputs, tmp_path):
    reports = []
    with pytest.raises(ParityError):
        failing(graph, small_inputs, tmp_path / "out", on_report=reports.append)
    assert [report.passed for report in reports] == [False]
    failed = Artifact.open(tmp_path / "out.failed")
    assert [(e.runtime, e.different) for e in failed.manifest.parity] == [("tampered", 1), ("onnxruntime", 0), (STEPPED, 0)]
    assert set(files_of(failed.path)) == {MANIFEST, GRAPH, MODEL, MODEL_STEP, REPORT, GOLDEN_INPUTS, GOLDEN_VALUES, GOLDEN_HASHES}
    assert verify(failed, ["onnxruntime"]).passed


def test_an_engine_that_computes_something_else_fails_the_export(graph, small_inputs, tmp_path, monkeypatch):
    def tampered(name, artifact, checkpoint=None, **_options):
        return Tampered(open_runtime(name, artifact, checkpoint), "head.logits", (4, 2))

    monkeypatch.setattr(exporting, "open_runtime", tampered)
    with pytest.raises(ParityError, match=r"DS2TA-301 \[head\.logits\].*sample 4, index \[2\]"):
        export(graph, "onnx", tmp_path / "out", inputs=small_inputs)
    assert names_in(tmp_path) == ["out.failed"]


def test_failing_again_replaces_the_failure_and_succeeding_leaves_it(graph, small_inputs, tmp_path, tampered):
    for _ in range(2):
        with pytest.raises(ParityError):
            failing(graph, small_inputs, tmp_path / "out")
    assert names_in(tmp_path) == ["out.failed"]
    export(graph, "onnx", tmp_path / "out", inputs=small_inputs)
    assert names_in(tmp_path) == ["out", "out.failed"]


@pytest.mark.usefixtures("tampered")
def test_a_failure_is_a_failure_even_where_the_place_for_it_is_taken(graph, small_inputs, tmp_path):
    (tmp_path / "out.failed").write_text("mine")
    with pytest.raises(ParityError, match="DS2TA-303"):
        failing(graph, small_inputs, tmp_path / "out")
    assert (tmp_path / "out.failed").read_text() == "mine"
    assert "out" not in names_in(tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_an_interruption_leaves_nothing(graph, small_inputs, tmp_path, error):
    def interrupt(_done):
        assert len(names_in(tmp_path)) == 1  # staged by now
        raise error

    with pytest.raises(error):
        export(graph, "onnx", tmp_path / "out", inputs=small_inputs, progress=interrupt)
    assert names_in(tmp_path) == []


def test_a_target_that_does_not_exist(graph, tmp_path):
    with pytest.raises(UsageError, match=r"DS2TA-506: there is no target 'verilog' \(there are: onnx, lava, c, all\)"):
        export(graph, "verilog", tmp_path / "out")


def test_an_output_that_exists(graph, small_inputs, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="DS2TA-501"):
        export(graph, "onnx", tmp_path / "out", inputs=small_inputs)
    assert names_in(tmp_path / "out") == []


def test_a_graph_that_does_not_fit_the_target(graph, small_inputs, tmp_path):
    wide = {"blocks.0.mlp.fc1.weights": np.int16(2**15 - 1)}  # more bits than two synapses hold
    ops = tuple(dataclasses.replace(op, weight=op.weight.astype(np.int16) | wide[op.name]) if op.name in wide else op for op in graph)
    with pytest.raises(UnsupportedError, match="DS2TA-240"):
        export(dataclasses.replace(graph, ops=ops), "lava", tmp_path / "out", inputs=small_inputs)
    assert names_in(tmp_path) == []


def test_a_runtime_that_is_not_there(graph, small_inputs, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(MissingRuntimeError, match="DS2TA-401"):
        export(graph, "onnx", tmp_path / "out", inputs=small_inputs)
    for names in (["nothing"], ["onnxruntime", "nothing"]):
        with pytest.raises(UsageError, match="DS2TA-504"):
            export(graph, "onnx", tmp_path / "out", inputs=small_inputs, runtimes=names)
    assert names_in(tmp_path) == []


def test_a_string_is_an_output_too(graph, small_inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert export(graph, out="build/", inputs=small_inputs).path == tmp_path / "build"
    assert read_manifest(tmp_path / "build")["target"] == "onnx"
