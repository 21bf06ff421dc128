"""The step form of a file, run as its network was trained: what verification compares of it."""

import numpy as np
import pytest
from builders import small_inputs, trace_of
from support import assert_all_equal

from ds2ta_deploy.exporting import export
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.ort import OnnxRuntimeStepper
from ds2ta_deploy.runtimes.reference import ReferenceStepper
from ds2ta_deploy.runtimes.stepped_file import SteppedFile, open_stepped_files


@pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
def test_every_value_of_a_still_picture_is_that_of_the_sequence(name, request):
    graph = request.getfixturevalue(name)
    form = StepForm.of(graph)
    run = SteppedFile(graph, lambda batch, wanted: ReferenceStepper(form, batch, wanted))
    expected = trace_of(graph, small_inputs())
    wanted = [name for name in graph.observable if name not in run.hidden]
    assert len(wanted) == len(graph.observable)  # what is repeated is a view
    assert_all_equal(expected, run.trace(small_inputs(), wanted))


def test_batch_after_batch_begins_anew_with_the_file_loaded_once(small_graph, tmp_path, monkeypatch):
    opened = []
    made = OnnxRuntimeStepper.__init__

    def count(self, *arguments, **options):
        opened.append(self)
        made(self, *arguments, **options)

    artifact = export(small_graph, "onnx", tmp_path / "out", verify=False)
    monkeypatch.setattr(OnnxRuntimeStepper, "__init__", count)
    (run,) = open_stepped_files("onnxruntime", artifact)
    assert run.name == "onnxruntime-steps"
    for _ in range(2):
        logits = run.trace(small_inputs(), [])["head.logits"]
        assert np.array_equal(logits, trace_of(small_graph, small_inputs())["head.logits"])
    assert len(opened) == 1


def test_only_a_file_of_its_own_is_stepped_through(small_graph, tmp_path):
    artifact = export(small_graph, "lava", tmp_path / "out", verify=False)
    assert open_stepped_files("onnxruntime", artifact) == []
    assert open_stepped_files("reference", artifact) == []
