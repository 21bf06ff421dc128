"""What a runtime is, which ones there are, and how one is opened."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import MODEL_STEP, Artifact
from ds2ta_deploy.errors import MissingRuntimeError, Problem, UsageError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.lava_package import INSTALL as _LAVA

if TYPE_CHECKING:
    from ds2ta_deploy.runtimes.stepper import Stepper

#: Name of a value -> its integers.
Trace = dict[str, NDArray[np.integer]]


@dataclass(frozen=True)
class Part:
    """What a runtime makes one value with, cut out of the file that it runs.

    Attributes:
        data: a file of the same format.
        reads: names of the values that it must be given.

    """

    data: bytes
    reads: tuple[str, ...]


class Runtime(ABC):
    """Something that runs a frozen network."""

    name: ClassVar[str]

    @property
    def hidden(self) -> frozenset[str]:
        """Names of values of the network that this runtime computes in another form, or not at all, and cannot give."""
        return frozenset()

    @abstractmethod
    def trace(self, inputs: NDArray[np.uint8], wanted: Sequence[str]) -> Trace:
        """Run the inputs and return the wanted values and always the output.

        Raises:
            InputError: DS2TA-120 or 121 when the inputs do not fit the network.

        """

    def isolate(self, value: str, known: Collection[str]) -> Part | None:
        """Cut out what makes ``value`` of those known values that the file itself makes it of.

        Returns:
            None when the engine cannot run a part alone, or the file makes the value of something that is not known.

        """
        return None


def require_known(graph: Graph, wanted: Sequence[str]) -> None:
    """Raise UsageError (DS2TA-505) for every wanted name that is no value of the network."""
    unknown = [name for name in wanted if name not in graph.observable]
    if unknown:
        raise UsageError(Problem("DS2TA-505", "is no value of this network", name, "the report and a trace list them") for name in unknown)


@dataclass(frozen=True)
class RuntimeOptions:
    """What a runtime may need besides the artifact.

    Attributes:
        checkpoint: the file that the artifact was exported from.
        lava_python: interpreter that has Lava; the present one by default.
        threads: how many threads share the work, where a runtime can choose; by default it chooses itself.

    """

    checkpoint: Path | None = None
    lava_python: Path | None = None
    threads: int | None = None


@dataclass(frozen=True)
class RuntimeInfo:
    """A runtime that can be asked for by name.

    Attributes:
        name: as given to ``--runtime``.
        about: one line for people.
        needs: modules it imports.
        install: the one command that installs them.
        open: makes it from an artifact and the options.
        needs_checkpoint: whether it runs the PyTorch model and so needs the checkpoint.
        executes: the target whose files it runs; empty for those that run the graph or the model.
        run_part: makes the named value with a part of such a file from the values given; None when it cannot.
        built: says whether what it needs besides modules was built.
        step: begins a run step by step, of so many samples, reporting the wanted values; None where the engine has no such form.
        step_file: a file of its own that the step form runs, which is verified beside that of all time steps.

    """

    name: str
    about: str
    needs: tuple[str, ...]
    install: str
    open: Callable[[Artifact, RuntimeOptions], Runtime]
    needs_checkpoint: bool = False
    executes: str = ""
    run_part: Callable[[bytes, Trace, str], NDArray[np.integer]] | None = None
    built: Callable[[], bool] = lambda: True
    step: "Callable[[Artifact, RuntimeOptions, int, Sequence[str]], Stepper] | None" = None
    step_file: str = ""

    @property
    def installed(self) -> bool:
        """Whether everything it imports is installed."""
        return all(importlib.util.find_spec(module) is not None for module in self.needs)

    @property
    def available(self) -> bool:
        """Whether everything it imports is installed, and what it needs besides was built."""
        return self.installed and self.built()

    def require(self) -> None:
        """Raise MissingRuntimeError (DS2TA-401) with the installing command unless what it imports is installed."""
        if not self.installed:
            raise MissingRuntimeError(Problem("DS2TA-401", f"the runtime {self.name!r} needs {', '.join(self.needs)}", mend=self.install))


def _open_reference(artifact: Artifact, _options: RuntimeOptions) -> Runtime:
    from ds2ta_deploy.runtimes.reference import ReferenceRuntime

    return ReferenceRuntime(artifact.graph)


def _step_reference(artifact: Artifact, _options: RuntimeOptions, batch: int, wanted: Sequence[str]) -> "Stepper":
    from ds2ta_deploy.runtimes.reference import ReferenceStepper

    return ReferenceStepper(StepForm.of(artifact.graph), batch, wanted)


def _step_lava(artifact: Artifact, options: RuntimeOptions, batch: int, wanted: Sequence[str]) -> "Stepper":
    from ds2ta_deploy.runtimes.lava_process import LavaRuntime
    from ds2ta_deploy.runtimes.lava_steps import LavaSteps

    return LavaSteps(LavaRuntime.from_artifact(artifact, options.lava_python), StepForm.of(artifact.graph), batch, wanted)


def _step_lava_stepper(artifact: Artifact, _options: RuntimeOptions, batch: int, wanted: Sequence[str]) -> "Stepper":
    from ds2ta_deploy.runtimes.lava_process import LavaStepperRuntime
    from ds2ta_deploy.runtimes.lava_steps import LavaStepperSteps

    return LavaStepperSteps(LavaStepperRuntime.from_artifact(artifact), StepForm.of(artifact.graph), batch, wanted)
def _step_onnxruntime(artifact: Artifact, options: RuntimeOptions, batch: int, wanted: Sequence[str]) -> "Stepper":
    from ds2ta_deploy.runtimes.ort import OnnxRuntimeStepper

    return OnnxRuntimeStepper.from_artifact(artifact, batch, wanted, options.threads)


def _step_onnx_reference(artifact: Artifact, _options: RuntimeOptions, batch: int, wanted: Sequence[str]) -> "Stepper":
    from ds2ta_deploy.runtimes.onnx_reference import OnnxReferenceStepper

    return OnnxReferenceStepper.from_artifact(artifact, batch, wanted)


def _open_pytorch(artifact: Artifact, options: RuntimeOptions) -> Runtime:
    from ds2ta_deploy.runtimes.pytorch import open_quantized

    if options.checkpoint is None:
        raise UsageError(Problem("DS2TA-503", "the runtime 'torch' runs the checkpoint itself", mend="give it with --checkpoint FILE"))
    return open_quantized(artifact, options.checkpoint)


def _open_onnxruntime(artifact: Artifact, options: RuntimeOptions) -> Runtime:
    from ds2ta_deploy.runtimes.ort import OnnxRuntime

    return OnnxRuntime.from_artifact(artifact, options.threads)


def _part_on_onnxruntime(part: bytes, given: Trace, value: str) -> NDArray[np.integer]:
    from ds2ta_deploy.runtimes.ort import OnnxRuntime

    return OnnxRuntime.run_part(part, given, value)


def _part_on_onnx_reference(part: bytes, given: Trace, value: str) -> NDArray[np.integer]:
    from ds2ta_deploy.runtimes.onnx_reference import OnnxReferenceRuntime

    return OnnxReferenceRuntime.run_part(part, given, value)


def _open_onnx_reference(artifact: Artifact, _options: RuntimeOptions) -> Runtime:
    from ds2ta_deploy.runtimes.onnx_reference import OnnxReferenceRuntime

    return OnnxReferenceRuntime.from_artifact(artifact)


def _open_lava(artifact: Artifact, options: RuntimeOptions) -> Runtime:
    from ds2ta_deploy.runtimes.lava_process import LavaRuntime

    return LavaRuntime.from_artifact(artifact, options.lava_python)


def _open_lava_stepper(artifact: Artifact, _options: RuntimeOptions) -> Runtime:
    from ds2ta_deploy.runtimes.lava_process import LavaStepperRuntime

    return LavaStepperRuntime.from_artifact(artifact)


def _open_native(artifact: Artifact, options: RuntimeOptions) -> Runtime:
    from ds2ta_deploy.runtimes.native.runtime import NativeRuntime

    return NativeRuntime.from_artifact(artifact, options.threads)


def _step_native(artifact: Artifact, options: RuntimeOptions, batch: int, wanted: Sequence[str]) -> "Stepper":
    from ds2ta_deploy.runtimes.native.stepper import NativeStepper

    return NativeStepper(StepForm.of(artifact.graph), batch, wanted, options.threads)


def _open_onnxruntime_native(artifact: Artifact, options: RuntimeOptions) -> Runtime:
    from ds2ta_deploy.runtimes.ort_native import OnnxNativeRuntime

    return OnnxNativeRuntime.from_artifact(artifact, options.threads)


def _open_c(artifact: Artifact, _options: RuntimeOptions) -> Runtime:
    from ds2ta_deploy.runtimes.c_program import CRuntime

    return CRuntime.from_artifact(artifact)


def _step_c(artifact: Artifact, _options: RuntimeOptions, batch: int, wanted: Sequence[str]) -> "Stepper":
    from ds2ta_deploy.runtimes.c_program import CRuntime
    from ds2ta_deploy.runtimes.c_stepper import CStepper

    return CStepper(CRuntime.from_artifact(artifact), batch, wanted)


def _compiler_is_there() -> bool:
    from ds2ta_deploy.runtimes.c_program import find_compiler

    return find_compiler() is not None


def _native_is_built() -> bool:
    from ds2ta_deploy.runtimes.native.library import library_path

    return library_path() is not None


_BASE = "pip install ds2ta-deploy"
_NATIVE = "pip install --force-reinstall --no-deps ds2ta-deploy, where there is a C compiler"
_TORCH = "pip install 'ds2ta-deploy[torch]'"

#: Every runtime that runs an artifact.
RUNTIMES: dict[str, RuntimeInfo] = {
    info.name: info
    for info in (
        RuntimeInfo(
            "reference",
            "the integer graph in NumPy, its own definition",
            ("numpy",),
            _BASE,
            _open_reference,
            step=_step_reference,
        ),
        RuntimeInfo("torch", "the quantized PyTorch model", ("torch",), _TORCH, _open_pytorch, needs_checkpoint=True),
        RuntimeInfo(
            "onnxruntime",
            "ONNX Runtime on the exported file",
            ("onnx", "onnxruntime"),
            _BASE,
            _open_onnxruntime,
            executes="onnx",
            run_part=_part_on_onnxruntime,
            step=_step_onnxruntime,
            step_file=MODEL_STEP,
        ),
        RuntimeInfo(
            "onnx-reference",
            "onnx's own ReferenceEvaluator on the exported file (slow)",
            ("onnx",),
            _BASE,
            _open_onnx_reference,
            executes="onnx",
            run_part=_part_on_onnx_reference,
            step=_step_onnx_reference,
        ),
        RuntimeInfo(
            "native",
            "the integer graph on the CPU's vector instructions",
            ("numpy",),
            _NATIVE,
            _open_native,
            built=_native_is_built,
            step=_step_native,
        ),
        RuntimeInfo(
            "onnxruntime-native",
            "ONNX Runtime on the exported file, its populations on the CPU's vector instructions",
            ("onnx", "onnxruntime"),
            _NATIVE,
            _open_onnxruntime_native,
            executes="onnx",
            built=_native_is_built,
        ),
        RuntimeInfo(
            "c",
            "the exported C code, compiled here",
            ("numpy",),
            "apt-get install gcc",
            _open_c,
            executes="c",
            built=_compiler_is_there,
            step=_step_c,
        ),
        RuntimeInfo(
            "lava", "Lava's simulator on the exported process graph", ("lava",), _LAVA, _open_lava, executes="lava", step=_step_lava
        ),
        RuntimeInfo(
            "lava-stepper",
            "the exported process graph in NumPy, step by step",
            ("numpy",),
            _BASE,
            _open_lava_stepper,
            executes="lava",
            step=_step_lava_stepper,
        ),
    )
}


def open_runtime(
    name: str, artifact: Artifact, checkpoint: Path | None = None, *, lava_python: Path | None = None, threads: int | None = None
) -> Runtime:
    """Open a runtime by name.

    Raises:
        UsageError: DS2TA-504 unknown name, DS2TA-503 a checkpoint is needed.
        MissingRuntimeError: DS2TA-401 when what it imports is not installed, DS2TA-405 when it was not built, 406 without a compiler.

    """
    info = runtime_info(name)
    if not (name == "lava" and lava_python is not None):
        info.require()
    return info.open(artifact, RuntimeOptions(checkpoint, lava_python, threads))


def open_stepper(
    name: str,
    artifact: Artifact,
    batch: int = 1,
    wanted: Sequence[str] = (),
    *,
    lava_python: Path | None = None,
    threads: int | None = None,
) -> "Stepper":
    """Begin a run step by step on the runtime of that name.

    Raises:
        UsageError: DS2TA-504 unknown name, DS2TA-523 for a runtime that has no such form, 505 for an unknown wanted value.
        MissingRuntimeError: as :func:`open_runtime`.
        UnsupportedError: DS2TA-262 for a network without a readout.

    """
    info = runtime_info(name)
    if info.step is None:
        able = ", ".join(other.name for other in RUNTIMES.values() if other.step is not None)
        raise UsageError(Problem("DS2TA-523", f"the runtime {name!r} does not run step by step", mend=f"these do: {able}"))
    if not (name == "lava" and lava_python is not None):
        info.require()
    return info.step(artifact, RuntimeOptions(lava_python=lava_python, threads=threads), batch, wanted)


def runtime_info(name: str) -> RuntimeInfo:
    """Return what is known of a runtime, or raise UsageError (DS2TA-504)."""
    info = RUNTIMES.get(name)
    if info is None:
        raise UsageError(Problem("DS2TA-504", f"there is no runtime {name!r}", mend=f"there are: {', '.join(RUNTIMES)}"))
    return info


def require_torch() -> None:
    """Raise MissingRuntimeError (DS2TA-401) with the installing command when PyTorch is absent."""
    if importlib.util.find_spec("torch") is None:
        raise MissingRuntimeError(Problem("DS2TA-401", "reading a checkpoint needs PyTorch", mend=_TORCH))
