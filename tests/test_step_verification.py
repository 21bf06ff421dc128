"""``verify --steps``: the step form of every engine against the sequence of as many steps."""

import numpy as np
import pytest

from ds2ta_deploy.errors import UsageError
from ds2ta_deploy.exporting import export
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.stepping import StepForm, over_frames
from ds2ta_deploy.parity import compare_runtimes
from ds2ta_deploy.runtimes.reference import ReferenceRuntime, ReferenceStepper
from ds2ta_deploy.runtimes.stepped import SteppedRuntime
from ds2ta_deploy.step_verification import able_runtimes, frames_of, verify_steps


@pytest.fixture(scope="module")
def artifact(small_graph, tmp_path_factory):
    return export(small_graph, target="lava", out=tmp_path_factory.mktemp("steps") / "out", runtimes=["lava-stepper"])


def test_every_engine_steps_as_the_sequence_runs(artifact):
    reports = verify_steps(artifact, [1, 6])
    assert list(reports) == [1, 6]
    for report in reports.values():
        assert report.passed
        assert {"reference", "lava-stepper"} <= {result.runtime for result in report.results}
        assert all(result.integers > 1000 for result in report.results)
    assert not reports[6].silent


def test_only_engines_with_a_step_form(artifact):
    with pytest.raises(UsageError, match="DS2TA-523"):
        verify_steps(artifact, [2], ["torch"])
    assert "lava" not in able_runtimes("lava")


@pytest.mark.parametrize("steps", [[0], [-1], [10**9], []])
def test_numbers_of_steps_that_cannot_be(artifact, steps):
    with pytest.raises(UsageError, match="DS2TA-524"):
        verify_steps(artifact, steps)


def test_chunks_ask_for_whole_ones(stream_graph, tmp_path):
    made = export(stream_graph, target="lava", out=tmp_path / "out", runtimes=["lava-stepper"])
    with pytest.raises(UsageError, match=r"DS2TA-524.*1\.\.4 and a multiple of 2"):
        verify_steps(made, [3])
    assert verify_steps(made, [4], "lava-stepper")[4].passed


def test_a_step_form_that_forgets_is_found(small_graph, small_inputs):
    """A fault: a neuron whose membrane is lost between two steps."""

    class Forgetful(ReferenceStepper):
        def _advance(self, frames):
            made = super()._advance(frames)
            lost = next(op.name for op in self.form.block if isinstance(op, ops.Lif))
            self._state[f"{lost}.carried"] = np.zeros_like(self._state[f"{lost}.carried"])
            return made

    form, sequence = StepForm.of(small_graph), over_frames(small_graph, 4)
    faulty = SteppedRuntime.named("faulty")(sequence, lambda batch, wanted: Forgetful(form, batch, wanted))
    frames = frames_of(small_inputs, small_graph, 4)
    report = compare_runtimes(sequence, frames, ReferenceRuntime(sequence), [faulty], sequence.observable)
    assert not report.passed
    assert report.results[0].first.step == 1
