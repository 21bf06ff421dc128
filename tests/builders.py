"""Networks and graphs that tests are made with, and what tests ask of every trace. Needs no PyTorch.

``build_small_graph`` makes an integer graph by hand: seeded random weights, thresholds set from the currents that really
flow, so that every neuron fires sometimes and none always.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.models.families import Ds2taConfig
from ds2ta_deploy.synthetic import synthetic_pixels

Trace = dict[str, NDArray[np.integer]]

#: A layer outside these mean firing rates agrees with itself on any engine and proves nothing.
QUIETEST, BUSIEST = 0.005, 0.95

# No two of these sizes are equal where a swapped axis could hide: T=4, B=5, 7x5 pixels, 12 tokens of width 8, 2 heads of 4.
STEPS, BATCH, HEIGHT, WIDTH, CHANNELS = 4, 5, 7, 5, 2
EMBED, HEADS, HIDDEN, CLASSES = 8, 2, 16, 3


def tiny_config(**changes: Any) -> Ds2taConfig:
    """Return the config of a network that runs in milliseconds, with some fields changed."""
    fields: dict[str, Any] = {
        "image_height": 12,
        "image_width": 10,
        "in_channels": 1,
        "time_steps": 4,
        "num_classes": 5,
        "embed_dim": 32,
        "depth": 1,
        "num_heads": 4,
        "pool_stages": "1010",
        "temporal_window": 3,
        "initial_decay": 2,
        "initial_denoise_threshold": 1.0,
        "pixel_mean": (0.3,),
        "pixel_std": (0.35,),
    }
    return Ds2taConfig(**(fields | changes))


#: Changes that make :func:`tiny_config` take event frames.
EVENTS: dict[str, Any] = {
    "input_kind": "frames",
    "in_channels": 2,
    "pixel_scale": 1.0,
    "pixel_mean": (0.0, 0.0),
    "pixel_std": (1.0, 1.0),
}


def pixels_for(config: Ds2taConfig, batch: int, seed: int) -> NDArray[np.uint8]:
    """Return random pictures or event frames in the network's input shape, read-only."""
    pixels = synthetic_pixels(config.input_kind, tuple(batch if size is None else size for size in config.input_shape), seed)
    pixels.flags.writeable = False
    return pixels


def small_inputs(seed: int = 7, *, still: bool = True) -> NDArray[np.uint8]:
    """Return uint8 pictures ``[5, 7, 5, 2]``, or frames ``[4, 5, 7, 5, 2]``, for :func:`build_small_graph`."""
    shape = (BATCH, HEIGHT, WIDTH, CHANNELS)
    inputs = np.random.default_rng(seed).integers(0, 256, shape if still else (STEPS, *shape), dtype=np.uint8)
    inputs.flags.writeable = False
    return inputs


class Draft:
    """A graph under construction that is executed while it grows, so that thresholds can be set from real currents."""

    def __init__(self, inputs: NDArray[np.uint8], seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.ops: list[ops.Op] = []
        self.values: dict[str, NDArray[np.int64]] = {"images": inputs.astype(np.int64)}

    def add(self, kind: type[ops.Op], name: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        """Append an op and run it; returns the name of its first output."""
        op = kind(name=name, inputs=tuple(inputs), outputs=outputs, **attributes)
        self.ops.append(op)
        self.values.update(zip(outputs, op.execute(*(self.values[value] for value in inputs)), strict=True))
        return outputs[0]

    def integers(self, largest: int, shape: tuple[int, ...], dtype: type[np.signedinteger[Any]]) -> NDArray[Any]:
        """Return random integers in ``[-largest, largest]``."""
        return self.random.integers(-largest, largest + 1, shape).astype(dtype)

    def window(self, name: str, value: str, bias: NDArray[np.int32], taps: int = 1, decay: int = 0, guard_bits: int = 0) -> str:
        """Append window and bias."""
        return self.add(
            ops.TemporalWindow, f"{name}.window", [value], f"{name}.current", bias=bias, taps=taps, decay=decay, guard_bits=guard_bits
        )

    def neuron(self, name: str, current: str, *, guard_bits: int = 0, leak: tuple[int, int] = (1, 1), quiet: float = 0.75) -> str:
        """Append a neuron whose every channel has a share of ``quiet`` of its currents below its threshold."""
        values = self.values[current]
        strong = np.quantile(values.reshape(-1, values.shape[-1]), quiet, axis=0, method="higher")
        threshold = (np.maximum(strong >> guard_bits, 1) << guard_bits).astype(np.int32)
        outputs = (f"{name}.spikes", f"{name}.membrane")
        return self.add(ops.Lif, name, [current], *outputs, threshold=threshold, leak_numerator=leak[0], leak_shift=leak[1])

    def conv(self, name: str, value: str, out: int, *, first: bool = False, repeat: bool = False, pool: bool = False) -> str:
        """Append a spiking convolution."""
        shape = (out, 3, 3, self.values[value].shape[-1])
        weight = self.integers(400, shape, np.int16) if first else self.integers(127, shape, np.int8)
        made = self.add(ops.Conv2d, f"{name}.weights", [value], f"{name}.product", weight=weight)
        current = self.window(name, made, self.integers(200, (out,), np.int32))
        if repeat:
            current = self.add(ops.Repeat, f"{name}.repeat", [current], f"{name}._repeated", time_steps=STEPS)
        spikes = self.neuron(name, current)
        return self.add(ops.MaxPool2d, f"{name}.pool", [spikes], f"{name}.pooled") if pool else spikes

    def linear(
        self,
        name: str,
        value: str,
        out: int,
        *,
        window: tuple[int, int, int] = (1, 0, 0),
        leak: tuple[int, int] = (1, 1),
        busy: bool = False,
    ) -> str:
        """Append a spiking linear layer; ``window`` is (taps, decay, guard bits), a ``busy`` one fires more than half of the time."""
        weight = self.integers(127, (out, self.values[value].shape[-1]), np.int8)
        made = self.add(ops.Linear, f"{name}.weights", [value], f"{name}.product", weight=weight)
        current = self.window(name, made, self.integers(60, (out,), np.int32) + np.int32(200 * busy), *window)
        return self.neuron(name, current, guard_bits=window[2], leak=leak, quiet=0.4 if busy else 0.75)

    def attention(self, name: str, value: str) -> str:
        """Append spiking attention with a denoised map, its windows all different."""
        windows = {"q": (3, 1, 2), "k": (3, 2, 1), "v": (2, 1, 1)}
        split = {}
        for part, window in windows.items():
            spikes = self.linear(f"{name}.{part}", value, EMBED, window=window, busy=part != "v")
            split[part] = self.add(ops.SplitHeads, f"{name}.split_{part}", [spikes], f"{name}._{part}_heads", heads=HEADS)
        scores = self.add(ops.MatMul, f"{name}.query_key", [split["q"], split["k"]], f"{name}.scores", transpose_right=1)
        table = np.array([[0, 3, 5, -2, 4], [-1, 2, -3, 4, 6]], np.int16)
        denoised = self.add(ops.Lookup, f"{name}.denoiser", [scores], f"{name}.denoised", table=table)
        mixed = self.add(ops.MatMul, f"{name}.map_value", [denoised, split["v"]], f"{name}._mixed", transpose_right=0)
        context = self.add(ops.MergeHeads, f"{name}.merge", [mixed], f"{name}.context")
        current = self.window(name, context, np.zeros(EMBED, np.int32), guard_bits=3)
        return self.linear(f"{name}.proj", self.neuron(name, current, guard_bits=2), EMBED, window=(3, 2, 4))

    def residual(self, name: str, left: str, right: str) -> str:
        """Append a residual sum."""
        return self.add(ops.Add, f"{name}.add", [left, right], name)


def build_small_graph(seed: int = 3, *, still: bool = True) -> Graph:
    """Return a graph with every op: two convolutions, windows, neurons with two leaks, attention, MLP, readout.

    Args:
        seed: of all weights.
        still: one picture shown at every step; False for event frames.

    """
    draft = Draft(small_inputs(still=still), seed)
    table = np.sort(draft.integers(500, (CHANNELS, 256), np.int16), axis=1)
    value = draft.add(ops.InputTable, "encoder", ["images"], "input_values", table=table, still=int(still))
    value = draft.conv("patch.stages.0", value, EMBED, first=True, repeat=still, pool=True)
    value = draft.residual("patch.residual", draft.conv("patch.position", value, EMBED), value)
    value = draft.add(ops.Tokens, "patch.flatten", [value], "patch.tokens")
    value = draft.residual("blocks.0.attn_residual", value, draft.attention("blocks.0.attn", value))
    hidden = draft.linear("blocks.0.mlp.fc1", value, HIDDEN, leak=(3, 2))
    value = draft.residual("blocks.0.mlp_residual", value, draft.linear("blocks.0.mlp.fc2", hidden, EMBED))
    weight = draft.integers(127, (CLASSES, EMBED), np.int8)
    sums = draft.values[value].sum(axis=(0, 2)) @ weight.astype(np.int64).T
    bias = -np.median(sums, axis=0).astype(np.int32)  # so that no class always wins
    draft.add(ops.Readout, "head", [value], "head.logits", weight=weight, bias=bias)
    shape: tuple[int | None, ...] = (None, HEIGHT, WIDTH, CHANNELS)
    kind = ops.ValueType(shape if still else (STEPS, *shape), "uint8")
    return Graph("small", "images", kind, tuple(draft.ops), "head.logits", 0.125, {"time_steps": STEPS, "note": "made by hand"})


def trace_of(graph: Graph, inputs: NDArray[np.uint8]) -> Trace:
    """Execute the graph and return every observable value."""
    trace: Trace = {}
    graph.execute(inputs, trace.__setitem__)
    return trace


def assert_fires(trace: Mapping[str, Any]) -> None:
    """Assert that every population of neurons fires, and none always."""
    rates = {name: float(value.mean()) for name, value in trace.items() if name.endswith(".spikes")}
    assert rates, "no spikes in the trace at all"
    outside = {name: rate for name, rate in rates.items() if not QUIETEST < rate < BUSIEST}
    assert not outside, f"silent or stuck: {outside}"


def types_of(op: ops.Op, *inputs: ops.ValueType) -> tuple[ops.ValueType, ...]:
    """Return the types of an op's outputs as a graph finds them: fields and ranks first, then the op's own rule."""
    op.check(inputs)
    return op.infer_types(inputs)


def every_index(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield every index of an array, for definitions written as plain loops."""
    return product(*(range(size) for size in shape))


def by_loop(shape: tuple[int, ...], value: Callable[..., int]) -> NDArray[Any]:
    """Return the array whose element at each index is ``value(*index)``, a Python int that cannot overflow."""
    array = np.empty(shape, dtype=object)
    for index in every_index(shape):
        array[index] = int(value(*index))
    return array


def number(array: NDArray[Any], *index: int) -> int:
    """Return one element as a Python int."""
    return int(array[index])


def inside(random: np.random.Generator, interval: Interval, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return random integers of the interval, its two bounds often among them."""
    low, high = np.broadcast_to(interval.low, shape), np.broadcast_to(interval.high, shape)
    drawn = random.integers(low, high, endpoint=True)
    corner = random.integers(0, 4, shape)
    return np.where(corner == 0, low, np.where(corner == 1, high, drawn))
