"""What a runtime is, and what is known of one."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.errors import MissingRuntimeError, Problem, UsageError
from ds2ta_deploy.graph.graph import Graph

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
