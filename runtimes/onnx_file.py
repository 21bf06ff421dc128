"""What the runtimes of an exported ONNX file have in common: parsing it and bringing out its inner values."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ds2ta_deploy.artifact import MODEL, Artifact
from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.runtimes.base import Part, Runtime, Trace, require_known
from ds2ta_deploy.runtimes.onnx_part import cut_out, value_info
from ds2ta_deploy.runtimes.onnx_structure import require_exported

#: Runs a loaded file: names of outputs, name -> input array.
Session = Callable[[list[str], dict[str, NDArray[Any]]], Sequence[Any]]


class OnnxFileRuntime(Runtime):
    """Runs ``model.onnx``; inner values are exposed on demand, one session for each set of them."""

    engine: ClassVar[str]

    def __init__(self, data: bytes, graph: Graph, where: str = MODEL, threads: int | None = None) -> None:
        """Take the file's bytes and the graph it was exported from; the engine uses so many threads, where it can choose.

        Raises:
            InputError: DS2TA-160 when the bytes are no ONNX file, DS2TA-164 when it holds what no exported file does.

        """
        self._model = parse(data, where)
        self._graph = graph
        self._where = where
        self._threads = threads
        self._sessions: dict[tuple[str, ...], tuple[Session, list[str]]] = {}

    @classmethod
    def from_artifact(cls, artifact: Artifact, threads: int | None = None) -> Self:
        """Open the artifact's model."""
        return cls(artifact.read(MODEL), artifact.graph, str(artifact.path / MODEL), threads)

    @classmethod
    @abstractmethod
    def load(cls, model: onnx.ModelProto, threads: int | None = None) -> Session:
        """Load a model into the engine."""

    def trace(self, inputs: NDArray[np.uint8], wanted: Sequence[str]) -> Trace:
        """Run the file.

        Raises:
            InputError: DS2TA-120 or 121 for inputs that do not fit; DS2TA-161 when the engine cannot load or
                run the file.
            UsageError: DS2TA-505 when a wanted name is no value of the network.

        """
        self._graph.check_input(inputs)
        require_known(self._graph, wanted)
        key = tuple(wanted)
        try:
            if key not in self._sessions:
                model, outputs = expose(self._model, self._graph, wanted)
                self._sessions[key] = self.load(model, self._threads), outputs
            session, outputs = self._sessions[key]
            values = session(outputs, {self._graph.input_name: inputs})
        except Exception as error:  # engines raise types of their own, and whatever Python raises
            raise self.refused(error, self._where) from error
        if self._graph.output not in outputs:
            raise InputError(Problem("DS2TA-161", f"it has no output {self._graph.output!r}", self._where))
        return {name: np.asarray(value) for name, value in zip(outputs, values, strict=True)}

    def isolate(self, value: str, known: Collection[str]) -> Part | None:
        """Cut the nodes that make the value out of the file, its functions expanded."""
        return cut_out(expose(self._model, self._graph, self._graph.observable)[0], self._graph, value, known)

    @classmethod
    def run_part(cls, part: bytes, given: Trace, value: str, where: str = "part") -> NDArray[np.integer]:
        """Run a part that :meth:`isolate` cut out.

        Raises:
            InputError: DS2TA-160 or 164 when it is no such ONNX file, 161 when the engine cannot load or run it.

        """
        model = parse(part, where)
        try:
            (made,) = cls.load(model)([value], dict(given))
        except Exception as error:  # as above
            raise cls.refused(error, where) from error
        return np.asarray(made)

    @classmethod
    def refused(cls, error: Exception, where: str) -> InputError:
        """Say in our words what the engine raised (DS2TA-161)."""
        return InputError(Problem("DS2TA-161", f"{cls.engine} cannot run it: {' '.join(str(error).split())}", where))


def parse(data: bytes, where: str, *, steps: bool = False) -> onnx.ModelProto:
    """Read a file, of all time steps or step by step.

    Raises:
        InputError: DS2TA-160 when the bytes are no ONNX file, DS2TA-164 when it holds what no exported file does.

    """
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise InputError(Problem("DS2TA-160", f"is not an ONNX file: {error}", where)) from error
    require_exported(model, where, steps=steps)
    return model


def expose(model: onnx.ModelProto, graph: Graph, wanted: Sequence[str]) -> tuple[onnx.ModelProto, list[str]]:
    """Return a copy whose outputs are the file's own and the wanted values, and the outputs' names.

    A population's further values are outputs of its function that the file leaves unnamed; the name
    ``<population>.<function output>`` brings them out.
    """
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    made = name_values(exposed, exposed.graph, wanted)
    outputs = [output.name for output in exposed.graph.output]
    for name in wanted:
        if name in made and name not in outputs:
            exposed.graph.output.append(value_info(name, graph.types[name]))
            outputs.append(name)
    return exposed, outputs


def name_values(model: onnx.ModelProto, body: onnx.GraphProto, wanted: Sequence[str]) -> set[str]:
    """Name the wanted values that the nodes of a body leave unnamed, in place; return the names of all that they make."""
    functions = {(function.domain, function.name): function for function in model.functions}
    names, made = set(wanted), set[str]()
    for node in body.node:
        function = functions.get((node.domain, node.op_type))
        if function is not None and node.output:
            population = node.output[0].rsplit(".", 1)[0]
            for index, formal in enumerate(function.output[: len(node.output)]):
                if not node.output[index] and f"{population}.{formal}" in names:
                    node.output[index] = f"{population}.{formal}"
        made.update(node.output)
    return made
