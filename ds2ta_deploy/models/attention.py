"""Spiking self-attention: a map of queries by keys, denoised or not, or a state of keys by values over chunks of steps."""

from torch import Tensor, nn

from ds2ta_deploy.models.denoiser import Denoiser, IntegerDenoiser
from ds2ta_deploy.models.layers import SpikingLinear, Synapses, split_heads
from ds2ta_deploy.models.neurons import IntegerLif, Lif
from ds2ta_deploy.models.probe import Probe


class Scale(nn.Module):
    """Multiply by the attention scale, in training."""

    def __init__(self, factor: float) -> None:
        """Take the factor."""
        super().__init__()
        self.factor = factor

    def forward(self, value: Tensor) -> Tensor:
        """Return ``factor * value``."""
        return value * self.factor


class GuardBits(nn.Module):
    """Multiply by ``2^g``: what the attention scale becomes on the integer grid."""

    def __init__(self, guard_bits: int) -> None:
        """Take g."""
        super().__init__()
        self.guard_bits = guard_bits

    def forward(self, value: Tensor) -> Tensor:
        """Return ``2^g * value``."""
        return value * (1 << self.guard_bits)


class SpikingAttention(nn.Module):
    """Attention by a map: ``S[t] = Q[t] K[t]^T`` per head, ``A = AD(S)`` or S itself, ``O = A V``; O drives a neuron.

    Shapes: counts ``[T, B, N, D]`` -> spikes (or currents, by the kind of ``output``) ``[T, B, N, D]``. Scores and map
    are ``[T, B, H, N, N]``, S in [0, d].
    """

    def __init__(
        self,
        query: SpikingLinear,
        key: SpikingLinear,
        value: SpikingLinear,
        *,
        num_heads: int,
        scale: float,
        neuron: Lif,
        output: Synapses,
        denoiser: Denoiser | None = None,
    ) -> None:
        """Put the parts together; ``scale`` multiplies O before the neuron."""
        super().__init__()
        self.q, self.k, self.v = query, key, value
        self.denoiser: Denoiser | IntegerDenoiser | None = denoiser
        self.num_heads = num_heads
        self.scale: Scale | GuardBits = Scale(scale)
        self.neuron: Lif | IntegerLif = neuron
        self.proj = output
        self.context, self.current, self.membrane, self.spikes = (Probe() for _ in range(4))
        self.name_inner_values()

    def name_inner_values(self) -> None:
        """Add the probes of what is computed between spikes and context."""
        self.scores = Probe()
        if self.denoiser is not None:
            self.denoised = Probe()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the output layer makes of the attention's spikes."""
        projected: Tensor = self.proj(self.attend(self.q(inputs), self.k(inputs), self.v(inputs)))
        return projected

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return the spikes of the attention's neuron, ``[T, B, N, D]``."""
        mixed = self.mix(*(split_heads(spikes, self.num_heads) for spikes in (query, key, value)))
        context = self.context(mixed.transpose(2, 3).flatten(3))
        spikes, membranes = self.neuron(self.current(self.scale(context)))
        self.membrane(membranes)
        watched: Tensor = self.spikes(spikes)
        return watched

    def mix(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return the context of each head, ``[T, B, H, N, d]``."""
        scores = self.scores(query @ key.transpose(-2, -1))
        mixed: Tensor = (scores if self.denoiser is None else self.denoised(self.denoiser(scores))) @ value
        return mixed


class ChunkedAttention(SpikingAttention):
    """Attention by a state: ``O = Q (K^T V)``, over the tokens of all time steps of a chunk (STAtten).

    With chunks of one step it is the map's ``(Q K^T) V``: the same integers, computed in the other order.

    Shapes as :class:`SpikingAttention`; the state is ``[T / steps, B, H, d, d]``. T must be a multiple of the chunk, and
    inside a chunk the context of a step depends on later ones.
    """

    def __init__(self, *parts: SpikingLinear, chunk_steps: int, num_heads: int, scale: float, neuron: Lif, output: Synapses) -> None:
        """Put the parts together, as for a map; ``chunk_steps`` is the number of time steps of a chunk."""
        query, key, value = parts
        super().__init__(query, key, value, num_heads=num_heads, scale=scale, neuron=neuron, output=output)
        self.chunk_steps = chunk_steps

    def name_inner_values(self) -> None:
        """Add the probe of the state."""
        self.key_value = Probe()

    def mix(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return the context of each head, ``[T, B, H, N, d]``."""
        chunked, cut_key, cut_value = (self._chunk(spikes) for spikes in (query, key, value))
        state = self.key_value(cut_key.transpose(-2, -1) @ cut_value)
        return self._unchunk(chunked @ state)

    def _chunk(self, heads: Tensor) -> Tensor:
        """``[T, B, H, N, d] -> [T / steps, B, H, steps N, d]``."""
        cut = heads.reshape(-1, self.chunk_steps, *heads.shape[1:])
        return cut.movedim(1, 3).flatten(3, 4)

    def _unchunk(self, chunks: Tensor) -> Tensor:
        """``[T / steps, B, H, steps N, d] -> [T, B, H, N, d]``."""
        count, batch, heads, positions, width = chunks.shape
        cut = chunks.reshape(count, batch, heads, self.chunk_steps, positions // self.chunk_steps, width)
        return cut.movedim(3, 1).flatten(0, 1)
