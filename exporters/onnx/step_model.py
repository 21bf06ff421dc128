"""The step form as a file: one frame and the state in, the logits so far and the next state out."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ds2ta_deploy.exporters.onnx.functions import FunctionLibrary
from ds2ta_deploy.exporters.onnx.model_file import build_model, properties_of, value_info
from ds2ta_deploy.exporters.onnx.populations import Emitter
from ds2ta_deploy.exporters.onnx.step_calls import StepCaller
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.graph.populations import group, population_values
from ds2ta_deploy.graph.stepping import StepForm, readout_of
from ds2ta_deploy.step_interface import (
    BLOCK,
    CLOCK,
    FRAME,
    FRAMES,
    KEPT,
    MADE,
    NEXT,
    STATE,
    STEPS,
    SUMMED,
    StepInterface,
    require_free_names,
)

_ABOUT = (
    "A spiking transformer in integers, step by step: one frame and the state in, the logits of the steps so far and the next "
    "state out. The state is zero before the first frame; ds2ta.step.state says which output is which input of the next step. "
    "Zero state.summed and {total} to begin another sum, everything to begin again. "
    "{scale!r} times {trained} / next.summed times the integer logits are those of the trained network. {latency}"
)


def to_onnx_step(form: StepForm, *, inline: bool = False) -> onnx.ModelProto:
    """Return the step form as an ONNX model: a frame and the state in, logits and the next state out, nothing but integers.

    The input ``frame`` is uint8 ``[batch, H, W, C]``. What an op remembers is the input ``state.<op>.<role>`` and the output
    ``next.<op>.<role>``; ``state.summed`` counts the steps that ``state.<readout>.total`` sums up. Networks with chunks have
    ``state.frames``, the last frames, too, and compute nothing until a chunk is full. Populations have their general form, so
    that no native kernel takes a function of this file for one over all time steps.

    Raises:
        UnsupportedError: DS2TA-230 for ops that have no ONNX form, DS2TA-231 for products that some CPUs would saturate,
            DS2TA-233 for a value that has the name of a part of the state.

    Example:
        >>> onnx.save(to_onnx_step(StepForm.of(graph)), "model_step.onnx")  # doctest: +SKIP

    """
    require_free_names(form)
    interface = StepInterface.of(form)
    library = FunctionLibrary()
    caller = StepCaller(form.block, library)
    emitter = Emitter(form.block, library, inline, fuses=False, caller=caller, behind=NEXT if form.span == 1 else MADE)
    emitter.emit_all(population for population in group(form.block) if form.block.output not in population.outputs)
    _add_to_sum(emitter, caller, form)
    body = _Body(form, interface, emitter)
    body.begin()
    if form.span == 1:
        body.nodes += emitter.nodes
    else:
        body.when_full()
    body.end(caller)
    return build_model(body.graph(), library, _about(form, interface), _properties(form, interface), inline=inline)


def _add_to_sum(emitter: Emitter, caller: StepCaller, form: StepForm) -> None:
    """Append the node of the readout, which adds to the sum."""
    readout = readout_of(form.block)
    call = caller.sum_call(readout)
    arrays = {f"{readout.name}.{key}": array for key, array in call.arrays.items()}
    emitter.append(call.op_type, readout.name, list(readout.inputs), arrays, [], states=[f"{readout.name}.{role}" for role in call.states])


@dataclass
class _Body:
    """The main graph under construction."""

    form: StepForm
    interface: StepInterface
    emitter: Emitter

    def __post_init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, *integers: int) -> str:
        self.constants.append(numpy_helper.from_array(np.array(integers, np.int64), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output))
        return output

    def begin(self) -> None:
        """Make the block's input of the frame, and say which block it is; count."""
        span, name = self.form.span, self.form.block.input_name
        one, axis = self.constant(f"{CLOCK}one", 1), self.constant(f"{CLOCK}axis", 0)
        frame = self.node("Unsqueeze", [FRAME, axis], f"{CLOCK}frame" if span > 1 else name)
        steps = f"{STATE}{STEPS}"
        if STEPS in self.interface.clock:
            self.node("Add", [steps, one], f"{NEXT}{STEPS}")
            self.node("Div", [steps, self.constant(f"{CLOCK}span", span)], BLOCK)
        if span == 1:
            self.node("Add", [f"{STATE}{SUMMED}", one], f"{NEXT}{SUMMED}")
            return
        self.node("Concat", [f"{STATE}{FRAMES}", frame], name)
        self.nodes[-1].attribute.append(helper.make_attribute("axis", 0))
        self.node("Slice", [name, one, f"{CLOCK}span", axis], f"{NEXT}{FRAMES}")
        self.node("Mod", [steps, f"{CLOCK}span"], f"{CLOCK}waiting")
        self.node("Equal", [f"{CLOCK}waiting", self.constant(f"{CLOCK}last", span - 1)], f"{CLOCK}full")
        self.node("Cast", [f"{CLOCK}full"], f"{CLOCK}passed")
        self.nodes[-1].attribute.append(helper.make_attribute("to", onnx.TensorProto.INT64))
        self.node("Mul", [f"{CLOCK}passed", f"{CLOCK}span"], f"{CLOCK}added")
        self.node("Add", [f"{STATE}{SUMMED}", f"{CLOCK}added"], f"{NEXT}{SUMMED}")

    def when_full(self) -> None:
        """Compute the block when the chunk is full; until then everything stays as it is."""
        remembered = self.interface.remembered
        made = [value_info(f"{MADE}{name}", kind) for name, kind in remembered.items()]
        then = helper.make_graph(self.emitter.nodes, "chunk is full", [], made, value_info=self._shown())
        stay = [helper.make_node("Identity", [f"{STATE}{name}"], [f"{KEPT}{name}"], name=f"{KEPT}{name}") for name in remembered]
        kept = [value_info(f"{KEPT}{name}", kind) for name, kind in remembered.items()]
        otherwise = helper.make_graph(stay, "chunk is not full", [], kept)
        outputs = [f"{NEXT}{name}" for name in remembered]
        self.nodes.append(helper.make_node("If", [f"{CLOCK}full"], outputs, name="chunk", then_branch=then, else_branch=otherwise))

    def end(self, caller: StepCaller) -> None:
        """Make the logits of the sum."""
        readout = readout_of(self.form.block)
        call = caller.logits_call(self.form)
        for key, array in call.arrays.items():
            self.constants.append(numpy_helper.from_array(array, f"{readout.name}.{key}"))
        given = [f"{NEXT}{self.interface.total}", f"{NEXT}{SUMMED}", *(f"{readout.name}.{key}" for key in call.arrays)]
        output, attributes = self.form.block.output, dict[str, Any](call.attributes)
        self.nodes.append(helper.make_node(call.op_type, given, [output], name=output, domain=call.domain, **attributes))

    def graph(self) -> onnx.GraphProto:
        """Return it, with its inputs and outputs."""
        block, state = self.form.block, self.interface.state
        frame = ValueType(block.input_type.shape[1:], block.input_type.dtype)
        return helper.make_graph(
            self.nodes,
            f"{block.name}, step by step",
            [value_info(FRAME, frame), *(value_info(f"{STATE}{name}", kind) for name, kind in state.items())],
            [
                value_info(block.output, block.types[block.output]),
                *(value_info(f"{NEXT}{name}", kind) for name, kind in state.items()),
            ],
            initializer=[*self.constants, *self.emitter.initializers],
            value_info=self._shown() if self.form.span == 1 else [],
        )

    def _shown(self) -> list[onnx.ValueInfoProto]:
        block = self.form.block
        return [value_info(name, block.types[name]) for name in population_values(block) if name != block.output]


def _about(form: StepForm, interface: StepInterface) -> str:
    plural = "s" if form.latency > 1 else ""
    chunks = f"Nothing is computed until {form.span} frames are there: the logits lag behind by up to {form.latency} frame{plural}."
    latency = chunks if form.span > 1 else "The logits never lag behind."
    scale = form.sequence.output_scale
    total = f"{STATE}{interface.total}"
    return _ABOUT.format(total=total, scale=scale, trained=form.trained_steps, latency=latency)


def _properties(form: StepForm, interface: StepInterface) -> dict[str, object]:
    """Return those of the network, and all that is needed to run it step by step."""
    step = {
        "state": json.dumps(interface.pairs),
        "span": form.span,
        "latency": form.latency,
        "trained_steps": form.trained_steps,
        "longest": "endless" if form.longest is None else form.longest,
        "longest_sum": form.longest_sum,
    }
    return {**properties_of(form.sequence), **{f"step.{name}": value for name, value in step.items()}}
