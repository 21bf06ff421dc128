"""Runtime ``onnxruntime-native``: ONNX Runtime on the exported file, with the native library's kernels for its populations."""

from typing import Any, ClassVar

from ds2ta_deploy.artifact import MODEL
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.plan import Plan
from ds2ta_deploy.runtimes.ort import OnnxRuntime


class OnnxNativeRuntime(OnnxRuntime):
    """Runs the file on ONNX Runtime; nodes of ``ai.ds2ta`` get our kernels instead of the bodies that the file has for them.

    The environment chooses instruction set and number of threads, as it does for the runtime ``native``.
    """

    name: ClassVar[str] = "onnxruntime-native"
    engine: ClassVar[str] = "ONNX Runtime with the native library"

    def __init__(self, data: bytes, graph: Graph, where: str = MODEL, threads: int | None = None) -> None:
        """Take the file's bytes and the graph it was exported from, and the number of threads; by default the environment's.

        Raises:
            InputError: DS2TA-160 when the bytes are no ONNX file.
            UnsupportedError: DS2TA-243 for what the library cannot run.
            MissingRuntimeError: DS2TA-405 when the library is not there.
            UsageError: DS2TA-513 for an instruction set or a number of threads that cannot be.

        """
        super().__init__(data, graph, where, threads)
        Plan(graph, 1)  # what the library cannot run is said here, not when a session is opened
        library.load()
        self.options(threads)

    @classmethod
    def options(cls, threads: int | None) -> Any:
        """Return settings of a session that knows the library's kernels, which read their own when they are registered."""
        chosen, instruction_set = library.choose_threads(threads), library.choose_instruction_set(None)
        options = super().options(chosen)
        options.add_session_config_entry("ds2ta.threads", str(chosen))
        if instruction_set is not None:
            options.add_session_config_entry("ds2ta.isa", instruction_set)
        options.register_custom_ops_library(str(library.library_path()))
        return options
