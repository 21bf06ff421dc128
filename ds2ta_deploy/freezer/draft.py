"""The graph under construction, and the pieces that every part of a network is frozen into."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.models.attention import GuardBits, Scale
from ds2ta_deploy.models.layers import StreamNeuron
from ds2ta_deploy.models.neurons import IntegerLif
from ds2ta_deploy.models.windows import IntegerWindow, TemporalWindow

#: Bits of weights that engines store in one byte.
_BYTE = np.iinfo(np.int8)


@dataclass
class Draft:
    """The ops so far."""

    drafted: list[ops.Op] = field(default_factory=list)

    def add(self, kind: type[ops.Op], name: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Append an op; returns the name of its first output."""
        self.drafted.append(kind(name=name, inputs=tuple(inputs), outputs=outputs, **attributes))
        return outputs[0]

    def sum(self, name: str, left: str, right: str) -> str:
        """Append a residual sum."""
        return self.add(ops.Add, f"{name}.add", [left, right], name)

    def neuron(self, neuron: torch.nn.Module, name: str, current: str) -> str:
        """Append a neuron; returns the name of its spikes."""
        if not isinstance(neuron, IntegerLif):
            raise not_quantized("neuron", name)
        threshold = integers(neuron.threshold.flatten(), np.int32, f"{name}.threshold")
        leak = {"leak_numerator": neuron.leak_numerator, "leak_shift": neuron.leak_shift}
        return self.add(ops.Lif, name, [current], f"{name}.spikes", f"{name}.membrane", threshold=threshold, **leak)

    def stream_neuron(self, layer: StreamNeuron, name: str, stream: str) -> str:
        """Append neurons that read a stream."""
        return self.neuron(layer.neuron, name, stream)

    def bias(self, name: str, product: str, current: str, bias: Tensor | None, window: TemporalWindow | IntegerWindow | None = None) -> str:
        """Append window and bias; without a window one tap of no decay."""
        if bias is None or isinstance(window, TemporalWindow):
            raise not_quantized("layer", name)
        settings = {"taps": 1, "decay": 0, "guard_bits": 0}
        if window is not None:
            settings = {"taps": window.taps, "decay": window.decay, "guard_bits": window.guard_bits}
        return self.add(ops.TemporalWindow, name, [product], current, bias=integers(bias, np.int32, f"{name}.bias"), **settings)

    def guarded(self, name: str, value: str, current: str, scale: Scale | GuardBits, channels: int) -> str:
        """Append guard bits; there is no bias."""
        if not isinstance(scale, GuardBits):
            raise not_quantized("scale", name)
        settings = {"bias": np.zeros(channels, np.int32), "taps": 1, "decay": 0, "guard_bits": scale.guard_bits}
        return self.add(ops.TemporalWindow, name, [value], current, **settings)

    def split(self, name: str, value: str, heads: int) -> str:
        """Append a split into heads."""
        return self.add(ops.SplitHeads, f"{name}.split", [value], f"{name}._heads", heads=heads)


def integers(tensor: Tensor, dtype: type[np.signedinteger[Any]], name: str) -> NDArray[Any]:
    """Return the tensor's integers; raise rather than round or wrap."""
    array, limits = tensor.detach().numpy(), np.iinfo(dtype)
    inside = bool(((array >= limits.min) & (array <= limits.max) & (array == np.rint(array))).all())  # False for NaN
    if not inside:
        what = f"holds [{array.min():.6g}, {array.max():.6g}], which {np.dtype(dtype).name} cannot store"
        raise UnsupportedError(Problem("DS2TA-203", what, name))
    return array.astype(dtype)


def weights(tensor: Tensor, name: str) -> NDArray[Any]:
    """Return integer weights in the narrowest type that engines know: int8 where all of them fit, else int16."""
    fits = bool(((tensor >= _BYTE.min) & (tensor <= _BYTE.max)).all())
    return integers(tensor, np.int8 if fits else np.int16, name)


def not_quantized(what: str, name: str) -> UnsupportedError:
    """Say that a part of the model is still a trained one."""
    return UnsupportedError(Problem("DS2TA-202", f"the {what} is not quantized", name))
