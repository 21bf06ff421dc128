"""What can be exported to: one entry a target, and everything that depends on the target alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ds2ta_deploy.errors import Problem, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ds2ta_deploy.graph.graph import Graph


@dataclass(frozen=True)
class TargetOptions:
    """What a target may be told besides the graph; the defaults suit every target.

    Attributes:
        inline: expand the ONNX functions.
        lowering: ``stock`` puts populations on the engine's own processes where these compute the same integers.

    """

    inline: bool = False
    lowering: str = "custom"


@dataclass(frozen=True)
class Target:
    """Something to export to.

    Attributes:
        name: as given to ``--target``.
        about: one line for people.
        write: graph, options and golden inputs -> files of the target, by name relative to the artifact.
        profile: widths that a model is frozen under unless others are asked for.
        verify_with: runtimes that an export is compared on unless others are named.
        run_with: runtime that runs an artifact unless another is named.
        inlines: whether it has functions to expand.
        holds: names of the targets whose files it writes; by default its own.
        lowerings: how its processes may be expressed.

    """

    name: str
    about: str
    write: "Callable[[Graph, TargetOptions, NDArray[np.uint8]], dict[str, bytes]]"
    profile: str
    verify_with: tuple[str, ...]
    run_with: str
    inlines: bool = False
    holds: tuple[str, ...] = ()
    lowerings: tuple[str, ...] = ("custom",)

    def __post_init__(self) -> None:
        """Let a target that holds no others hold itself."""
        if not self.holds:
            object.__setattr__(self, "holds", (self.name,))

    def check(self, options: TargetOptions) -> None:
        """Raise UsageError (DS2TA-511) for every option that means nothing to this target."""
        problems = []
        if options.inline and not self.inlines:
            what = f"the target {self.name!r} has no functions to expand"
            problems.append(Problem("DS2TA-511", what, mend="leave --inline out"))
        if options.lowering not in self.lowerings:
            what = f"the target {self.name!r} has no lowering {options.lowering!r}"
            problems.append(Problem("DS2TA-511", what, mend=f"--lowering {' or '.join(self.lowerings)}"))
        if problems:
            raise UsageError(problems)


def _write_onnx(graph: "Graph", options: TargetOptions, _inputs: "NDArray[np.uint8]") -> dict[str, bytes]:
    from ds2ta_deploy.artifact import MODEL, MODEL_STEP
    from ds2ta_deploy.exporters.onnx import to_onnx
    from ds2ta_deploy.exporters.onnx.step_model import to_onnx_step
    from ds2ta_deploy.graph.stepping import StepForm, makes_logits

    models = {MODEL: to_onnx(graph, inline=options.inline)}
    if makes_logits(graph):
        models[MODEL_STEP] = to_onnx_step(StepForm.of(graph), inline=options.inline)
    return {name: model.SerializeToString(deterministic=True) for name, model in models.items()}


def _write_lava(graph: "Graph", options: TargetOptions, _inputs: "NDArray[np.uint8]") -> dict[str, bytes]:
    from ds2ta_deploy.exporters.lava import to_lava

    return to_lava(graph, "stock" if options.lowering == "stock" else "custom")


def _write_c(graph: "Graph", _options: TargetOptions, inputs: "NDArray[np.uint8]") -> dict[str, bytes]:
    from ds2ta_deploy.exporters.c import to_c

    return to_c(graph, inputs)


_ONNX = Target(
    "onnx",
    "one ONNX file of integer ops that any stock ONNX Runtime executes",
    _write_onnx,
    profile="cpu",
    verify_with=("onnxruntime",),
    run_with="onnxruntime",
    inlines=True,
)

_LAVA = Target(
    "lava",
    "a process graph for Loihi-style chips, checked on Lava's simulator",
    _write_lava,
    profile="loihi",
    verify_with=("lava", "lava-stepper"),
    run_with="lava-stepper",
    lowerings=("custom", "stock"),
)


_C = Target(
    "c",
    "C99 for microcontrollers: no library, no heap, with a self-test",
    _write_c,
    profile="cpu",
    verify_with=("c",),
    run_with="c",
)


def _write_all(graph: "Graph", options: TargetOptions, inputs: "NDArray[np.uint8]") -> dict[str, bytes]:
    return {name: data for target in (_ONNX, _LAVA, _C) for name, data in target.write(graph, options, inputs).items()}


#: One graph for every engine: the strictest profile decides, so that all of them compute the same integers.
_ALL = Target(
    "all",
    "everything above in one artifact, frozen under the strictest profile",
    _write_all,
    profile="loihi",
    verify_with=_ONNX.verify_with + _LAVA.verify_with + _C.verify_with,
    run_with=_ONNX.run_with,
    inlines=True,
    holds=(_ONNX.name, _LAVA.name, _C.name),
    lowerings=_LAVA.lowerings,
)

#: Every target, by name.
TARGETS: dict[str, Target] = {target.name: target for target in (_ONNX, _LAVA, _C, _ALL)}


def find_target(name: str) -> Target:
    """Return a target by name.

    Raises:
        UsageError: DS2TA-506 when there is none of that name.

    """
    if name not in TARGETS:
        raise UsageError(Problem("DS2TA-506", f"there is no target {name!r}", mend=f"there are: {', '.join(TARGETS)}"))
    return TARGETS[name]
