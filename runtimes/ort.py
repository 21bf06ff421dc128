"""Runtime ``onnxruntime``: stock ONNX Runtime on the exported file."""

from collections.abc import Sequence
from typing import Any, ClassVar

import onnx
import onnxruntime
from numpy.typing import NDArray

from ds2ta_deploy.runtimes.onnx_file import OnnxFileRuntime, Session
from ds2ta_deploy.runtimes.onnx_step import OnnxStepper

#: What goes wrong is said in our words, not beside them.
_FATAL_ONLY = 4


class OnnxRuntime(OnnxFileRuntime):
    """Runs the file on ONNX Runtime's CPU provider."""

    name: ClassVar[str] = "onnxruntime"
    engine: ClassVar[str] = "ONNX Runtime"

    @classmethod
    def load(cls, model: onnx.ModelProto, threads: int | None = None) -> Session:
        """Open a session."""
        options = cls.options(threads)
        options.log_severity_level = _FATAL_ONLY
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

        def run(outputs: list[str], feeds: dict[str, NDArray[Any]]) -> Sequence[Any]:
            values: Sequence[Any] = session.run(outputs, feeds)
            return values

        return run

    @classmethod
    def options(cls, threads: int | None) -> Any:
        """Return the settings of a new session; None leaves the number of threads to ONNX Runtime."""
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        return options


class OnnxRuntimeStepper(OnnxStepper):
    """Runs the step form on ONNX Runtime's CPU provider."""

    name: ClassVar[str] = OnnxRuntime.name
    runtime: ClassVar[type[OnnxFileRuntime]] = OnnxRuntime
