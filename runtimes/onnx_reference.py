"""Runtime ``onnx-reference``: onnx's own ReferenceEvaluator on the exported file, a second opinion in Python."""

from collections.abc import Sequence
from typing import Any, ClassVar

import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from ds2ta_deploy.runtimes.onnx_file import OnnxFileRuntime, Session
from ds2ta_deploy.runtimes.onnx_step import OnnxStepper


class OnnxReferenceRuntime(OnnxFileRuntime):
    """Evaluates the file node by node in NumPy."""

    name: ClassVar[str] = "onnx-reference"
    engine: ClassVar[str] = "onnx's ReferenceEvaluator"

    @classmethod
    def load(cls, model: onnx.ModelProto, threads: int | None = None) -> Session:
        """Make an evaluator."""
        evaluator = ReferenceEvaluator(model)

        def run(outputs: list[str], feeds: dict[str, NDArray[Any]]) -> Sequence[Any]:
            return list(evaluator.run(outputs, feeds))

        return run


class OnnxReferenceStepper(OnnxStepper):
    """Evaluates the step form node by node in NumPy."""

    name: ClassVar[str] = OnnxReferenceRuntime.name
    runtime: ClassVar[type[OnnxFileRuntime]] = OnnxReferenceRuntime
