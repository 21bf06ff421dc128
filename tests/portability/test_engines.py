"""The exported file computes the same integers on three engines that this project did not write.

The file with model-local functions goes to onnxruntime and to onnxruntime-web (WebAssembly, under Node); the file with
the functions expanded goes to OpenVINO, which has none, and to onnxruntime again. onnxruntime on the file with functions
is the yardstick here; that it equals the PyTorch model is the business of the other tests.

``make portability`` installs what these tests need and runs them. Nothing is skipped: whoever selects them gets an
answer about every engine, or a failure that says what is missing.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

pytestmark = pytest.mark.portability

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "fashion_mnist"
CHECKPOINT = EXAMPLE / "ds2ta-2-64.safetensors"
IMAGES = EXAMPLE / "ds2ta-2-64.npz"

DOMAIN = "ai.ds2ta"
LOGITS = "head.logits"
SOME_POPULATION = "blocks.0.attn.q.spikes"
BATCH = 16
DEADLINE = 300  # seconds that one engine may take

# A population that never fires, or always, agrees with itself on any engine and proves nothing.
QUIETEST, BUSIEST = 0.005, 0.95

Trace = dict[str, NDArray[np.integer]]
Engine = Callable[[onnx.ModelProto, NDArray[np.uint8], Path], Trace]


# --- the files -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exported:
    """One network as the exporter wrote it twice, and the pictures to show it.

    Attributes:
        functions: the model whose populations are model-local functions.
        inline: the same model with the functions expanded.
        populations: name of the first output of every population, in graph order.
        inputs: uint8 ``[BATCH, 28, 28, 1]``.

    """

    functions: onnx.ModelProto
    inline: onnx.ModelProto
    populations: tuple[str, ...]
    inputs: NDArray[np.uint8]

    def file(self, form: str) -> onnx.ModelProto:
        """Return the model in one of its two forms."""
        return self.functions if form == "functions" else self.inline


def export(out: Path, *options: str) -> onnx.ModelProto:
    """Run the command that users run, and load what it wrote."""
    program = shutil.which("ds2ta-export", path=Path(sys.executable).parent)
    assert program, "ds2ta-export is not installed beside this Python; `make portability` installs it"
    command = [program, CHECKPOINT, "--target", "onnx", "-o", out, "--inputs", IMAGES, "--no-verify", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    return onnx.load(out / "model.onnx")


def populations(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the name of the first output of every population."""
    return tuple(node.output[0] for node in model.graph.node if node.domain == DOMAIN)


def expose(model: onnx.ModelProto, names: tuple[str, ...]) -> onnx.ModelProto:
    """Return a copy in which the named values are graph outputs too, with the types that shape inference finds."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    known = {info.name: info for info in inferred.graph.value_info}
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    already = {info.name for info in exposed.graph.output}
    for name in names:
        if name not in already:
            assert name in known, f"{name} is not a typed value of the main graph"
            exposed.graph.output.append(known[name])
    return exposed


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Export the bundled checkpoint in both forms."""
    folder = tmp_path_factory.mktemp("exported")
    functions = export(folder / "functions")
    with np.load(IMAGES) as data:
        images = data["images"][:BATCH]
    return Exported(functions, export(folder / "inline", "--inline"), populations(functions), images)


# --- the engines -----------------------------------------------------------------------------------------------------


def on_onnxruntime(model: onnx.ModelProto, inputs: NDArray[np.uint8], folder: Path) -> Trace:
    """Run on onnxruntime's CPU provider, defaults everywhere."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: inputs}), strict=True))


def on_onnxruntime_web(model: onnx.ModelProto, inputs: NDArray[np.uint8], folder: Path) -> Trace:
    """Run on onnxruntime-web under Node, through ``run_web.mjs``."""
    node = shutil.which("node")
    assert node, "Node is not installed; onnxruntime-web needs it (20 or later)"
    assert (HERE / "node_modules").is_dir(), "onnxruntime-web is not installed; `make portability` installs it"
    onnx.save(model, folder / "model.onnx")
    (folder / "input.bin").write_bytes(inputs.tobytes())
    request = [{"name": model.graph.input[0].name, "dtype": str(inputs.dtype), "shape": inputs.shape, "file": "input.bin"}]
    (folder / "request.json").write_text(json.dumps(request))
    command = [node, HERE / "run_web.mjs", folder / "model.onnx", folder / "request.json", folder / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    return dict(read_outputs(folder / "out"))


def read_outputs(folder: Path) -> Iterator[tuple[str, NDArray[np.integer]]]:
    """Yield every tensor that ``run_web.mjs`` wrote."""
    for described in json.loads((folder / "outputs.json").read_text()):
        values = np.fromfile(folder / described["file"], np.dtype(described["dtype"]).newbyteorder("<"))
        yield described["name"], values.reshape(described["shape"])


def on_openvino(model: onnx.ModelProto, inputs: NDArray[np.uint8], folder: Path) -> Trace:
    """Run on OpenVINO's CPU plugin, defaults everywhere."""
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU")
    results = compiled([inputs])
    return {name: results[port].copy() for port in compiled.outputs for name in port.get_names()}


OTHERS = [
    pytest.param(on_onnxruntime_web, "functions", id="onnxruntime-web"),
    pytest.param(on_onnxruntime, "inline", id="onnxruntime-inline"),
    pytest.param(on_openvino, "inline", id="openvino-inline"),
]


# --- the proof -------------------------------------------------------------------------------------------------------


def differing(expected: Trace, actual: Trace, names: tuple[str, ...]) -> dict[str, str]:
    """Return what is wrong with each named value: missing, of another type or shape, or some integers different."""
    wrong = {}
    for name in names:
        if name not in actual:
            wrong[name] = "missing"
        elif (expected[name].dtype, expected[name].shape) != (actual[name].dtype, actual[name].shape):
            wrong[name] = f"{expected[name].dtype}{expected[name].shape} became {actual[name].dtype}{actual[name].shape}"
        elif count := np.count_nonzero(expected[name] != actual[name]):
            wrong[name] = f"{count} of {expected[name].size} values differ"
    return wrong


@pytest.fixture(scope="module")
def yardstick(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """Return every population's spikes and the logits, from the file with functions on onnxruntime."""
    model = expose(exported.functions, exported.populations)
    return on_onnxruntime(model, exported.inputs, tmp_path_factory.mktemp("yardstick"))


def test_every_population_fires_and_none_always(exported: Exported, yardstick: Trace) -> None:
    assert SOME_POPULATION in exported.populations
    rates = {name: float((yardstick[name] != 0).mean()) for name in exported.populations if name.endswith(".spikes")}
    silent_or_stuck = {name: rate for name, rate in rates.items() if not QUIETEST < rate < BUSIEST}
    assert not silent_or_stuck
    assert len(np.unique(yardstick[LOGITS].argmax(axis=1))) > 1


def test_the_inline_file_has_no_functions_left(exported: Exported) -> None:
    assert not exported.inline.functions
    assert {node.domain for node in exported.inline.graph.node} == {""}


@pytest.mark.parametrize(("engine", "form"), OTHERS)
def test_every_spike_is_the_same(engine: Engine, form: str, exported: Exported, yardstick: Trace, tmp_path: Path) -> None:
    names = (*exported.populations, LOGITS)
    trace = engine(expose(exported.file(form), exported.populations), exported.inputs, tmp_path)
    assert differing(yardstick, trace, names) == {}


@pytest.mark.parametrize(("engine", "form"), OTHERS)
def test_the_file_as_shipped_gives_the_same_logits(engine: Engine, form: str, exported: Exported, yardstick: Trace, tmp_path: Path) -> None:
    # Extra outputs keep an engine from fusing across them, so the untouched file is another program and gets its own test.
    trace = engine(exported.file(form), exported.inputs, tmp_path)
    assert differing(yardstick, trace, (LOGITS,)) == {}
