"""Runtime ``onnxruntime-native``: ONNX Runtime on the exported file, with the native library's kernels for its populations."""

from typing import Any, ClassVar

from ds2ta_deploy.artifact import MODEL
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.runtime import _threads
from ds2ta_deploy.runtimes.ort import OnnxRuntime


class OnnxNativeRuntime(OnnxRuntime):
    """Runs the file on ONNX Runtime; nodes of ``ai.ds2ta`` get our kernels instead of the bodies that the file has for them."""

    name: ClassVar[str] = "onnxruntime-native"
    engine: ClassVar[str] = "ONNX Runtime with the native library"

    def __init__(
        self, data: bytes, graph: Graph, where: str = MODEL, threads: int | None = None, instruction_set: str | None = None
    ) -> None:
        """Take the file's bytes, the graph it was exported from, and how the kernels shall run.

        Args:
            data: the file.
            graph: what it was exported from.
            where: its name, for errors.
            threads: how many threads share the work of one call; by default what the environment variable says, or one.
            instruction_set: whose kernels to run; by default what the environment variable says, or the best that work here.

        Raises:
            InputError: DS2TA-160 when the bytes are no ONNX file.
            MissingRuntimeError: DS2TA-405 when the library is not there.
            UsageError: DS2TA-512 for an instruction set or a number of threads that cannot be.

        """
        super().__init__(data, graph, where)
        library.load()
        self._threads = _threads() if threads is None else threads
        self._instruction_set = instruction_set or library.chosen_instruction_set()

    def options(self) -> Any:
        """Return settings of a session that knows the library's kernels; they read theirs when they are registered."""
        options = super().options()
        options.intra_op_num_threads = self._threads
        options.add_session_config_entry("ds2ta.threads", str(self._threads))
        if self._instruction_set:
            options.add_session_config_entry("ds2ta.isa", self._instruction_set)
        options.register_custom_ops_library(str(library.library_path()))
        return options
