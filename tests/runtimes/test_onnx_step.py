"""The exported step form on both ONNX engines: T steps are the sequence, and a state is all there is to know."""

import pytest
from onnx import helper
from step_support import assert_resumes, assert_steps_are_the_sequence, assert_survives_kills, frames_for, run_frames
from support import one_more, read_manifest, rewrite, write_manifest

from ds2ta_deploy.artifact import MODEL_STEP, Artifact
from ds2ta_deploy.errors import InputError, ParityError, UsageError
from ds2ta_deploy.exporters.onnx.step_model import to_onnx_step
from ds2ta_deploy.exporting import export
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.onnx_reference import OnnxReferenceStepper
from ds2ta_deploy.runtimes.ort import OnnxRuntimeStepper
from ds2ta_deploy.runtimes.reference import ReferenceStepper
from ds2ta_deploy.runtimes.table import open_stepper
from ds2ta_deploy.verification import verify


def begin(stepper, *, inline=False):
    """Return what begins a run on an engine: the file is made of the step form that is asked for, once."""
    files = {}

    def made(form, batch, wanted):
        data = files.setdefault(id(form), to_onnx_step(form, inline=inline).SerializeToString(deterministic=True))
        return stepper(data, form, batch, wanted)

    return made


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
def test_steps_on_onnxruntime_are_the_sequence(name, inline, request):
    assert_steps_are_the_sequence(begin(OnnxRuntimeStepper, inline=inline), request.getfixturevalue(name))


@pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
def test_steps_on_the_reference_evaluator_are_the_sequence(name, request):
    assert_steps_are_the_sequence(begin(OnnxReferenceStepper), request.getfixturevalue(name), (1, 4))


@pytest.mark.parametrize(
    ("stepper", "name"),
    [(OnnxRuntimeStepper, "small_graph"), (OnnxRuntimeStepper, "stream_graph"), (OnnxReferenceStepper, "small_graph")],
)
def test_a_run_goes_on_from_its_state(stepper, name, request):
    assert_resumes(begin(stepper), request.getfixturevalue(name))


@pytest.mark.parametrize("name", ["spikformer-dvs", "sdt-dvs", "statten-dvs", "snn-vit-v2"])
def test_steps_of_other_families_are_the_sequence(name, family_graphs):
    assert_steps_are_the_sequence(begin(OnnxRuntimeStepper), family_graphs[name], (4, 12))


def test_the_logits_are_those_of_the_file(small_graph):
    form, frames = StepForm.of(small_graph), frames_for(small_graph, 6)
    honest = to_onnx_step(form).SerializeToString(deterministic=True)
    whole = OnnxRuntimeStepper(honest, form, 2)
    other = OnnxRuntimeStepper(one_more(honest, "head.bias_whole", 1), form, 2)
    assert other.logits().tolist() == [form.bias_over(0).tolist()] * 2  # of no step at all
    assert (run_frames(other, frames)["head.logits"] - run_frames(whole, frames)["head.logits"]).tolist() == [[0, 6, 0]] * 2
    other.begin_sum()
    run_frames(other, frames[:1])
    reference = ReferenceStepper(form, 2)
    run_frames(reference, frames)
    reference.begin_sum()
    run_frames(reference, frames[:1])
    assert (other.logits() - reference.logits()).tolist() == [[0, 1, 0]] * 2


# --- from an artifact ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["small_graph", "stream_graph"])
def artifact(request, tmp_path_factory):
    graph = request.getfixturevalue(request.param)
    return export(graph, "onnx", tmp_path_factory.mktemp("steps") / "out")


def test_a_killed_run_goes_on_from_the_disk(artifact, tmp_path):
    assert_survives_kills(["onnxruntime", "onnx-reference", "onnxruntime"], artifact, tmp_path)


def test_an_artifact_without_the_file_steps_on_other_engines_alone(small_graph, tmp_path):
    old = export(small_graph, "onnx", tmp_path / "old").path
    manifest = read_manifest(old)
    del manifest["files"][MODEL_STEP]
    write_manifest(old, manifest)
    (old / MODEL_STEP).unlink()
    with pytest.raises(InputError, match=r"DS2TA-152.*model_step\.onnx.*export again"):
        open_stepper("onnxruntime", Artifact.open(old))
    report = verify(old, ["onnxruntime"])
    assert report.passed
    assert [result.runtime for result in report.results] == ["onnxruntime", "golden"]


def test_the_native_library_has_no_step_form_of_this_file(artifact):
    with pytest.raises(UsageError, match="DS2TA-523"):
        open_stepper("onnxruntime-native", artifact)


@pytest.mark.parametrize("weight", ["patch.stages.0.weight", "head.weight", "head.bias_rest", "blocks.0.attn.k.weight"])
def test_a_changed_constant_of_the_step_form_is_found(weight, small_graph, tmp_path):
    out = export(small_graph, "onnx", tmp_path / "out").path
    rewrite(out, MODEL_STEP, one_more((out / MODEL_STEP).read_bytes(), weight, 1))
    report = verify(Artifact.open(out, allow_modified=True), ["onnxruntime"])
    assert {result.runtime: result.different > 0 for result in report.results} == {
        "onnxruntime": False,
        "onnxruntime-steps": True,
        "golden": False,
    }


def test_an_export_whose_step_form_is_wrong_fails(small_graph, tmp_path, monkeypatch):
    made = OnnxRuntimeStepper._advance

    def forgets(self, frames):
        values = made(self, frames)
        self._state["blocks.0.mlp.fc1.carried"][:] = 0
        return values

    monkeypatch.setattr(OnnxRuntimeStepper, "_advance", forgets)
    with pytest.raises(ParityError, match="onnxruntime-steps computes"):
        export(small_graph, "onnx", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out.failed"]


# --- a file that is not ours -----------------------------------------------------------------------------------------


def changed(form, change):
    """Return the step form's file, changed."""
    model = to_onnx_step(form)
    change(model)
    return model.SerializeToString()


def test_a_state_of_another_shape_is_refused(small_graph):
    form = StepForm.of(small_graph)

    def double(model):
        """Hand out a sum of twice the samples."""
        model.graph.node.append(helper.make_node("Concat", ["next.head.total"] * 2, ["twice"], axis=0))
        model.graph.node.append(helper.make_node("Identity", ["twice"], ["next.head.other"]))
        for node in model.graph.node:
            for index, name in enumerate(node.output):
                node.output[index] = {"next.head.total": "inner", "next.head.other": "next.head.total"}.get(name, name)
            for index, name in enumerate(node.input):
                node.input[index] = "inner" if name == "next.head.total" else name

    run = OnnxRuntimeStepper(changed(form, double), form, 2)
    with pytest.raises(InputError, match=r"DS2TA-161.*next\.head\.total"):
        run.step(frames_for(small_graph, 1)[0])
    assert (run.taken, run.summed) == (0, 0)


@pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
def test_a_value_that_the_file_does_not_make_is_refused(name, request):
    form = StepForm.of(request.getfixturevalue(name))
    value = next(op.outputs[0] for op in form.block if isinstance(op, ops.Add))

    def rename(model):
        branches = [attribute.g for node in model.graph.node for attribute in node.attribute if attribute.HasField("g")]
        for node in (node for body in (model.graph, *branches) for node in body.node):
            for names in (node.input, node.output):
                for index, read in enumerate(names):
                    names[index] = "elsewhere" if read == value else read

    with pytest.raises(InputError, match=f"DS2TA-161.*{value}"):
        OnnxRuntimeStepper(changed(form, rename), form, 2, [value])


def test_an_output_that_is_not_there_is_refused(small_graph):
    form = StepForm.of(small_graph)

    def drop(model):
        del model.graph.output[1]

    with pytest.raises(InputError, match="DS2TA-161"):
        OnnxRuntimeStepper(changed(form, drop), form, 2).step(frames_for(small_graph, 1)[0])
