"""Attentions on the grid: what lies between the populations of queries, keys, values and the output layer."""

import math

import numpy as np
import torch

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import TimeMix as TimeMixOp
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.models.attention import ChunkedAttention, GuardBits, Scale, SpikingAttention
from ds2ta_deploy.models.denoiser import Denoiser, IntegerDenoiser
from ds2ta_deploy.models.neurons import IntegerLif
from ds2ta_deploy.models.rounding import straight_through
from ds2ta_deploy.models.saccade import IntegerSaccade, Saccade
from ds2ta_deploy.models.snn_vit import SaccadicAttention
from ds2ta_deploy.models.streams import MaskedAttention
from ds2ta_deploy.quantizing.context import Context, trained_neuron

#: Largest integer in the matrix of a saccadic neuron: 16 bits, and 8 where a profile has weights of 8 bits.
_MATRIX_LIMITS = {"cpu": 2**15 - 1, "loihi": 2**7 - 1}


def quantize_attention_neuron(context: Context, attention: SpikingAttention, name: str) -> None:
    """Bake the table, if there is one, and put scale and threshold of the attention's neuron on integers."""
    config, scale = context.config, attention.scale
    if not isinstance(scale, Scale):
        raise UnsupportedError(Problem("DS2TA-202", "the attention is not a trained one", name))
    low, high = 0, config.head_dim
    if attention.denoiser is not None:
        low, high = _bake(attention, name)
    terms = config.tokens * (attention.chunk_steps if isinstance(attention, ChunkedAttention) else 1)
    summed = Interval.of(low * terms, high * terms).with_zero()
    neuron = trained_neuron(attention.neuron, name)
    threshold, guard = context.scaled_threshold(neuron, scale.factor, summed, name)
    attention.scale = GuardBits(guard)
    thresholds = torch.full((config.embed_dim,), threshold, dtype=torch.float64)
    attention.neuron = IntegerLif(thresholds, *context.leak, theta=neuron.threshold)


def _bake(attention: SpikingAttention, name: str) -> tuple[int, int]:
    """Replace the denoiser by its integer table; returns the table's smallest and largest entry."""
    if not isinstance(attention.denoiser, Denoiser):
        raise UnsupportedError(Problem("DS2TA-202", "the attention is not a trained one", name))
    table = attention.denoiser.table()
    if not (table.abs() < 2**15).all():  # NaN, too, is not below
        raise UnsupportedError(Problem("DS2TA-222", "an entry of the table needs more than 16 bits", f"{name}.denoiser"))
    attention.denoiser = IntegerDenoiser(table)
    return int(table.min()), int(table.max())


def quantize_gate(context: Context, attention: MaskedAttention, name: str) -> None:
    """Put the neuron behind the sum over tokens on integers."""
    neuron = trained_neuron(attention.gate.neuron, name)
    threshold, guard = context.scaled_threshold(neuron, 1.0, Interval.of(0, context.config.tokens), name)
    attention.gate_scale = GuardBits(guard)
    thresholds = torch.full((context.config.embed_dim,), threshold, dtype=torch.float64)
    attention.gate.neuron = IntegerLif(thresholds, *context.leak, theta=neuron.threshold)


def quantize_saccade(context: Context, attention: SaccadicAttention, name: str) -> None:
    """Put matrix and thresholds of the saccadic neuron on one scale, as fine as the state allows.

    With ``u`` the value of one unit, ``M = round(M' / u)`` and ``theta[t] = ceil(V_th[t] / u)``: on integers the comparison
    with the ceiling is the comparison with the fraction.

    Raises:
        UnsupportedError: DS2TA-222 when not even a matrix of -1, 0, 1 fits.

    """
    saccade, config = attention.saccade, context.config
    if not isinstance(saccade, Saccade):
        raise UnsupportedError(Problem("DS2TA-202", "the attention is not a trained one", name))
    weights, threshold = saccade.weights(), saccade.threshold
    peak = float(weights.detach().abs().max()) or 1.0
    relevance = config.head_dim * (1 if attention.k is None else config.tokens * config.head_dim)
    kind = ValueType((config.time_steps, None, config.num_heads, config.tokens, 1), "int32")
    largest = _MATRIX_LIMITS[context.profile.name]
    while True:
        matrix = np.rint(weights.detach().numpy() / peak * largest).astype(np.int16)
        (mixed,) = TimeMixOp("", (), (), matrix).infer_ranges([Interval.of(0, relevance)], [kind])
        if mixed.bits <= context.profile.state_bits:
            break
        largest //= 2
        if not largest:
            what = f"the relevance reaches {relevance}: its mixture needs more than the {context.profile.state_bits} bits of profile "
            advice = "use a wider profile, more heads, or the saccade 'v2'"
            raise UnsupportedError(Problem("DS2TA-222", what + context.profile.name, name, advice))
    # A threshold beyond everything that the mixture can reach fires never, or always, wherever beyond it lies.
    integer = [min(max(math.ceil(value / peak * largest), mixed.minimum), mixed.maximum + 1) for value in threshold.tolist()]
    unit = peak / largest
    on_grid = torch.from_numpy(matrix.astype(np.float64)), torch.tensor(integer, dtype=torch.float64)
    attention.saccade = IntegerSaccade(straight_through(weights / unit, on_grid[0]), straight_through(threshold / unit, on_grid[1]), unit)
