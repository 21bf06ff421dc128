"""Which runtimes there are, and how one is opened by its name."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import MODEL_STEP, Artifact
from ds2ta_deploy.errors import MissingRuntimeError, Problem, UsageError
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.lava_package import INSTALL as _LAVA
from ds2ta_deploy.runtimes.base import Runtime, RuntimeInfo, RuntimeOptions, Trace

if TYPE_CHECKING:
    from ds2ta_deploy.runtimes.stepper import Stepper


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
