"""A runtime step by step: frames in, logits out whenever asked, and a state that can be put aside and taken up again."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.graph.graph import check_input
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.base import Trace, require_known
from ds2ta_deploy.runtimes.run_state import Remembered, RunState


@dataclass(frozen=True, eq=False)
class Block:
    """What time steps that were computed together gave.

    Attributes:
        steps: how many; one, unless the network has chunks.
        increment: what they add to the sum of the readout, int32 ``[B, classes]``, without any bias.
        values: the wanted values over these steps.

    """

    steps: int
    increment: NDArray[np.int32]
    values: Trace


class Stepper(ABC):
    """Runs a network step by step on one engine.

    What it computes over T steps from the beginning is what the sequence of T steps gives, integer for integer:
    :meth:`logits` after T frames are the logits of :func:`ds2ta_deploy.graph.stepping.over_frames` for T.
    """

    name: ClassVar[str]

    def __init__(self, form: StepForm, batch: int, wanted: Sequence[str] = ()) -> None:
        """Begin a run.

        Args:
            form: the network step by step.
            batch: number of samples that run side by side.
            wanted: names of values that every block shall report.

        Raises:
            UsageError: DS2TA-505 for a wanted name that is no value of the network.

        """
        require_known(form.block, wanted)
        self.form, self.batch, self.wanted = form, batch, tuple(name for name in wanted if name != form.block.output)
        classes = form.block.types[form.block.output].shape[-1] or 0
        self._silent = np.zeros((batch, classes), np.int64)
        self._frame_shape = tuple(size or 0 for size in form.block.input_type.shape[2:])
        self._pending: list[NDArray[np.uint8]] = []
        self._begin()

    @property
    def taken(self) -> int:
        """Time steps that were computed since the beginning."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Frames that were given and wait until a chunk is full."""
        return len(self._pending)

    @property
    def summed(self) -> int:
        """Time steps that the present logits sum up."""
        return self._summed

    def step(self, frame: NDArray[np.uint8]) -> Block | None:
        """Take one frame.

        Args:
            frame: uint8 ``[B, H, W, C]``; a still picture's network is shown its picture at every step.

        Returns:
            What was computed; None while a chunk is not full.

        Raises:
            InputError: DS2TA-120 or 121 when the frame does not fit, or is one of another number of samples.
            UsageError: DS2TA-520 when the run may not become longer, DS2TA-521 when the sum may not. Nothing is done then.

        """
        blocks = self.steps(frame[None])
        return blocks[0] if blocks else None

    def steps(self, frames: NDArray[np.uint8]) -> list[Block]:
        """Take several frames, uint8 ``[steps, B, H, W, C]``; errors as :meth:`step`. Engines that are slow to start take them at once.

        Returns:
            What was computed, a block for each of the network's :attr:`StepForm.span` frames.

        """
        check_input(frames, ValueType((None, self.batch, *self._frame_shape), "uint8"), self.form.block.input_name)
        self._require_room(len(self._pending) + len(frames))
        self._pending += [frame.copy() for frame in frames]
        whole = len(self._pending) // self.form.span * self.form.span
        blocks = []
        for made in self._blocks(np.array(self._pending[:whole], np.uint8)) if whole else ():
            increment = made.pop(self.form.block.output)
            del self._pending[: self.form.span]
            self._taken += self.form.span
            self._summed += self.form.span
            self._total += increment
            blocks.append(Block(self.form.span, increment.astype(np.int32, copy=False), made))
        return blocks

    def logits(self) -> NDArray[np.int32]:
        """Return the logits of the steps that are summed up, int32 ``[B, classes]``: their sum and the bias for so many."""
        return (self._total + self.form.bias_over(self._summed)).astype(np.int32)

    def begin_sum(self) -> None:
        """Let the logits sum up what comes from now on; membranes and histories stay."""
        self._total, self._summed = self._silent.copy(), 0

    def restart(self) -> None:
        """Forget everything: the next frame is the first of a run."""
        self._begin()
        self._remember(0, {name: array.astype(np.int32) for name, array in self.form.initial(self.batch).items()})

    def state(self) -> RunState:
        """Return all that has to be known to go on."""
        pending = np.array(self._pending, np.uint8).reshape(-1, self.batch, *self._frame_shape)
        return RunState(self._taken, self._summed, self._total.astype(np.int32), pending, self._remembered())

    def resume(self, state: RunState) -> None:
        """Go on from a state of the same network and batch, from this engine or another; checked by who read it."""
        self._taken, self._summed, self._total = state.taken, state.summed, state.total.astype(np.int64)
        self._pending = [frame.copy() for frame in state.pending]
        self._remember(state.taken, state.remembered)

    def _blocks(self, frames: NDArray[np.uint8]) -> Iterator[Trace]:
        """Compute some blocks, one behind the other; as :meth:`_advance`."""
        for begin in range(0, len(frames), self.form.span):
            yield self._advance(frames[begin : begin + self.form.span])

    @abstractmethod
    def _advance(self, frames: NDArray[np.uint8]) -> Trace:
        """Compute one block behind the last one.

        Args:
            frames: uint8 ``[span, B, H, W, C]``.

        Returns:
            The wanted values, and under the name of the network's output what the block adds to the sum, int32 ``[B, classes]``.

        """

    @abstractmethod
    def _remembered(self) -> Remembered:
        """Return what is remembered behind the last block, as :attr:`StepForm.state_types` says; own copies."""

    @abstractmethod
    def _remember(self, taken: int, remembered: Remembered) -> None:
        """Put in place what was remembered after ``taken`` steps."""

    def _begin(self) -> None:
        self._taken, self._summed, self._total = 0, 0, self._silent.copy()
        self._pending.clear()

    def _require_room(self, frames: int) -> None:
        longest, problems = self.form.longest, []
        if longest is not None and self._taken + frames > longest:
            what = f"is proven for {longest} time steps, and as many were taken"
            problems.append(Problem("DS2TA-520", what, self.form.block.name, "begin again with restart()"))
        if self._summed + frames > self.form.longest_sum:
            what = f"may sum up {self.form.longest_sum} time steps, and as many were summed up"
            problems.append(Problem("DS2TA-521", what, self.form.block.output, "begin another sum with begin_sum()"))
        if problems:
            raise UsageError(problems)
