"""What can be exported to: one entry a target, and everything that depends on the target alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ds2ta_deploy.errors import Problem, UsageError

if TYPE_CHECKING:
    from ds2ta_deploy.graph.graph import Graph


@dataclass(frozen=True)
class Target:
    """Something to export to.

    Attributes:
        name: as given to ``--target``.
        about: one line for people.
        write: graph -> files of the target, by name relative to the artifact; takes ``inline`` where that means something.
        profile: widths that a model is frozen under unless others are asked for.
        verify_with: runtimes that an export is compared on unless others are named.
        run_with: runtime that runs an artifact unless another is named.
        inlines: whether it has functions to expand.
        holds: names of the targets whose files it writes; by default its own.

    """

    name: str
    about: str
    write: "Callable[[Graph, bool], dict[str, bytes]]"
    profile: str
    verify_with: tuple[str, ...]
    run_with: str
    inlines: bool = False
    holds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Let a target that holds no others hold itself."""
        if not self.holds:
            object.__setattr__(self, "holds", (self.name,))


def _write_onnx(graph: "Graph", inline: bool) -> dict[str, bytes]:  # noqa: FBT001 - called by position only
    from ds2ta_deploy.artifact import MODEL
    from ds2ta_deploy.exporters.onnx import to_onnx

    return {MODEL: to_onnx(graph, inline=inline).SerializeToString(deterministic=True)}


def _write_lava(graph: "Graph", _inline: bool) -> dict[str, bytes]:  # noqa: FBT001 - called by position only
    from ds2ta_deploy.exporters.lava import to_lava

    return to_lava(graph)


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
)


def _write_all(graph: "Graph", inline: bool) -> dict[str, bytes]:  # noqa: FBT001 - called by position only
    return {**_ONNX.write(graph, inline), **_LAVA.write(graph, inline)}


#: One graph for every engine: the strictest profile decides, so that all of them compute the same integers.
_ALL = Target(
    "all",
    "everything above in one artifact, frozen under the strictest profile",
    _write_all,
    profile="loihi",
    verify_with=_ONNX.verify_with + _LAVA.verify_with,
    run_with=_ONNX.run_with,
    inlines=True,
    holds=(_ONNX.name, _LAVA.name),
)

#: Every target, by name.
TARGETS: dict[str, Target] = {target.name: target for target in (_ONNX, _LAVA, _ALL)}


def find_target(name: str) -> Target:
    """Return a target by name.

    Raises:
        UsageError: DS2TA-506 when there is none of that name.

    """
    if name not in TARGETS:
        raise UsageError(Problem("DS2TA-506", f"there is no target {name!r}", mend=f"there are: {', '.join(TARGETS)}"))
    return TARGETS[name]
