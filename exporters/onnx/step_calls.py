"""Ops as calls step by step: what they remember goes in behind their constants, and comes out behind their own outputs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.exporters.onnx import bodies, op_bodies
from ds2ta_deploy.exporters.onnx.about import about
from ds2ta_deploy.exporters.onnx.calls import Attributes, Call, Caller
from ds2ta_deploy.exporters.onnx.functions import DOMAIN
from ds2ta_deploy.exporters.onnx.saturation import require_exact
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.stepping import StepForm, readout_of
from ds2ta_deploy.step_interface import BLOCK


@dataclass(frozen=True)
class StepCaller(Caller):
    """Calls the ops of a block, which go on from what was remembered."""

    def remembers(self, op: ops.Op) -> tuple[str, ...]:
        """Return the roles of what its class says that it remembers."""
        return tuple(op.state_types([self.graph.types[name] for name in op.inputs]))

    def reads(self, op: ops.Op) -> tuple[str, ...]:
        """Return the number of the block for a saccadic neuron, which has weights for every step of a run."""
        return (BLOCK,) if isinstance(op, ops.Threshold) or (isinstance(op, ops.TimeMix) and self.remembers(op)) else ()

    def call(self, op: ops.Op) -> Call | None:
        """Return the call of an op, or None when it has no ONNX form."""
        shape = self.graph.types[op.inputs[0]].shape
        match op:
            case ops.TimeMix() if self.remembers(op):
                body = op_bodies.step_time_mix(len(op.matrix), shape[0] or 1, len(shape))
                return self._function(op, "TimeMix", ["inputs"], ["mixed"], body, arrays={"matrix": op.matrix})
            case ops.Threshold():
                body, arrays = op_bodies.step_threshold(shape[0] or 1, len(shape)), {"threshold": op.threshold}
                return self._function(op, "Threshold", ["inputs"], ["spikes"], body, arrays=arrays)
            case _:
                return super().call(op)

    def sum_call(self, op: ops.Readout) -> Call:
        """Call what adds to the readout's sum; it makes nothing else."""
        require_exact(self.graph, op)
        return self._function(op, "Readout", ["tokens"], [], bodies.step_readout(), arrays={"weight": op.weight.T})

    def logits_call(self, form: StepForm) -> Call:
        """Call what makes the logits of the sum: it adds the bias for so many steps."""
        attributes: Attributes
        bias, trained = readout_of(form.sequence).bias.astype(np.int64), form.trained_steps
        arrays: dict[str, NDArray[Any]] = {"bias_whole": bias // trained, "bias_rest": bias % trained}
        given, attributes = ["total", "summed", *arrays], {"trained_steps": trained}
        fixed = "Here the sum is given; its bias over another number of steps is floor(b summed / T + 1/2), b = T bias_whole + bias_rest."
        told = about(ops.Readout, attributes=attributes, fixed=fixed)
        kind = self.library.add("StepLogits", given, ["logits"], list(attributes), bodies.step_logits(), told)
        return Call(kind, DOMAIN, arrays, attributes)
