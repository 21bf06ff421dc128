"""A decision at every frame: the logits of the last steps of a run that goes on, or of the steps since it began anew."""

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.stepper import Stepper


class Decider:
    """Runs a network over frames without an end, and sums up the steps that a decision is made from.

    After k <= window frames from the beginning, :attr:`logits` are those of the sequence of k time steps. Afterwards they are
    the readout over the last ``window`` steps, while membranes and histories go on; nothing is cleared.

    Attributes:
        window: time steps that a decision sums up.
        restart: time steps after which the run begins anew, membranes and all; None for never.

    """

    def __init__(self, stepper: Stepper, window: int | None = None, restart: int | None = None) -> None:
        """Take a run of one sample.

        Args:
            stepper: the run, at its beginning.
            window: by default the time steps that the network was trained for.
            restart: by default never, where the network is proven for ever; else the steps it is proven for.

        Raises:
            UsageError: DS2TA-526 for numbers of steps that the network has not.

        """
        form = stepper.form
        self.stepper = stepper
        self.window = form.trained_steps if window is None else window
        self.restart = form.longest if restart is None else restart
        problems = list(_impossible(form, self.window, self.restart))
        if problems:
            raise UsageError(problems)
        self._increments: deque[NDArray[np.int64]] = deque(maxlen=self.window // form.span)

    @property
    def summed(self) -> int:
        """Time steps that the present logits sum up."""
        return len(self._increments) * self.stepper.form.span

    @property
    def increments(self) -> NDArray[np.int32]:
        """What the steps of the window added, the oldest first: int32 ``[blocks, B, classes]``."""
        shape = (-1, *self.logits.shape)
        return np.array(self._increments, np.int32).reshape(shape)

    @property
    def logits(self) -> NDArray[np.int32]:
        """Logits of the window, int32 ``[B, classes]``."""
        bias = self.stepper.form.bias_over(self.summed).astype(np.int64)
        return (sum(self._increments, np.zeros((self.stepper.batch, len(bias)), np.int64)) + bias).astype(np.int32)

    def take(self, frame: NDArray[np.uint8]) -> bool:
        """Take a frame ``[H, W, C]``; return whether there are new logits, or the network waits for the rest of a chunk."""
        if self.restart is not None and self.stepper.taken + self.stepper.waiting >= self.restart:
            self.begin_anew()
        self.stepper.begin_sum()  # the window is summed up here
        block = self.stepper.step(frame[None])
        if block is None:
            return False
        self._increments.append(block.increment.astype(np.int64))
        return True

    def begin_anew(self) -> None:
        """Forget everything."""
        self.stepper.restart()
        self._increments.clear()

    def go_on_with(self, increments: Iterable[NDArray[np.int32]]) -> None:
        """Put back what the window held when a run's state was saved."""
        self._increments.clear()
        self._increments.extend(increment.astype(np.int64) for increment in increments)


def _impossible(form: StepForm, window: int, restart: int | None) -> Iterable[Problem]:
    """Say what is wrong with the numbers of steps."""
    span = form.span
    multiple = f", a multiple of the {span} steps of a chunk" if span > 1 else ""
    if not 1 <= window <= form.longest_sum or window % span:
        yield Problem("DS2TA-526", f"a window of {window} time steps: it has to be 1..{form.longest_sum}{multiple}", form.block.name)
    if restart is not None and (restart < 1 or restart % span or (form.longest is not None and restart > form.longest)):
        most = "" if form.longest is None else f" of at most {form.longest}"
        yield Problem("DS2TA-526", f"a run of {restart} time steps: it has to be a number{most}{multiple}", form.block.name)
