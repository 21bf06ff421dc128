"""A residual stream of currents: all layers that add into one channel share its scale, and so do all neurons that read it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import Linear as LinearOp
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.grid import fold_norm, integer_thresholds, uniform_grid
from ds2ta_deploy.models.layers import ConvSynapses, StreamNeuron, Synapses
from ds2ta_deploy.models.neurons import IntegerLif
from ds2ta_deploy.quantizing.context import MAX_FIRST_THRESHOLD, Context, Grid, integers, trained_neuron
from ds2ta_deploy.quantizing.layers import set_synapses

#: Fewest bits that the weights of a stream are narrowed to.
_FEWEST_BITS = 4

#: Most bits of weights that add into a stream, by profile.
_PROFILE_BITS = {"cpu": 14, "loihi": 8}


@dataclass(frozen=True)
class _Source:
    """A layer that adds into the stream; its inputs lie in 0..largest_count."""

    name: str
    layer: Synapses | ConvSynapses
    largest_count: int


@dataclass(frozen=True)
class _Reader:
    """Neurons that read the stream, or the sum of it over ``summands`` tokens instead of their mean."""

    name: str
    neuron: StreamNeuron
    summands: int


@dataclass
class Stream:
    """Everything that adds into the stream and reads it, collected first, put on one grid at the end."""

    sources: list[_Source] = field(default_factory=list)
    readers: list[_Reader] = field(default_factory=list)

    def add(self, name: str, layer: Synapses | ConvSynapses, largest_count: int = 1) -> None:
        """Note a layer that adds into the stream."""
        self.sources.append(_Source(name, layer, largest_count))

    def read(self, name: str, neuron: StreamNeuron, summands: int = 1) -> None:
        """Note neurons that read the stream."""
        self.readers.append(_Reader(name, neuron, summands))

    def settle(self, context: Context) -> None:
        """Choose the widest weights with which all that is summed up provably fits, and put everything on that grid.

        With theta the threshold of the neurons and ``theta_c`` the integer one, a unit of channel c is ``theta / theta_c``,
        for ``theta_c = floor(q_max theta / max|W'_c|)`` over all layers that add into it.

        Raises:
            UnsupportedError: DS2TA-222 when the neurons do not share one threshold.

        """
        if not self.sources:
            return
        neurons = [trained_neuron(reader.neuron.neuron, reader.name) for reader in self.readers]
        thetas = {neuron.effective_threshold for neuron in neurons}
        if len(thetas) != 1:
            what = f"neurons that read one stream have the thresholds {sorted(thetas)}"
            raise UnsupportedError(Problem("DS2TA-222", what, self.readers[0].name, "give them one threshold"))
        theta = thetas.pop()
        folded = [fold_norm(source.layer, source.name) for source in self.sources]
        widest = min(context.settings.stream_bits, _PROFILE_BITS[context.profile.name])
        bits = widest
        grids, threshold = self._grids(context, folded, theta, bits)
        while bits > _FEWEST_BITS and not self._fits(context, grids, threshold):
            bits -= 1
            grids, threshold = self._grids(context, folded, theta, bits)
        if bits < widest:
            context.notes.append(f"residual stream: {bits}-bit weights, with which its sums fit {context.profile.state_bits} bits")
        for source, grid in zip(self.sources, grids, strict=True):
            set_synapses(source.layer, grid.weight.view_as(source.layer.weight), grid.bias)
        for reader, neuron in zip(self.readers, neurons, strict=True):
            shape = (-1, 1, 1) if reader.neuron.channel_axis != -1 else (-1,)
            reader.neuron.neuron = IntegerLif((threshold * reader.summands).view(shape), *context.leak, theta=neuron.threshold)

    def _grids(self, context: Context, folded: list[tuple[Tensor, Tensor]], theta: float, bits: int) -> tuple[list[Grid], Tensor]:
        weights = [weight.flatten(1) for weight, _ in folded]
        shared = context.settings.thresholds == "layer"
        allowed = uniform_grid(bits)
        threshold = integer_thresholds(torch.cat(weights, dim=1), theta, allowed.largest, MAX_FIRST_THRESHOLD, shared=shared)
        grids = [
            context.put_on_given(source.name, weight, bias, theta, threshold, allowed)
            for source, weight, (_, bias) in zip(self.sources, weights, folded, strict=True)
        ]
        return grids, threshold

    def _fits(self, context: Context, grids: list[Grid], threshold: Tensor) -> bool:
        """Whether the stream behind the last layer, its sum over tokens, and every neuron's membrane fit the state."""
        total = Interval.of(0, 0)
        for source, grid in zip(self.sources, grids, strict=True):
            weight, bias = integers(grid.weight), integers(grid.bias)
            kind = ValueType((context.config.time_steps, None, 1, weight.shape[1]), "uint8")
            (product,) = LinearOp("", (), (), weight).infer_ranges([Interval.of(0, source.largest_count)], [kind])
            total = total + product.with_zero() + Interval.of(bias, bias).with_zero()
        for reader in self.readers:
            summed = Interval.of(total.low * reader.summands, total.high * reader.summands)
            if not context.membrane_fits(summed, integers(threshold) * reader.summands):
                return False
        return True
