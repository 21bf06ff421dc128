"""Every reader of a file that the package has: how to use it, what it promises of what it accepts, and a good file for it.

A reader is one line of :data:`READERS`. ``read`` takes the path of a file or directory and returns a hash of everything that
was read; it raises :class:`fuzz.contained.ViolationError` when something was accepted that should not have been.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import builders
import event_files
import msgspec
import numpy as np
import support
from fuzz.contained import ViolationError
from fuzz.mutate import BY_SUFFIX, spoil_artifact, spoil_file, spoil_files, spoil_text
from fuzz.mutate_bytes import spoil_bytes
from picture_files import archived, encoded, python2_batch

from ds2ta_deploy.artifact import GOLDEN_HASHES, GOLDEN_INPUTS, GRAPH, MODEL, REPORT, Artifact, encode_json
from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.events.batch import Sensor
from ds2ta_deploy.events.nmnist import nmnist_bytes
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.graph.ranges import profile_of, prove
from ds2ta_deploy.reading import read_regular

#: Most elements of all values together for which an accepted graph is run as well.
_RUNNABLE = 2_000_000


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        read: reads a file or directory and returns a hash of what it holds.
        seed: writes a good file, or fills a directory, at this path.
        spoil: writes a spoiled copy of it.
        cases: how many spoiled copies a long run tries.
        hashed: whether everything is covered by hashes, so that no changed payload may be accepted.
        needs: module without which there is no such reader.

    """

    read: Callable[[Path], str]
    seed: Callable[[Path], None]
    spoil: Callable[[Path, Path, random.Random], None]
    cases: int
    hashed: bool = False
    needs: str = "numpy"

    @property
    def available(self) -> bool:
        """Whether what it needs is installed."""
        return importlib.util.find_spec(self.needs) is not None

    def prepare(self) -> None:
        """Import what it needs, before memory is limited."""
        if self.available:
            importlib.import_module(self.needs)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "little") + part for part in parts)).hexdigest()


def _array(array: Any) -> bytes:
    return f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()


# --- what is good ----------------------------------------------------------------------------------------------------


@cache
def _graph() -> Any:
    """Return a graph of 26 ops that runs in a millisecond."""
    return support.frozen(builders.build_small_graph())


@cache
def _model() -> Any:
    from ds2ta_deploy.models.calibration import random_network

    return random_network(builders.tiny_config(image_height=4, image_width=4, time_steps=2, embed_dim=8, num_heads=2, mlp_ratio=1), seed=1)


@cache
def _onnx() -> bytes:
    from ds2ta_deploy.exporters.onnx import to_onnx

    data: bytes = to_onnx(_graph()).SerializeToString(deterministic=True)
    return data


@cache
def _expected() -> str:
    trace = builders.trace_of(_graph(), builders.small_inputs())
    return _digest(*(name.encode() + _array(value) for name, value in sorted(trace.items())))


def _seed_artifact(path: Path) -> None:
    from ds2ta_deploy.exporting import export

    export(_graph(), "all", path, inputs=builders.small_inputs(), runtimes=["onnxruntime", "lava-stepper", "c"])


def _seed_lava(path: Path) -> None:
    from ds2ta_deploy.exporters.lava import to_lava

    path.mkdir()
    for name in LAVA_FILES:
        (path / name).write_bytes(to_lava(_graph())[f"lava/{name}"])


def _seed_c(path: Path) -> None:
    from ds2ta_deploy.c_code.files import program_files

    path.mkdir()
    for name, data in program_files(_graph()).items():
        (path / name).write_bytes(data)


def _seed_graph(path: Path) -> None:
    path.write_bytes(serialize.to_bytes(_graph()))


def _seed_packed_graph(path: Path) -> None:
    """Write the graph with weights of three narrow formats."""
    narrow = {"blocks.0.mlp.fc1.weights": 16, "blocks.0.mlp.fc2.weights": 4}
    ops = [dataclasses.replace(op, weight=op.weight // narrow[op.name]) if op.name in narrow else op for op in _graph()]
    query = next(index for index, op in enumerate(ops) if op.name == "blocks.0.attn.q.weights")
    powers = np.sign(ops[query].weight) * 2 ** (np.abs(ops[query].weight.astype(np.int64)) % 7)
    ops[query] = dataclasses.replace(ops[query], weight=powers.astype(np.int8))
    path.write_bytes(serialize.to_bytes(dataclasses.replace(_graph(), ops=tuple(ops))))


def _seed_onnx(path: Path) -> None:
    path.write_bytes(_onnx())


@cache
def _step_form() -> Any:
    from ds2ta_deploy.graph.stepping import StepForm

    return StepForm.of(_graph())


def _seed_step(path: Path) -> None:
    from ds2ta_deploy.exporters.onnx.step_model import to_onnx_step

    path.write_bytes(to_onnx_step(_step_form()).SerializeToString(deterministic=True))


def _seed_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, images=builders.small_inputs(), labels=np.arange(5))


def _seed_pictures(path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    names = ("train/a/0.png", "train/a/1.jpg", "train/b/0.png", "test/a/0.png")
    kinds = ("PNG", "JPEG", "PNG", "PNG")
    archived(path, {name: encoded(picture, kind) for name, picture, kind in zip(names, pictures, kinds, strict=True)})


def _seed_batch(path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    path.write_bytes(python2_batch(rows, [3, 7]))


def _seed_idx(path: Path) -> None:
    pixels = builders.small_inputs()[..., 0]
    path.write_bytes(bytes([0, 0, 8, 3]) + np.array(pixels.shape, ">u4").tobytes() + pixels.tobytes())


def _seed_torch(path: Path) -> None:
    import torch

    torch.save({"config": msgspec.to_builtins(_model().config), "state_dict": _model().state_dict()}, path)


def _seed_checkpoint(path: Path) -> None:
    from ds2ta_deploy.checkpoints import save_checkpoint

    save_checkpoint(_model(), path)


def _seed_published(path: Path) -> None:
    import published_files

    published_files.write(path, "statten", "timm", arguments=True)


# --- how it is read --------------------------------------------------------------------------------------------------


def read_checkpoint(path: Path) -> str:
    """Load, quantize and freeze; what is loaded is finite and has the shapes its own config asks for."""
    import torch

    from ds2ta_deploy.checkpoints import load_checkpoint
    from ds2ta_deploy.freezing import freeze
    from ds2ta_deploy.models.ds2ta import Ds2ta
    from ds2ta_deploy.quantization import quantize

    model = load_checkpoint(path)
    model.config.validate()
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in Ds2ta(model.config).state_dict().items()}
    state = model.state_dict()
    if {name: tensor.shape for name, tensor in state.items()} != expected:
        raise ViolationError("shapes and config disagree")
    if not all(torch.isfinite(tensor).all() for tensor in state.values()):
        raise ViolationError("a weight is not finite")
    graph = freeze(quantize(model))
    prove(graph, profile_of(graph))
    weights = [name.encode() + _array(tensor.numpy()) for name, tensor in state.items()]
    return _digest(msgspec.json.encode(model.config), *weights)


def read_published(path: Path) -> str:
    """Import another project's checkpoint; what is imported is finite and is the network that its config describes."""
    import torch

    from ds2ta_deploy.checkpoints import expected_tensors
    from ds2ta_deploy.importing.loading import read_model
    from ds2ta_deploy.importing.options import ImportOptions

    imported = read_model(path, ImportOptions(arch="statten", input_kind="images"))
    config, state = imported.model.config, imported.model.state_dict()
    config.validate()
    if {name: tensor.shape for name, tensor in state.items()} != {name: tensor.shape for name, tensor in expected_tensors(config).items()}:
        raise ViolationError("shapes and config disagree")
    if not all(torch.isfinite(tensor).all() for tensor in state.values()):
        raise ViolationError("a weight is not finite")
    return _digest(msgspec.json.encode(config), *(name.encode() + _array(tensor.numpy()) for name, tensor in state.items()))


def read_graph(path: Path) -> str:
    """Read and prove; what is proved runs without leaving a type, and is written as it was read."""
    graph = serialize.read(path)
    prove(graph, profile_of(graph))
    data = serialize.to_bytes(graph)
    if serialize.to_bytes(serialize.from_bytes(data)) != data:
        raise ViolationError("is not written as it was read")
    if sum(int(np.prod([size or 1 for size in kind.shape])) for kind in graph.types.values()) <= _RUNNABLE:
        shape = tuple(1 if size is None else size for size in graph.input_type.shape)
        graph.execute(np.random.default_rng(0).integers(0, 256, shape).astype(graph.input_type.dtype))
    return _digest(data)


def step_lava(path: Path) -> str:
    """Read and run a process graph as its own package does; what that reports as invalid or raised is typed for the runtime."""
    from ds2ta_deploy.errors import InputError, Problem
    from ds2ta_deploy.exporters.lava.ds2ta_lava import stepper
    from ds2ta_deploy.exporters.lava.ds2ta_lava.arithmetic import NetworkError
    from ds2ta_deploy.exporters.lava.ds2ta_lava.network import read_network

    try:
        network = read_network(path)
        trace = stepper.run(network, builders.small_inputs(), network.populations)
    except (NetworkError, ArithmeticError, IndexError) as error:
        raise InputError(Problem("DS2TA-163", f"{type(error).__name__}: {error}", str(path))) from error
    return _digest(*(name.encode() + _array(value) for name, value in sorted(trace.items())))


def run_c(path: Path) -> str:
    """Compile exported C code and run it; what is accepted holds other numbers at most."""
    from ds2ta_deploy.runtimes.c_program import CRuntime, require_own_code

    files = {name: read_regular(path / name) for name in C_FILES}
    require_own_code(_graph(), files, path)
    trace = CRuntime(_graph(), files).trace(builders.small_inputs(), _graph().observable)
    return _digest(*(name.encode() + _array(value) for name, value in sorted(trace.items())))


def read_artifact(path: Path) -> str:
    """Open and read every file."""
    artifact = Artifact.open(path)
    return _digest(encode_json(artifact.manifest), *(name.encode() + artifact.read(name) for name in sorted(artifact.manifest.files)))


def verify_artifact(path: Path) -> str:
    """Verify an artifact whose manifest was made to fit its files: what passes computes what its own graph computes."""
    from ds2ta_deploy.verification import verify

    report = verify(path, runtimes=["onnxruntime"])
    report.raise_on_difference()
    if not report.passed:
        raise ViolationError("differs, and nothing was raised")
    return _digest(encode_json(report.hashes))


def inspect_artifact(path: Path) -> str:
    """Show an artifact whose manifest was made to fit its files."""
    from click.testing import CliRunner

    from ds2ta_deploy.cli.inspect import command

    done = CliRunner().invoke(command, [str(path)])
    if done.exception is not None:
        raise done.exception
    if not all(character.isprintable() or character == "\n" for character in done.output):
        raise ViolationError("prints what moves a terminal's cursor")
    return _digest(done.output.encode())


def page_of_artifact(path: Path) -> str:
    """Make a page of an artifact whose manifest was made to fit its files; names stay letters. Nothing is drawn: that takes long."""
    from unittest import mock

    from page_support import Page

    from ds2ta_deploy.pages.page import build_page

    undrawn = [f"ds2ta_deploy.pages.figures.{module}.draw" for module in ("curves", "histograms", "maps", "rasters")]
    with contextlib.ExitStack() as stack:
        for name in undrawn:
            stack.enter_context(mock.patch(name, return_value="<svg></svg>"))
        page = build_page(Artifact.open(path))
    try:
        found = Page(page)
    except AssertionError as error:
        raise ViolationError("is no well-formed page") from error
    if found.named("script") or found.named("img"):
        raise ViolationError("a name became HTML")
    return _digest(page)


def read_bench(path: Path) -> str:
    """Read what was measured; every time and batch is positive."""
    from ds2ta_deploy.pages.sections.timings import read_timings

    timings = read_timings(path)
    if not all(timing.milliseconds > 0 and timing.batch > 0 for timing in timings):
        raise ViolationError("a time that is none")
    return _digest(encode_json(timings))


def _run_onnx(path: Path, runtime: Any) -> str:
    """Run an ONNX file; it computes what the graph computes, or it was not accepted."""
    opened = runtime(path.read_bytes(), _graph(), str(path))
    inputs = builders.small_inputs()
    trace = opened.trace(inputs, _graph().observable)
    missing = set(_graph().observable) - set(trace)
    payload = _digest(*(name.encode() + _array(value) for name, value in sorted(trace.items())))
    return _expected() if not missing and payload == _expected() else f"differs: {payload}"


def run_onnxruntime(path: Path) -> str:
    """Run an ONNX file on ONNX Runtime."""
    from ds2ta_deploy.runtimes.ort import OnnxRuntime

    return _run_onnx(path, OnnxRuntime)


def run_onnx_reference(path: Path) -> str:
    """Run an ONNX file on onnx's ReferenceEvaluator."""
    from ds2ta_deploy.runtimes.onnx_reference import OnnxReferenceRuntime

    return _run_onnx(path, OnnxReferenceRuntime)


def step_onnx(path: Path) -> str:
    """Step through the step form on ONNX Runtime; it computes what the graph computes, or it was not accepted."""
    from ds2ta_deploy.runtimes.ort import OnnxRuntimeStepper
    from ds2ta_deploy.runtimes.stepped_file import SteppedFile

    data = path.read_bytes()
    run = SteppedFile(_graph(), lambda batch, wanted: OnnxRuntimeStepper(data, _step_form(), batch, wanted, where=str(path)))
    trace = run.trace(builders.small_inputs(), _graph().observable)
    payload = _digest(*(name.encode() + _array(value) for name, value in sorted(trace.items())))
    return _expected() if payload == _expected() else f"differs: {payload}"


def read_data(path: Path) -> str:
    """Read labelled pictures; they are uint8 of a known rank, with a label each or none."""
    from ds2ta_deploy.datasets import read_data as read

    found = read(path)
    if found.images.dtype != np.uint8 or found.images.ndim not in (4, 5):
        raise ViolationError("pixels of another kind")
    if found.labels is not None and (found.labels.dtype != np.int64 or found.labels.shape != found.images.shape[-4:][:1]):
        raise ViolationError("labels of another kind")
    return _digest(_array(found.images), b"" if found.labels is None else _array(found.labels))


def read_idx(path: Path) -> str:
    """Read one idx file."""
    from ds2ta_deploy.datasets import read_idx as read

    return _digest(_array(read(path)))


def _read_recording(path: Path, opened: Any) -> str:
    """Read events; they lie on the sensor, in order of time."""
    from ds2ta_deploy.events.batch import joined

    with opened as recording:
        events = joined(list(recording.batches))
    sensor = recording.sensor
    inside = (events.x >= 0) & (events.x < sensor.width) & (events.y >= 0) & (events.y < sensor.height) & (events.polarity <= 1)
    if not inside.all() or (np.diff(events.timestamps) < 0).any() or events.timestamps[0] < 0 or not len(events):
        raise ViolationError("events outside space or time")
    return _digest(*map(_array, (events.timestamps, events.x, events.y, events.polarity)))


def read_recording(suffix: str) -> Callable[[Path], str]:
    """Return a reader of recordings of a format."""

    def read(path: Path) -> str:
        from ds2ta_deploy.events.recording import open_recording

        named = path.with_suffix(suffix)
        shutil.copyfile(path, named)
        return _read_recording(named, open_recording(named))

    return read


_SENSOR = Sensor(40, 30)


def _seed_nmnist(path: Path) -> None:
    path.write_bytes(nmnist_bytes(event_files.make_events(200, Sensor(34, 34))))


def _seed_dat(path: Path) -> None:
    path.write_bytes(event_files.dat_bytes(event_files.make_events(200, _SENSOR)))


def _seed_aedat4(path: Path) -> None:
    event_files.write_aedat4(path.with_suffix(".aedat4"), event_files.make_events(500, _SENSOR), _SENSOR).rename(path)


def read_pictures(path: Path) -> str:
    """Read an archive of class folders."""
    from ds2ta_deploy.picture_folders import read_class_folders

    images, labels = read_class_folders(path, "train")
    if images.dtype != np.uint8 or images.ndim != 4 or labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        raise ViolationError("pixels or labels of another kind")
    return _digest(_array(images), _array(labels))


def read_batch(path: Path) -> str:
    """Read a python batch; its pictures are 32 x 32 and in colour, with one of ten labels each."""
    from ds2ta_deploy.python_batches import read_batch as read

    images, labels = read(path)
    if images.dtype != np.uint8 or images.shape != (len(labels), 32, 32, 3) or ((labels < 0) | (labels > 9)).any():
        raise ViolationError("pixels or labels of another kind")
    return _digest(_array(images), _array(labels))


def read_golden(path: Path) -> str:
    """Read golden values."""
    from ds2ta_deploy.datasets import read_arrays

    return _digest(*(name.encode() + _array(array) for name, array in read_arrays(path, ["images", "labels"]).items()))


def read_settings(path: Path) -> str:
    """Read a config file; the settings lie in their ranges."""
    from ds2ta_deploy.cli.export import read_settings as read

    settings = read(path, {})
    settings.validate()
    return _digest(msgspec.json.encode(settings))


def _bench(path: Path) -> None:
    from ds2ta_deploy.benchmark import Timing

    fields = {"runtime": "native", "batch": 8, "threads": 1, "milliseconds": 2.5, "spread": 0.1, "best": 2.25, "repeats": 20}
    path.write_bytes(encode_json([Timing(**fields, open_milliseconds=9.5, memory=4096, populations={"head": 0.5})]))


def _settings(path: Path) -> None:
    path.write_text('profile = "loihi"\nweight_bits = 6\nfirst_layer_bits = 10\n[weights]\n"blocks.*" = 4\nhead = "power-of-two"\n')


def read_kept(path: Path) -> str:
    """Read a finished shard's result; what is not whole and right is none."""
    from ds2ta_deploy.cli.jobs import Score
    from ds2ta_deploy.sharding.shards import Kept

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{_SHARD}.json").write_bytes(read_regular(path))
        result = Kept(Path(folder), Score).load(_SHARD)
    if result is None:
        raise InputError(Problem("DS2TA-998", "is as good as none", str(path)))
    return _digest(msgspec.json.encode(result))


def _seed_kept(path: Path) -> None:
    from ds2ta_deploy.cli.jobs import Score
    from ds2ta_deploy.sharding.shards import Kept

    with tempfile.TemporaryDirectory() as folder:
        Kept(Path(folder), Score).save(_SHARD, Score("native", 512, 460))
        path.write_bytes((Path(folder) / f"{_SHARD}.json").read_bytes())


#: Key of the shard whose result is read.
_SHARD = "5" * 64

_ZIP, _TENSORS, _ONNX = (spoil_file(BY_SUFFIX[suffix]) for suffix in (".npz", ".safetensors", ".onnx"))
LAVA_FILES = ("graph.json", "tensors.npz")
C_FILES = ("model.h", "model.c", "model_data.h", "model_data.c", "ds2ta_kernels.h", "ds2ta_kernels.c")

_TRUSTED = (GRAPH, MODEL, GOLDEN_INPUTS, GOLDEN_HASHES)

READERS: dict[str, Reader] = {
    "artifact": Reader(read_artifact, _seed_artifact, spoil_artifact(sealed=False), 10_000, hashed=True, needs="onnxruntime"),
    "artifact-verified": Reader(verify_artifact, _seed_artifact, spoil_artifact(names=_TRUSTED, sealed=True), 2000, needs="onnxruntime"),
    "artifact-inspected": Reader(inspect_artifact, _seed_artifact, spoil_artifact(names=[REPORT], sealed=True), 1000, needs="onnxruntime"),
    "artifact-page": Reader(
        page_of_artifact, _seed_artifact, spoil_artifact(names=[REPORT, GOLDEN_HASHES], sealed=True), 1000, needs="matplotlib"
    ),
    "bench": Reader(read_bench, _bench, spoil_file(spoil_text), 2000),
    "checkpoint": Reader(read_checkpoint, _seed_checkpoint, _TENSORS, 2000, needs="torch"),
    "checkpoint-torch": Reader(read_checkpoint, _seed_torch, _ZIP, 2000, needs="torch"),
    "checkpoint-published": Reader(read_published, _seed_published, _ZIP, 2000, needs="torch"),
    "graph": Reader(read_graph, _seed_graph, _TENSORS, 4000),
    "graph-packed": Reader(read_graph, _seed_packed_graph, _TENSORS, 4000),
    "onnx": Reader(run_onnxruntime, _seed_onnx, _ONNX, 2000, needs="onnxruntime"),
    "onnx-reference": Reader(run_onnx_reference, _seed_onnx, _ONNX, 1000, needs="onnxruntime"),
    "onnx-step": Reader(step_onnx, _seed_step, _ONNX, 1000, needs="onnxruntime"),
    "lava-graph": Reader(step_lava, _seed_lava, spoil_files(*LAVA_FILES), 3000),
    "c-code": Reader(run_c, _seed_c, spoil_files(*C_FILES), 300),
    "data": Reader(read_data, _seed_npz, _ZIP, 3000),
    "event-bin": Reader(read_recording(".bin"), _seed_nmnist, spoil_file(spoil_bytes), 2000),
    "event-dat": Reader(read_recording(".dat"), _seed_dat, spoil_file(spoil_bytes), 2000),
    "event-aedat4": Reader(read_recording(".aedat4"), _seed_aedat4, spoil_file(spoil_bytes), 300, needs="dv_processing"),
    "pictures": Reader(read_pictures, _seed_pictures, _ZIP, 2000, needs="PIL"),
    "batch": Reader(read_batch, _seed_batch, spoil_file(spoil_bytes), 2000),
    "idx": Reader(read_idx, _seed_idx, spoil_file(spoil_bytes), 2000),
    "golden": Reader(read_golden, _seed_npz, _ZIP, 2000),
    "shard": Reader(read_kept, _seed_kept, spoil_file(spoil_text), 2000, hashed=True),
    "settings": Reader(read_settings, _settings, spoil_file(spoil_text), 2000, needs="torch"),
}
