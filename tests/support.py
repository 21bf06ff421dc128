"""What the tests of exporters, runtimes, artifacts and commands share. Needs no PyTorch."""

import dataclasses
import hashlib
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import builders
import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from ds2ta_deploy.artifact import MANIFEST, FileEntry, Manifest, encode_json
from ds2ta_deploy.certificate import Certificate
from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.runtimes.base import Runtime, Trace
from ds2ta_deploy.runtimes.native.library import library_path
from ds2ta_deploy.runtimes.onnx_reference import OnnxReferenceRuntime
from ds2ta_deploy.runtimes.ort import OnnxRuntime

#: Runtimes that need the native library, where it was built: the one that runs the graph, and the one that runs an ONNX file.
NATIVE, ONNX_NATIVE = (["native"], ["onnxruntime-native"]) if library_path() else ([], [])

#: All that compare an ONNX artifact when nobody says which.
ON_ONNX = ["onnxruntime", "onnx-reference", *NATIVE, *ONNX_NATIVE]

#: As what they are reported, the step form among them, and those that do not run ``model.onnx``.
STEPPED = "onnxruntime-steps"
COMPARED = ["onnxruntime", STEPPED, *ON_ONNX[1:]]
ELSEWHERE = [STEPPED, *NATIVE]

#: What freezing writes into a graph, and the hand-made one lacks.
FACTS: dict[str, str | int | float] = {
    "family": "hand-made",
    "profile": "cpu",
    "weight_bits": 8,
    "first_layer_bits": 10,
    "thresholds": "channel",
    "rounding": "none",
    "leak_exact": 0,
    "classes": builders.CLASSES,
}


def frozen(graph: Graph) -> Graph:
    """Return the graph with the facts that freezing writes."""
    return dataclasses.replace(graph, facts={**graph.facts, **FACTS})


def replaced(graph: Graph, name: str, **changes: Any) -> Graph:
    """Return the graph with some fields of one op changed."""
    assert name in {op.name for op in graph}
    return dataclasses.replace(graph, ops=tuple(dataclasses.replace(op, **changes) if op.name == name else op for op in graph))


def spiking_chain(
    steps: int, *, window: tuple[int, int, int] = (1, 0, 0), leak: tuple[int, int] = (1, 1), seed: int = 5, counts: int = 0
) -> tuple[Graph, NDArray[np.uint8]]:
    """Return a convolution, a spiking linear layer and a readout over event frames, and inputs for which they fire.

    Args:
        steps: T.
        window: (taps, decay, guard bits) of the linear layer.
        leak: (numerator, shift) of its neuron.
        seed: of weights and inputs.
        counts: number of doublings of the spikes before the linear layer: its inputs lie in 0..2^counts.

    """
    inputs = np.random.default_rng(seed).integers(0, 256, (steps, 4, 3, 5, 2), dtype=np.uint8)
    draft = builders.Draft(inputs, seed)
    table = np.sort(draft.integers(500, (2, 256), np.int16), axis=1)
    value = draft.add(ops.InputTable, "encoder", ["images"], "input_values", table=table, still=0)
    value = draft.conv("conv", value, 3, first=True)
    value = draft.add(ops.Tokens, "flatten", [value], "tokens")
    for number in range(counts):
        value = draft.residual(f"double.{number}", value, value)
    value = draft.linear("linear", value, 3, window=window, leak=leak)
    weight = draft.integers(127, (4, 3), np.int8)
    draft.add(ops.Readout, "head", [value], "head.logits", weight=weight, bias=np.zeros(4, np.int32))
    kind = ops.ValueType((steps, None, 3, 5, 2), "uint8")
    return Graph("chain", "images", kind, tuple(draft.ops), "head.logits", 1.0, dict(FACTS)), inputs


def lif(name: str, current: str, threshold: Sequence[int]) -> ops.Lif:
    """Return a neuron with tau_m = 2."""
    outputs = (f"{name}.spikes", f"{name}.membrane")
    return ops.Lif(name, (current,), outputs, threshold=np.array(threshold, np.int32), leak_numerator=1, leak_shift=1)


def bias_only(name: str, value: str, channels: int) -> ops.TemporalWindow:
    """Return a window of one tap without bias, which passes ``<name>.<value>`` on as ``<name>.current``."""
    bias = np.zeros(channels, np.int32)
    return ops.TemporalWindow(f"{name}.window", (f"{name}.{value}",), (f"{name}.current",), bias=bias, taps=1, decay=0, guard_bits=0)


def attention_on_counts(doublings: int, *, counted: str = "qkv") -> tuple[Graph, NDArray[np.uint8]]:
    """Return attention whose queries, keys or values, those named, are counts up to ``2^doublings``, and inputs."""
    random, most = np.random.default_rng(0), {part: 2**doublings if part in counted else 1 for part in "qkv"}
    source = {part: f"count.{doublings}" if part in counted else "count.0" for part in "qkv"}
    inputs = random.integers(0, 256, (2, 3, 4, 3, 2), dtype=np.uint8)
    weight = random.integers(-50, 51, (2, 1, 1, 2)).astype(np.int16)
    pixels = np.tile(np.arange(256) - 128, (2, 1)).astype(np.int16)
    table = (np.arange(2 * (most["q"] * most["k"] + 1)).reshape(2, -1) % 7 - 2).astype(np.int16)
    parts: list[ops.Op] = [
        ops.InputTable("encoder", ("images",), ("input_values",), table=pixels, still=0),
        ops.Conv2d("conv.weights", ("input_values",), ("conv.product",), weight=weight),
        bias_only("conv", "product", 2),
        lif("conv", "conv.current", [500, 500]),
        ops.Tokens("flatten", ("conv.spikes",), ("count.0",)),
        *(ops.Add(f"add.{index}", (f"count.{index}",) * 2, (f"count.{index + 1}",)) for index in range(doublings)),
        *(ops.SplitHeads(f"attn.split_{part}", (source[part],), (f"attn._{part}_heads",), heads=2) for part in "qkv"),
        ops.MatMul("attn.query_key", ("attn._q_heads", "attn._k_heads"), ("attn.scores",), transpose_right=1),
        ops.Lookup("attn.denoiser", ("attn.scores",), ("attn.denoised",), table=table),
        ops.MatMul("attn.map_value", ("attn.denoised", "attn._v_heads"), ("attn._mixed",), transpose_right=0),
        ops.MergeHeads("attn.merge", ("attn._mixed",), ("attn.context",)),
        bias_only("attn", "context", 2),
        lif("attn", "attn.current", [3 * most["v"]] * 2),
        ops.Readout("head", ("attn.spikes",), ("head.logits",), weight=np.array([[3, -4], [-5, 6]], np.int8), bias=np.zeros(2, np.int32)),
    ]
    return Graph("counts", "images", ops.ValueType((2, None, 4, 3, 2), "uint8"), tuple(parts), "head.logits", 1.0, {}), inputs


def assert_exported_equal(graph: Graph, inputs: NDArray[np.uint8]) -> None:
    """Assert that both ONNX engines compute every value of the graph from either form of the file."""
    expected = builders.trace_of(graph, inputs)
    builders.assert_fires(expected)
    for inline in (False, True):
        data = to_onnx(graph, inline=inline).SerializeToString()
        for runtime in (OnnxRuntime, OnnxReferenceRuntime):
            assert_all_equal(expected, runtime(data, graph).trace(inputs, graph.observable))


def assert_refused(graph: Graph, code: str, where: str) -> None:
    """Assert that there is no ONNX file for the graph, for one kind of reason and first of all at this place."""
    assert graph.types  # well-formed nevertheless
    with pytest.raises(UnsupportedError) as caught:
        to_onnx(graph)
    assert {problem.code for problem in caught.value.problems} == {code}
    assert caught.value.problems[0].where == where


def assert_all_equal(expected: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]]) -> None:
    """Assert that both hold the same values: names, shapes, types and every integer."""
    assert set(found) == set(expected)
    wrong = {name: "type" for name in expected if found[name].dtype != expected[name].dtype}
    wrong |= {name: "shape" for name in expected if found[name].shape != expected[name].shape}
    wrong |= {name: "integers" for name in expected if name not in wrong and not np.array_equal(found[name], expected[name])}
    assert not wrong


def on_onnxruntime(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> Trace:
    """Run a model on ONNX Runtime, defaults everywhere; independent of the package's own runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def on_onnx_reference(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> Trace:
    """Run a model on onnx's ReferenceEvaluator."""
    names = [output.name for output in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model).run(names, dict(feeds)), strict=True))


class Tampered(Runtime):
    """A runtime that adds one to a single integer of another one's trace."""

    name = "tampered"

    def __init__(self, honest: Runtime, value: str, index: Sequence[int]) -> None:
        self.honest, self.value, self.index = honest, value, tuple(index)

    def trace(self, inputs: NDArray[np.uint8], wanted: Sequence[str]) -> Trace:
        """Run, then tamper."""
        trace = dict(self.honest.trace(inputs, wanted))
        if self.value in trace:
            changed = trace[self.value].copy()
            changed[self.index] += 1
            trace[self.value] = changed
        return trace


def copy_artifact(source: Path, target: Path) -> Path:
    """Copy an artifact to change the copy."""
    shutil.copytree(source, target)
    return target


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest as plain data."""
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
    return manifest


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Replace the manifest by one with a valid seal, as whoever can change a file can."""
    seal = hashlib.sha256(encode_json({**manifest, "seal": ""})).hexdigest()
    (path / MANIFEST).write_text(json.dumps({**manifest, "seal": seal}))


def rewrite(path: Path, name: str, data: bytes, *, rehash: bool = False) -> Path:
    """Change one file of an artifact; with ``rehash`` so that the manifest agrees."""
    (path / name).write_bytes(data)
    if rehash:
        manifest = read_manifest(path)
        manifest["files"][name] = msgspec.to_builtins(FileEntry.of(data))
        write_manifest(path, manifest)
    return path


def some_manifest(**changes: Any) -> Manifest:
    """Return a manifest for artifacts that hold nothing in particular."""
    certificate = Certificate(graph="", profile="cpu", bounds=(), tables=(), products=())
    fields: dict[str, Any] = {"target": "onnx", "versions": {}, "config": {}, "quantization": {}, "rounding": "", "files": {}}
    fields["certificate"] = certificate
    return Manifest(**(fields | changes))


def files_of(path: Path) -> dict[str, bytes]:
    """Return every file below a directory."""
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


@contextmanager
def user_program(*command: object) -> Iterator[subprocess.Popen[str]]:
    """Start a program as from a terminal, where Ctrl-C is not ignored, and see to it that it does not outlive the test."""
    process = subprocess.Popen(
        [*map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - a shell's background jobs ignore it
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def names_in(path: Path) -> list[str]:
    """Return the names in a directory, hidden ones too."""
    return sorted(entry.name for entry in path.iterdir())


def one_more(model: bytes, initializer: str, index: int = 0) -> bytes:
    """Return the ONNX file with one integer of one initializer increased by one (or decreased, at the end of its type)."""
    parsed = onnx.load_model_from_string(model)
    (tensor,) = [tensor for tensor in parsed.graph.initializer if tensor.name == initializer]
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[index] += 1 if array.reshape(-1)[index] < np.iinfo(array.dtype).max else -1
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, initializer))
    return parsed.SerializeToString(deterministic=True)
