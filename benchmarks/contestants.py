"""Those who run a network: each is a function from pictures to logits, with the logits that it must give."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from benchmarks.float_model import float_model
from benchmarks.float_onnx import float_onnx
from benchmarks.networks import Grid, Network
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.graph.ranges import beyond_float32
from ds2ta_deploy.runtimes.table import RUNTIMES, open_runtime

Pictures = NDArray[np.uint8]
Run = Callable[[Pictures], NDArray[Any]]

#: What the ratios are made of.
NATIVE, NATIVE_6 = "native, 8-bit weights", "native, 6-bit weights"
TORCH, TORCH_NORMS, TORCH_COMPILED = "PyTorch eager fp32", "PyTorch eager fp32, norms not folded", "torch.compile fp32"
ORT_FLOAT, ORT_INTEGER = "ONNX Runtime fp32", "ONNX Runtime, integers"
ORT_NATIVE, ORT_NATIVE_6 = "ONNX Runtime, native kernels, 8-bit", "ONNX Runtime, native kernels, 6-bit"
OPENVINO_FLOAT, OPENVINO_INTEGER = "OpenVINO fp32", "OpenVINO, integers"


@dataclass
class Contestant:
    """One who runs the network.

    Attributes:
        name: for people.
        run: pictures -> logits.
        expected: int32 ``[pictures, classes]`` of the graph that it computes.
        exact: whether every logit must be equal; otherwise, in float32 that may not hold every number, the largest.
        equal: whether every logit was equal, once checked.
        seconds: what its timed calls took by the clock on the wall.
        processor_seconds: what they took of the processors, all threads together; other programs do not disturb it.

    """

    name: str
    run: Run
    expected: NDArray[np.integer]
    exact: bool
    equal: bool = True
    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)

    def check(self, pictures: Pictures, samples: NDArray[np.intp]) -> str:
        """Run and say what is wrong with the logits; empty when nothing is."""
        found, expected = self.run(pictures), self.expected[samples]
        self.equal = self.equal and np.array_equal(found, expected)
        if self.exact and not self.equal:
            return f"{self.name}: {int((np.asarray(found) != expected).sum())} of {expected.size} logits differ"
        if not np.array_equal(found.argmax(axis=1), expected.argmax(axis=1)):
            return f"{self.name}: another class"
        return ""


def contestants(network: Network, batch: int, threads: int, *, compiled: bool) -> Iterator[Contestant]:
    """Open all that can run here.

    Args:
        network: what to run.
        batch: samples in a call; engines that gain from knowing it are told.
        threads: how many threads each may use; PyTorch's number is set for the whole process.
        compiled: torch.compile takes part, which compiles for a minute.

    """
    eight, six = network.grids[8], network.grids[6]
    graph = eight.artifact.graph
    exact = not beyond_float32(graph)

    def float_contestant(name: str, run: Run) -> Contestant:
        return Contestant(name, run, eight.logits, exact)

    torch.set_num_threads(threads)
    folded = float_model(eight.model, norms=False)
    yield float_contestant(TORCH, _torch(folded))
    yield float_contestant(TORCH_NORMS, _torch(float_model(eight.model, norms=True)))
    if compiled:
        yield float_contestant(TORCH_COMPILED, _torch(torch.compile(folded)))
    yield float_contestant(ORT_FLOAT, _onnxruntime(float_onnx(graph), batch, threads))
    yield _own(ORT_INTEGER, "onnxruntime", eight, threads)
    if importlib.util.find_spec("openvino") is not None:
        yield float_contestant(OPENVINO_FLOAT, _openvino(float_onnx(graph), batch, threads))
        # OpenVINO knows no ONNX functions, and computes integers in float32.
        yield float_contestant(OPENVINO_INTEGER, _openvino(to_onnx(graph, inline=True), batch, threads))
    for runtime, names in (("onnxruntime-native", (ORT_NATIVE, ORT_NATIVE_6)), ("native", (NATIVE, NATIVE_6))):
        if runtime in RUNTIMES and RUNTIMES[runtime].available:
            for name, grid in zip(names, (eight, six), strict=True):
                yield _own(name, runtime, grid, threads)


def _own(name: str, runtime: str, grid: Grid, threads: int) -> Contestant:
    """A runtime of this package."""
    opened, output = open_runtime(runtime, grid.artifact, threads=threads), grid.artifact.graph.output
    return Contestant(name, lambda pictures: opened.trace(pictures, ())[output], grid.logits, exact=True)


def _torch(model: Callable[[torch.Tensor], torch.Tensor]) -> Run:
    def run(pictures: Pictures) -> NDArray[Any]:
        with torch.inference_mode():
            logits: NDArray[Any] = model(torch.from_numpy(pictures)).numpy()
            return logits

    return run


def _onnxruntime(model: onnx.ModelProto, batch: int, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_free_dimension_override_by_name("batch", batch)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pictures: session.run(None, {name: pictures})[0]


def _openvino(model: onnx.ModelProto, batch: int, threads: int) -> Run:
    """In float32: its default, bfloat16 where the machine has it, gives other logits."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    core = openvino.Core()
    read = core.read_model(model.SerializeToString())
    read.reshape([batch if size.is_dynamic else size.get_length() for size in read.input(0).partial_shape])
    request = core.compile_model(read, "CPU", settings).create_infer_request()
    return lambda pictures: np.array(request.infer([pictures])[0])
