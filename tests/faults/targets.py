"""Adapters: how a fault gets into the file of a target, and what verification says of the file.

A new target needs one class: its tensors by ``<op>/<field>`` in the layout of the graph, its file with one of them
replaced, its structural faults, and how its engine runs a file.
"""

import ctypes
import dataclasses
import io
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
from faults.catalogue import MORE_THAN, TOWARD_ZERO, Fault, structural, tensors_of, with_fields
from faults.onnx_nodes import membrane_behind, node_faults, shifts_nothing
from faults.reasons import equivalent, leaks_whole, unexcited
from numpy.typing import NDArray
from onnx import numpy_helper

from ds2ta_deploy.artifact import GOLDEN_HASHES, MODEL, Artifact
from ds2ta_deploy.c_code import model
from ds2ta_deploy.c_code.program import Program, as_read, build_program
from ds2ta_deploy.datasets import npz_bytes
from ds2ta_deploy.errors import Ds2taError
from ds2ta_deploy.exporters.lava import to_lava
from ds2ta_deploy.exporters.lava.ds2ta_lava import stepper
from ds2ta_deploy.exporters.lava.ds2ta_lava.arithmetic import NetworkError
from ds2ta_deploy.exporters.lava.ds2ta_lava.network import read_network
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.graph import ops, serialize
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.populations import group
from ds2ta_deploy.graph.products import PLANE_BITS
from ds2ta_deploy.graph.ranges import profile_of, prove
from ds2ta_deploy.parity import compare_runtimes
from ds2ta_deploy.runtimes.base import Runtime, Trace
from ds2ta_deploy.runtimes.c_program import CRuntime
from ds2ta_deploy.runtimes.ort import OnnxRuntime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.verification import Values, golden_inputs, wanted_values

#: Name of the process graph among the tensors.
STRUCTURE = "graph.json"


@dataclass(frozen=True)
class Verdict:
    """What verification says of a file: an error before anything ran, or differences."""

    refused: str = ""
    populations: bool = False
    all: bool = False

    def caught(self, values: Values) -> bool:
        """Whether the fault is noticed when these values are compared."""
        return bool(self.refused) or (self.all if values == "all" else self.populations)


class Recorded(Runtime):
    """A runtime that has run already: hundreds of comparisons share what does not change between them."""

    def __init__(self, name: str, trace: Trace, graph: Graph, samples: int) -> None:
        self.label, self.values, self.samples, self.done = name, trace, samples, 0
        self.axes = {name: kind.shape.index(None) for name, kind in graph.types.items()}
        self.axis = self.axes[graph.input_name]

    @property
    def name(self) -> str:
        """Name of the runtime that was recorded."""
        return self.label

    def trace(self, inputs: NDArray[np.uint8], wanted: Sequence[str]) -> Trace:
        """Return what was recorded for the next samples."""
        batch = range(self.done, self.done + inputs.shape[self.axis])
        self.done = batch.stop % self.samples
        return {name: self.values[name].take(batch, self.axes[name]) for name in wanted if name in self.values}


class Target(ABC):
    """One file of an artifact, to be changed and verified with the hashes left unchecked."""

    name: ClassVar[str]
    runtime: ClassVar[str] = "onnxruntime"

    def __init__(self, artifact: Artifact, inputs: NDArray[np.uint8] | None = None) -> None:
        self.artifact, self.graph = artifact, artifact.graph
        self.inputs = golden_inputs(artifact) if inputs is None else inputs
        self.golden = artifact.read_json(GOLDEN_HASHES, dict[str, str]) if inputs is None else None

    @cached_property
    def expected(self) -> Trace:
        """What the true graph computes."""
        return ReferenceRuntime(self.graph).trace(self.inputs, self.graph.observable)

    @cached_property
    def exported(self) -> Trace:
        """What the true exported file computes."""
        return OnnxRuntime.from_artifact(self.artifact).trace(self.inputs, self.graph.observable)

    @property
    @abstractmethod
    def tensors(self) -> dict[str, NDArray[np.integer]]:
        """Every tensor of the file by ``<op>/<field>``, in the graph's layout."""

    @abstractmethod
    def with_tensor(self, place: str, array: NDArray[np.integer]) -> bytes:
        """Return the file with one tensor replaced."""

    @abstractmethod
    def structural(self) -> Iterator[tuple[Fault, bytes]]:
        """Yield the structural faults that the file can express."""

    @abstractmethod
    def verify(self, data: bytes) -> Verdict:
        """Say what ``ds2ta verify --allow-modified`` finds if the file is this."""

    def write(self, data: bytes, artifact: Path) -> None:
        """Put the file into an artifact's directory."""
        (artifact / self.name).write_bytes(data)

    def equivalent(self, fault: Fault) -> str | None:
        """Return why the fault changes no spike, count or logit for any input; None when that is not proved."""
        return equivalent(self.graph, fault)

    def unexcited(self, fault: Fault) -> str | None:
        """Return why the golden inputs cannot show the fault; None when they could."""
        return unexcited(self.graph, self.expected, self.inputs, fault)

    def compare(self, graph: Graph, baseline: Trace, other: Trace) -> Verdict:
        """Compare as verification does, once for each choice of values."""
        samples = self.inputs.shape[graph.input_type.shape.index(None)]
        runtimes = [Recorded(name, trace, graph, samples) for name, trace in (("reference", baseline), ("onnxruntime", other))]
        found = {}
        for values in ("populations", "all"):
            wanted = wanted_values(graph, values)  # type: ignore[arg-type]
            report = compare_runtimes(graph, self.inputs, runtimes[0], runtimes[1:], wanted, golden=self.golden)
            found[values] = not report.passed
        return Verdict(populations=found["populations"], all=found["all"])


class GraphFile(Target):
    """``graph.safetensors``: the reference runs the faulty graph; ONNX Runtime and the recorded hashes contradict it."""

    name = "graph.safetensors"

    @property
    def tensors(self) -> dict[str, NDArray[np.integer]]:
        """Every tensor of the graph."""
        return tensors_of(self.graph)

    def with_tensor(self, place: str, array: NDArray[np.integer]) -> bytes:
        """Replace it."""
        name, field = place.split("/")
        return serialize.to_bytes(with_fields(self.graph, name, **{field: array}))

    def structural(self) -> Iterator[tuple[Fault, bytes]]:
        """Yield all that a graph can express."""
        for fault, graph in structural(self.graph):
            yield fault, serialize.to_bytes(graph)

    def verify(self, data: bytes) -> Verdict:
        """Read, prove, run, compare."""
        try:
            graph = serialize.from_bytes(data)
            prove(graph, profile_of(graph))
            trace = ReferenceRuntime(graph).trace(self.inputs, graph.observable)
        except Ds2taError as error:
            return Verdict(refused=error.problems[0].code)
        return self.compare(graph, trace, self.exported)


class OnnxFile(Target):
    """``model.onnx``: ONNX Runtime runs the faulty file; the reference contradicts it."""

    name = "model.onnx"

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The true file."""
        return onnx.load_model_from_string(self.artifact.read(MODEL))

    @cached_property
    def initializers(self) -> dict[str, NDArray[np.integer]]:
        """The file's arrays, in its own layout."""
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}

    @cached_property
    def names(self) -> dict[str, str]:
        """``<op>/<field>`` -> name of the initializer; those that the graph has not are under their own name."""
        names = {
            f"{op.name}/{field}": name
            for population in group(self.graph)
            for op in population.ops
            for field in op.ARRAYS
            for name in (f"{population.name}.{field}", f"{op.name}.{field}")
            if name in self.initializers
        }
        return names | {"/".join(name.rsplit(".", 1)): name for name in self.initializers if name not in names.values()}

    @property
    def tensors(self) -> dict[str, NDArray[np.integer]]:
        """Every initializer, weights turned back from ``[in, out]``."""
        known = tensors_of(self.graph)
        return {place: known.get(place, self.initializers[name]) for place, name in self.names.items()}

    def with_tensor(self, place: str, array: NDArray[np.integer]) -> bytes:
        """Replace it."""
        name = self.names[place]
        own = array.reshape(len(array), -1).T if place.endswith("/weight") else array.reshape(self.initializers[name].shape)
        changed = onnx.ModelProto()
        changed.CopyFrom(self.model)
        (tensor,) = [tensor for tensor in changed.graph.initializer if tensor.name == name]
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(own), name))
        return changed.SerializeToString()

    def structural(self) -> Iterator[tuple[Fault, bytes]]:
        """Yield the file of every faulty graph that has one, then what only a file can express."""
        for fault, graph in structural(self.graph):
            try:
                yield fault, to_onnx(graph, inline=self.artifact.manifest.inline).SerializeToString()
            except Ds2taError:
                continue  # such a file cannot be written, so no file has this fault
        yield from node_faults(self.model)

    def equivalent(self, fault: Fault) -> str | None:
        """Know the file's nodes and types too."""
        if fault.index and fault.place in self.tensors:
            return self._same_in_the_file(fault) or super().equivalent(fault)
        if fault.kind != TOWARD_ZERO:
            return super().equivalent(fault)
        if shifts_nothing(self.model, fault):
            return "the shift is by no bit wherever it is done"
        neuron, step = self._neuron(fault)
        return "the membrane is even, by proof" if neuron is not None and leaks_whole(self.graph, neuron, step) else None

    def _same_in_the_file(self, fault: Fault) -> str | None:
        """Return why the file computes the same with one of its integers changed, whatever the graph would."""
        old, op = int(self.tensors[fault.place][fault.index]), next(op for op in self.graph if op.name == fault.op)
        if fault.field == "weight" and self.tensors[fault.place].dtype == np.int16 and (fault.value - old) % 2 ** (PLANE_BITS + 8) == 0:
            return "the int8 plane of a 16-bit weight drops the bit"
        if fault.field == "shape" and old == 0 and fault.value == self.graph.types[op.outputs[0]].shape[fault.index[0]]:
            return "0 stands for the size that is given"
        return None

    def unexcited(self, fault: Fault) -> str | None:
        """Know the file's nodes too."""
        neuron, step = self._neuron(fault)
        if neuron is None:
            return super().unexcited(fault)
        membrane, threshold = self.expected[neuron.outputs[1]][step].astype(np.int64), neuron.threshold
        if fault.kind == MORE_THAN:
            return None if (membrane == threshold).any() else "no membrane met is at its threshold in this step"
        kept = membrane[membrane < threshold] * neuron.leak_numerator
        return None if ((kept < 0) & (kept % 2**neuron.leak_shift != 0)).any() else "no membrane met is negative and odd in this step"

    def _neuron(self, fault: Fault) -> tuple[ops.Lif | None, int]:
        """Return the neuron and the time step of a faulty node."""
        found = membrane_behind(self.model, fault) if fault.kind in (MORE_THAN, TOWARD_ZERO) and ": " in fault.place else None
        name, step = found or ("", 0)
        return next((op for op in self.graph if isinstance(op, ops.Lif) and op.outputs[1] == name), None), step

    def verify(self, data: bytes) -> Verdict:
        """Run, compare."""
        try:
            trace = OnnxRuntime(data, self.graph).trace(self.inputs, self.graph.observable)
        except Ds2taError as error:
            return Verdict(refused=error.problems[0].code)
        return self.compare(self.graph, self.expected, trace)


class LavaGraph(Target):
    """``lava/graph.json`` and ``tensors.npz``, here in one archive: the NumPy stepper runs them; the reference contradicts it."""

    name = "lava"
    runtime = "lava-stepper"

    @cached_property
    def exported(self) -> Trace:
        """What the true files compute."""
        return self._run(self.pack(self.graph))

    @property
    def tensors(self) -> dict[str, NDArray[np.integer]]:
        """Every tensor, which has the graph's name and layout."""
        return tensors_of(self.graph)

    def pack(self, graph: Graph) -> bytes:
        """Put the two files of an export into one archive."""
        files = to_lava(graph)
        with np.load(io.BytesIO(files["lava/tensors.npz"])) as archive:
            return npz_bytes({**archive, STRUCTURE: np.frombuffer(files["lava/graph.json"], np.uint8)})

    def unpack(self, data: bytes, directory: Path) -> None:
        """Write the archive as the two files."""
        with np.load(io.BytesIO(data)) as archive:
            tensors = dict(archive)
        (directory / "graph.json").write_bytes(tensors.pop(STRUCTURE).tobytes())
        (directory / "tensors.npz").write_bytes(npz_bytes(tensors))

    def write(self, data: bytes, artifact: Path) -> None:
        """Put both files where they were."""
        self.unpack(data, artifact / "lava")

    def with_tensor(self, place: str, array: NDArray[np.integer]) -> bytes:
        """Replace it."""
        with np.load(io.BytesIO(self.pack(self.graph))) as archive:
            return npz_bytes({**archive, place: array})

    def structural(self) -> Iterator[tuple[Fault, bytes]]:
        """Yield the files of every faulty graph that has some."""
        for fault, graph in structural(self.graph):
            try:
                yield fault, self.pack(graph)
            except Ds2taError:
                continue  # such files cannot be written, so none has this fault

    def verify(self, data: bytes) -> Verdict:
        """Step, compare."""
        try:
            trace = self._run(data)
        except (NetworkError, ArithmeticError, IndexError) as error:
            return Verdict(refused=type(error).__name__)
        return self.compare(self.graph, self.expected, trace)

    def _run(self, data: bytes) -> Trace:
        with tempfile.TemporaryDirectory() as folder:
            self.unpack(data, Path(folder))
            return stepper.run(read_network(Path(folder)), self.inputs, self.graph.observable)


class CFile(Target):
    """``c/model_data.c``: the compiled code runs faulty constants; the reference contradicts it.

    Verification compiles a file for each run. Here it is compiled once, its constants writable, and their numbers are put in.
    """

    name = "c/model_data.c"
    runtime = "c"

    @cached_property
    def program(self) -> Program:
        """The plan of the true code."""
        return build_program(self.graph)

    @cached_property
    def engine(self) -> CRuntime:
        """The true code, its constants writable."""
        return CRuntime(self.graph, flags=["-Dconst="])

    @property
    def tensors(self) -> dict[str, NDArray[np.integer]]:
        """Every tensor of the graph."""
        return tensors_of(self.graph)

    def with_tensor(self, place: str, array: NDArray[np.integer]) -> bytes:
        """Write the file with other numbers; whether they still fit the proof nobody asks."""
        name, field = place.split("/")
        op = next(op for op in with_fields(self.graph, name, **{field: array}) if op.name == name)
        other = dataclasses.replace(self.program)
        vars(other)["constants"] = {**self.program.constants, self.program.constant(op, field): as_read(op, field)}
        return model.data(other).encode()

    def structural(self) -> Iterator[tuple[Fault, bytes]]:
        """Yield nothing: code of another structure is not run at all."""
        yield from ()

    def verify(self, data: bytes) -> Verdict:
        """Put the file's numbers in, run, compare."""
        library, found = self.engine.library, {}
        for name, numbers in re.findall(r"^const \w+ (\w+)\[\d+\] = \{\n([^}]*)\};", data.decode(), re.MULTILINE):
            plain = numbers.replace("(-2147483647 - 1)", str(-(2**31)))
            found[name] = np.array([int(number) for number in plain.split(",")[:-1]], self.program.constants[name].dtype)
        assert found.keys() == self.program.constants.keys()
        for name, numbers in found.items():
            ctypes.memmove(ctypes.byref(ctypes.c_char.in_dll(library, name)), numbers.ctypes.data, numbers.nbytes)
        return self.compare(self.graph, self.expected, self.engine.trace(self.inputs, self.graph.observable))


TARGETS: tuple[type[Target], ...] = (GraphFile, OnnxFile, LavaGraph)
