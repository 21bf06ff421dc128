"""Runtime ``onnxruntime-native``: ONNX Runtime on the exported file, with the native library's kernels for its populations."""

from typing import Any, ClassVar

from ds2ta_deploy.artifact import MODEL
from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.populations import group
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
        _require_spikes(graph)
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


def _require_spikes(graph: Graph) -> None:
    """Raise where attention with a table may read counts: the plan takes it apart, the kernel that a node gets cannot.

    Raises:
        UnsupportedError: DS2TA-243 with every such population.

    """
    attentions = [population for population in group(graph) if any(isinstance(op, ops.Lookup) for op in population.ops)]
    counted = [
        population.name
        for population in attentions
        if any(graph.types[name].dtype == "uint8" and graph.ranges[name].maximum > 1 for name in population.inputs)
    ]
    if counted:
        raise UnsupportedError(Problem("DS2TA-243", "the kernel for attention takes counts of 1 bits", name) for name in counted)
