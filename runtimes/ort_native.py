"""Runtime ``onnxruntime-native``: ONNX Runtime on the exported file, with the native library's kernels for its populations."""

import re
from typing import Any, ClassVar

from ds2ta_deploy.artifact import MODEL
from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ranges import PROFILES, prove
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.onnx_structure import FUNCTIONS
from ds2ta_deploy.runtimes.ort import OnnxRuntime

#: Functions that the library has a kernel for.
KERNELS = frozenset(
    [
        "EncodingConv2d",
        "EncodingLinear",
        "Readout",
        "SpikeMaxPool2d",
        "SpikingAttention",
        "SpikingConv2d",
        "SpikingLinear",
        "TemporalSpikingConv2d",
        "TemporalSpikingLinear",
    ]
)

#: Time steps that a kernel runs, at most.
MOST_STEPS = 64

#: What the second body of a name, and every further one, has behind it.
_NUMBER = re.compile(r"_[0-9]+$")


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
            UnsupportedError: DS2TA-220 or 221 for what 32 bits or a table cannot hold, DS2TA-243 for what a kernel cannot run.
            MissingRuntimeError: DS2TA-405 when the library is not there.
            UsageError: DS2TA-513 for an instruction set or a number of threads that cannot be.

        """
        super().__init__(data, graph, where, threads)
        self._require_runnable()
        library.load()
        self.options(threads)

    def _require_runnable(self) -> None:
        """Say now, not at the first call, what a kernel cannot run; what has no kernel is computed by its body."""
        prove(self._graph, PROFILES["cpu"])
        problems = []
        for node in self._model.graph.node:
            if node.domain != FUNCTIONS or _NUMBER.sub("", node.op_type) not in KERNELS:
                continue
            steps = max((self._graph.types[name].shape[0] or 1 for name in node.output if name in self._graph.types), default=1)
            if steps > MOST_STEPS and node.output[0] != self._graph.output:
                problems.append(Problem("DS2TA-243", f"the native library's kernels run at most {MOST_STEPS} time steps", node.name))
            read = [self._graph.ranges[name].maximum for name in node.input[:3] if name in self._graph.ranges]
            if _NUMBER.sub("", node.op_type) == "SpikingAttention" and max(read, default=0) > 1:
                what = f"the native library's attention takes spikes; here are counts up to {max(read)}"
                problems.append(Problem("DS2TA-243", what, node.name, "use the runtime onnxruntime"))
        if problems:
            raise UnsupportedError(problems)

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
