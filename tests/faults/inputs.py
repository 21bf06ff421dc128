"""Golden inputs that excite: what random pictures meet rarely is looked for, or built on purpose.

A threshold that is off by one shows only where a membrane is exactly at the threshold or one below. Behind the first layer
membranes are small: among thousands of random pictures some meet both, and a few of these are kept. In the first layer,
whose sums have 20 bits, they are built.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.runtimes.reference import ReferenceRuntime

#: Random pictures among which those are looked for that bring a membrane to its threshold.
POOL = 2000


def exciting_inputs(graph: Graph, pool: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return uint8 pictures ``[B, H, W, C]``: all 256 pixels, the first layer's thresholds met, and those of the others.

    Args:
        graph: begins with table, convolution, window and neuron.
        pool: number of random pictures among which those are looked for that meet further thresholds.
        seed: of the pictures.

    """
    random = np.random.default_rng(seed)
    shape = tuple(size or 1 for size in graph.input_type.shape[1:])
    made = np.concatenate([_every_pixel(shape), *_at_the_first_thresholds(graph, shape, random)])
    candidates = np.concatenate([made, random.integers(0, 256, (pool, *shape), dtype=np.uint8)])
    kept = list(range(len(made)))
    for samples in _meetings(graph, candidates):
        if len(samples) and not set(samples.tolist()) & set(kept):
            kept.append(int(samples[0]))
    return candidates[kept]


def _meetings(graph: Graph, candidates: NDArray[np.uint8]) -> Iterator[NDArray[np.integer]]:
    """Yield, for every threshold and for one below it, the samples that have a membrane exactly there."""
    neurons = [op for op in graph if isinstance(op, ops.Lif)]
    trace = ReferenceRuntime(graph).trace(candidates, [op.outputs[1] for op in neurons])
    for op in neurons:
        membrane = np.moveaxis(trace[op.outputs[1]], 1, 0)
        for channel, threshold in enumerate(op.threshold.tolist()):
            own = membrane[..., channel].reshape(len(candidates), -1)
            for exactly in (threshold, threshold - 1):
                yield np.flatnonzero((own == exactly).any(axis=1))


def _at_the_first_thresholds(graph: Graph, shape: tuple[int, ...], random: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Yield a picture for every threshold of the first layer, and one for one below it."""
    encoder, conv, window = graph.ops[:3]
    neuron = next(op for op in graph if isinstance(op, ops.Lif))
    assert isinstance(encoder, ops.InputTable)
    assert isinstance(conv, ops.Conv2d)
    assert isinstance(window, ops.TemporalWindow)
    for channel, threshold in enumerate(neuron.threshold.tolist()):
        for membrane in (threshold, threshold - 1):
            product = membrane - int(window.bias[channel])
            yield _picture_with(encoder.table, conv.weight[channel], product, shape, random)[None]


def _every_pixel(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the pictures that hold every pixel value in every channel."""
    height, width, channels = shape
    count = -(-256 // (height * width))
    ramp = np.arange(count * height * width).clip(0, 255).astype(np.uint8)
    return np.repeat(ramp.reshape(count, height, width, 1), channels, axis=-1)


def _picture_with(
    table: NDArray[np.int16], weight: NDArray[np.signedinteger], product: int, shape: tuple[int, ...], random: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a picture for which one channel's weighted sum at its centre is ``product``: two pixels are searched, the rest drawn."""
    size = weight.shape[0]
    top, left = shape[0] // 2 - size // 2, shape[1] // 2 - size // 2
    channels = np.arange(shape[2])
    for _ in range(200):
        picture = random.integers(0, 256, shape, dtype=np.uint8)
        patch = picture[top : top + size, left : left + size]  # a view: writing to it changes the picture
        places = random.permutation(weight.size)
        for pair in pairwise(places):
            (first, one), (second, other) = ((np.unravel_index(place, weight.shape), int(weight.reshape(-1)[place])) for place in pair)
            terms = weight.astype(np.int64) * table.astype(np.int64)[channels, patch]
            missing = product - int(terms.sum() - terms[first] - terms[second])
            sums = one * table[first[-1]].astype(np.int64)[:, None] + other * table[second[-1]].astype(np.int64)[None, :]
            found = np.argwhere(sums == missing)
            if len(found):
                patch[first], patch[second] = found[0]
                return picture
    raise AssertionError(f"no picture found whose sum is {product}")
