"""Where each head looks, before and after the denoiser."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import MatMul, Tokens
from ds2ta_deploy.pages.figures.maps import mosaic, show_input
from ds2ta_deploy.pages.observation import Observation, map_ops, table_behind
from ds2ta_deploy.pages.parts import Block, Gallery, Picture, Section, Table, Text, percent, spread

#: Heads and time steps that are drawn when nobody chooses.
_MOST_HEADS, _MOST_STEPS = 4, 4


@dataclass(frozen=True)
class Choice:
    """Which heads and time steps to draw; empty for evenly spread ones."""

    heads: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()


def attention(graph: Graph, observed: Observation, choice: Choice) -> Section:
    """Draw the maps of one sample.

    Raises:
        UsageError: DS2TA-518 when a head or time step that was chosen does not exist.

    """
    blocks: list[Block] = [_how_to_read(observed)]
    drawn = [_block(graph, observed, op, grid, choice) for op in map_ops(graph) if (grid := token_grid(graph, op)) is not None]
    blocks += drawn or [
        Text("This network never forms a map of tokens by tokens: it sums keys and values up first, or attends in another way.")
    ]
    return Section(
        "attention", "Attention", "Which places of the picture each head looks at, before and after the denoiser.", tuple(blocks)
    )


def _how_to_read(observed: Observation) -> Text:
    return Text(
        f"Sample {observed.sample}. For every place of the picture, the mean over all queries of what its key receives, laid over the "
        "input; warm is more, and in the maps after the denoiser cold is negative. Each head has a colour scale of its own, the same "
        "at all time steps."
    )


def token_grid(graph: Graph, op: MatMul) -> tuple[int, int] | None:
    """Return rows and columns of the tokens that an op compares, or None when they are no picture's.

    A chunk of several time steps has as many times the tokens.
    """
    keys, before = graph.types[op.outputs[0]].shape[-1] or 0, None
    for other in graph:
        if other is op:
            break
        if isinstance(other, Tokens):
            height, width = (size or 0 for size in graph.types[other.inputs[0]].shape[2:4])
            before = (height, width) if keys % (height * width) == 0 else before
    return before


def received(values: NDArray[np.integer], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Return what each place receives: the mean over queries, and over the time steps of a chunk.

    Args:
        values: ``[T, H, N, N]``.
        grid: rows and columns of the tokens.

    Returns:
        float64 ``[H, T, rows, columns]``.

    """
    means = values.astype(np.float64).mean(axis=-2).swapaxes(0, 1)
    places: NDArray[np.float64] = means.reshape(*means.shape[:2], -1, *grid).mean(axis=2)
    return places


def _block(graph: Graph, observed: Observation, op: MatMul, grid: tuple[int, int], choice: Choice) -> Gallery:
    scores = observed.trace[op.outputs[0]]
    steps, heads = scores.shape[:2]
    shown_heads, shown_steps = _chosen("head", choice.heads, heads, _MOST_HEADS), _chosen("time step", choice.steps, steps, _MOST_STEPS)
    table = table_behind(graph, op.outputs[0])
    pictures = [_picture("scores, before the denoiser" if table else "scores", observed, scores, grid, shown_heads, shown_steps)]
    if table is not None:
        pictures.append(_picture("after the denoiser", observed, observed.trace[table.outputs[0]], grid, shown_heads, shown_steps))
    note = f"heads {', '.join(map(str, shown_heads))} of {heads}; time steps {', '.join(map(str, shown_steps))} of {steps}"
    return Gallery(op.outputs[0], note, tuple(pictures), size="wide")


def _chosen(what: str, chosen: Sequence[int], count: int, most: int) -> list[int]:
    wrong = [number for number in chosen if not 0 <= number < count]
    if wrong:
        raise UsageError(Problem("DS2TA-518", f"there is no {what} {number}", mend=f"there are 0 to {count - 1}") for number in wrong)
    return list(chosen) or spread(count, most)


def _picture(
    title: str, observed: Observation, values: NDArray[np.integer], grid: tuple[int, int], heads: list[int], steps: list[int]
) -> Picture:
    heats = received(values, grid)[heads][:, steps]
    drawing = mosaic(show_input(observed.pixels), heats, heads, [f"t = {step}" for step in steps])
    rows, told = [], []
    for row, head in enumerate(heads):
        for column, step in enumerate(steps):
            place = np.unravel_index(int(heats[row, column].argmax()), grid)
            zeros = float((values[step, head] == 0).mean())
            mean = float(values[step, head].mean())
            rows.append((f"{head}", f"{step}", f"{mean:.3f}", percent(zeros), f"row {place[0]}, column {place[1]}"))
            told.append(zeros)
    where = f"{len(heads)} heads at {len(steps)} time steps over the input, on a grid of {grid[0]} by {grid[1]}"
    alt = f"{where}; {percent(float(np.mean(told)))} of the elements are 0."
    return Picture(
        title, drawing, alt, Table("Numbers", ("head", "time step", "mean", "zero", "strongest place"), tuple(rows), folded=True)
    )
