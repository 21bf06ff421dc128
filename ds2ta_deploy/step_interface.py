"""What ``model_step.onnx`` is handed and hands back: the names, shapes and types of its state."""

from dataclasses import dataclass
from typing import Self

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.graph.stepping import StepForm, readout_of

#: Name of the file's input.
FRAME = "frame"

#: Prefixes of the names of the state: as an input, and as an output.
STATE, NEXT = "state.", "next."

#: Of the state: how many steps the logits sum up, how many frames were given, and the last of them, which a chunk may need.
SUMMED, STEPS, FRAMES = "summed", "steps", "frames"

#: The value that says how many blocks of time steps were computed before, int64 ``[1]``.
BLOCK = "block"

#: Prefixes inside the file: of what a block leaves behind, of what is kept while a chunk is not full, and of what counts frames.
MADE, KEPT, CLOCK = "made.", "kept.", "clock."


@dataclass(frozen=True)
class TensorType:
    """Shape and type of a tensor that is no value of the network; None is the batch."""

    shape: tuple[int | None, ...]
    dtype: str


_COUNTER = TensorType((1,), "int64")


@dataclass(frozen=True)
class StepInterface:
    """The state of the file, all zero before the first frame.

    Attributes:
        remembered: ``op.role`` -> shape and type of what the ops of a block remember, the readout's sum last.
        clock: the same of the counters, and of the frames that a chunk may still need.
        total: which of them is the readout's sum.

    """

    remembered: dict[str, ValueType]
    clock: dict[str, TensorType]
    total: str

    @classmethod
    def of(cls, form: StepForm) -> Self:
        """Read it off a step form: steps are counted where chunks or saccadic neurons need it."""
        readout = readout_of(form.block)
        ((role, kind),) = readout.state_types([form.block.types[name] for name in readout.inputs]).items()
        total = f"{readout.name}.{role}"
        clock = {SUMMED: _COUNTER}
        if form.span > 1 or any(isinstance(op, ops.TimeMix | ops.Threshold) for op in form.block):
            clock[STEPS] = _COUNTER
        if form.span > 1:
            clock[FRAMES] = TensorType((form.span - 1, *form.block.input_type.shape[1:]), form.block.input_type.dtype)
        return cls({**form.state_types, total: kind}, clock, total)

    @property
    def state(self) -> dict[str, ValueType | TensorType]:
        """All of the state."""
        return {**self.remembered, **self.clock}

    @property
    def pairs(self) -> dict[str, str]:
        """Name of an input -> name of the output that is this input of the next step."""
        return {f"{STATE}{name}": f"{NEXT}{name}" for name in self.state}


def require_free_names(form: StepForm) -> None:
    """Raise UnsupportedError (DS2TA-233) for every value of a network that has the name of something else in the file."""
    prefixes = (STATE, NEXT, MADE, KEPT, CLOCK)
    taken = [name for name in form.block.types if name in (FRAME, BLOCK) or name.startswith(prefixes)]
    if taken:
        raise UnsupportedError(Problem("DS2TA-233", "is a name that the step form needs for its state", name) for name in taken)
