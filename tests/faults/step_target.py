"""Adapter: faults in ``model_step.onnx``."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import onnx
from faults.catalogue import Fault, structural, tensors_of
from faults.targets import OnnxFile, Verdict
from numpy.typing import NDArray

from ds2ta_deploy.artifact import MODEL_STEP
from ds2ta_deploy.errors import Ds2taError
from ds2ta_deploy.exporters.onnx.step_model import to_onnx_step
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.ort import OnnxRuntimeStepper
from ds2ta_deploy.runtimes.stepped_file import SteppedFile


class StepFile(OnnxFile):
    """``model_step.onnx``: ONNX Runtime steps through the faulty file; the reference contradicts it."""

    name = MODEL_STEP

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The true file."""
        return onnx.load_model_from_string(self.artifact.read(MODEL_STEP))

    @property
    def tensors(self) -> dict[str, NDArray[np.integer]]:
        """Every tensor that the graph has as well: not the bias that follows the steps, nor what counts them."""
        return {place: array for place, array in super().tensors.items() if place in tensors_of(self.graph)}

    def structural(self) -> Iterator[tuple[Fault, bytes]]:
        """Yield the step form of every faulty graph that has one."""
        for fault, graph in structural(self.graph):
            try:
                yield fault, to_onnx_step(StepForm.of(graph)).SerializeToString()
            except Ds2taError:
                continue  # as for the file of all time steps

    def verify(self, data: bytes) -> Verdict:
        """Step through, compare."""
        form = StepForm.of(self.graph)
        try:
            run = SteppedFile(self.graph, lambda batch, wanted: OnnxRuntimeStepper(data, form, batch, wanted))
            trace = run.trace(self.inputs, self.graph.observable)
        except Ds2taError as error:
            return Verdict(refused=error.problems[0].code)
        return self.compare(self.graph, self.expected, trace)
