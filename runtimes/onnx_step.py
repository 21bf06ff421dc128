"""What the runtimes of ``model_step.onnx`` have in common: the state between two calls, and bringing out inner values."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ds2ta_deploy.artifact import MODEL_STEP, Artifact
from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.base import Trace
from ds2ta_deploy.runtimes.onnx_file import OnnxFileRuntime, Session, expose, name_values, parse
from ds2ta_deploy.runtimes.onnx_part import value_info
from ds2ta_deploy.runtimes.onnx_structure import BRANCHES, branches_of
from ds2ta_deploy.runtimes.run_state import Remembered
from ds2ta_deploy.runtimes.stepper import Stepper
from ds2ta_deploy.step_interface import FRAME, NEXT, STATE, STEPS, SUMMED, StepInterface

#: Prefixes of the names under which a choice hands out inner values, and its branch that has none.
_SHOWN, _ABSENT = "shown.", "absent."

#: Missing values that are named.
_NAMED = 20


class OnnxStepper(Stepper):
    """Runs ``model_step.onnx``, frame after frame; the logits are those that the file computes."""

    runtime: ClassVar[type[OnnxFileRuntime]]

    #: The logits that the file gave for the steps that are summed up; None before the first of them.
    _given: NDArray[np.int32] | None

    def __init__(
        self, data: bytes, form: StepForm, batch: int, wanted: Sequence[str] = (), *, where: str = MODEL_STEP, threads: int | None = None
    ) -> None:
        """Begin a run of the file's bytes; the engine uses so many threads, where it can choose.

        Raises:
            InputError: DS2TA-160 when the bytes are no ONNX file, 161 when the engine cannot load it or a wanted value is
                not made, 164 when it holds what no exported file does.
            UsageError: DS2TA-505 for a wanted name that is no value of the network.

        """
        super().__init__(form, batch, wanted)
        self._where = where
        self._interface = StepInterface.of(form)
        model = parse(data, where, steps=True)
        self._shown = _show(model, form, self.wanted)
        missing = [name for name in self.wanted if name not in self._shown]
        if missing:
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            what = f"it makes no {', '.join(map(repr, missing[:_NAMED]))}{more}"
            raise InputError(Problem("DS2TA-161", what, where, "export again"))
        try:
            self._session: Session = self.runtime.load(model, threads)
        except Exception as error:  # engines raise types of their own, and whatever Python raises
            raise self.runtime.refused(error, where) from error
        self._outputs = [form.block.output, *self._interface.pairs.values(), *self._shown.values()]
        self._state = self._silence()

    @classmethod
    def from_artifact(cls, artifact: Artifact, batch: int, wanted: Sequence[str] = (), threads: int | None = None) -> Self:
        """Begin a run of the artifact's step form.

        Raises:
            InputError: DS2TA-152 when the artifact has none, and what the constructor raises.
            UnsupportedError: DS2TA-260 to 262 for a network that does not run step by step.

        """
        form = StepForm.of(artifact.graph)
        require_step_file(artifact)
        return cls(artifact.read(MODEL_STEP), form, batch, wanted, where=str(artifact.path / MODEL_STEP), threads=threads)

    def logits(self) -> NDArray[np.int32]:
        """Return the logits that the file gave for the steps that are summed up; those of no step are the bias."""
        return super().logits() if self._given is None else self._given.copy()

    def begin_sum(self) -> None:
        """Let the logits sum up what comes from now on."""
        super().begin_sum()
        self._given = None

    def _begin(self) -> None:
        super()._begin()
        self._given = None

    def _advance(self, frames: NDArray[np.uint8]) -> Trace:
        total = self._interface.total
        state = self._state | {total: self._total.astype(np.int32), SUMMED: np.array([self._summed], np.int64)}
        values: dict[str, NDArray[Any]] = {}
        for frame in frames:
            values = self._run(frame, state)
            state = {name: values[f"{NEXT}{name}"] for name in state}
        self._state, output = state, self.form.block.output
        self._given = values[output]  # checked to be int32
        made = {name: values[place] for name, place in self._shown.items()}
        return {**made, output: state[total].astype(np.int64) - self._total}

    def _run(self, frame: NDArray[np.uint8], state: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Call the file once, and see that the state stays what it is."""
        try:
            values = self._session(self._outputs, {FRAME: frame, **{f"{STATE}{name}": array for name, array in state.items()}})
        except Exception as error:  # as above
            raise self.runtime.refused(error, self._where) from error
        named = {name: np.asarray(value) for name, value in zip(self._outputs, values, strict=True)}
        expected = {f"{NEXT}{name}": array for name, array in state.items()} | {self.form.block.output: state[self._interface.total]}
        wrong = [name for name, like in expected.items() if (named[name].shape, named[name].dtype) != (like.shape, like.dtype)]
        if wrong:
            raise InputError(
                Problem("DS2TA-161", f"it gives another shape or type of {name!r}", self._where, "export again") for name in wrong
            )
        return named

    def _remembered(self) -> Remembered:
        return {name: self._state[name].copy() for name in self.form.state_types}

    def _remember(self, taken: int, remembered: Remembered) -> None:
        clock = {STEPS: np.array([taken], np.int64)} if STEPS in self._interface.clock else {}
        self._state = {**self._silence(), **clock, **remembered}
        self._given = None

    def _silence(self) -> dict[str, NDArray[Any]]:
        """Return the state before the first frame."""
        sizes = {name: [self.batch if size is None else size for size in kind.shape] for name, kind in self._interface.state.items()}
        return {name: np.zeros(sizes[name], kind.dtype) for name, kind in self._interface.state.items()}


def require_step_file(artifact: Artifact) -> None:
    """Raise InputError (DS2TA-152) for an artifact that was exported without a step form."""
    if MODEL_STEP not in artifact.manifest.files:
        raise InputError(Problem("DS2TA-152", f"the artifact has no {MODEL_STEP}", str(artifact.path), "export again, for onnx or all"))


def _show(model: onnx.ModelProto, form: StepForm, wanted: Sequence[str]) -> dict[str, str]:
    """Make the wanted values outputs of the file, in place; return under which names those that it makes come out.

    A chunk's values are made inside a branch, which hands them out when the chunk is full; the other one hands out nothing.
    """
    if form.span == 1:
        exposed, outputs = expose(model, form.block, wanted)
        model.CopyFrom(exposed)
        return {name: name for name in wanted if name in outputs}
    found = next(((node, graphs) for node in model.graph.node if len(graphs := branches_of(node)) == len(BRANCHES)), None)
    if found is None:
        return {}
    choice, (full, waiting) = found
    made, shown = name_values(model, full, wanted), dict[str, str]()
    for name in wanted:
        if name not in made:
            continue
        kind, shown[name] = form.block.types[name], f"{_SHOWN}{name}"
        nothing = numpy_helper.from_array(np.zeros([0] * len(kind.shape), kind.dtype))
        waiting.node.append(helper.make_node("Constant", [], [f"{_ABSENT}{name}"], value=nothing))
        waiting.output.append(helper.make_tensor_value_info(f"{_ABSENT}{name}", nothing.data_type, nothing.dims))
        full.output.append(value_info(name, kind))
        choice.output.append(shown[name])
        model.graph.output.append(helper.make_tensor_value_info(shown[name], nothing.data_type, None))
    return shown
