"""How a value of the graph lies in the library's memory: ``[step][token][channel]``, heads as neighbouring channels."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph.axes import axes_of
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops.base import Axes
from ds2ta_deploy.graph.stepping import BlockGraph

#: Axes of tokens, and of pictures or heads.
_RANKS = (4, 5)


@dataclass(frozen=True)
class Layout:
    """A value of one sample.

    Attributes:
        steps: time steps, or chunks of them.
        height: rows of a picture; 1 for tokens.
        width: columns of a picture; all tokens else.
        heads: neighbouring groups of channels; 1 where heads are not split.
        channels: of all heads together.
        planes: bits of the largest count; 0 for a stream, which is stored as integers of 32 bits.
        form: which axes the graph gives it.
        still: whether it is made once for all time steps, of a still picture; a frame of a longer run is not.

    """

    steps: int
    height: int
    width: int
    heads: int
    channels: int
    planes: int
    form: Literal["tokens", "picture", "heads"]
    still: bool

    @property
    def tokens(self) -> int:
        """Tokens, or pixels, of a step."""
        return self.height * self.width

    @property
    def rows(self) -> int:
        """Tokens of all steps."""
        return self.steps * self.tokens

    def spread(self, raw: NDArray[Any], batch: int) -> NDArray[Any]:
        """Return what the library tells of the memory, ``[step, sample, token, channel]``, in the graph's order of these axes.

        Args:
            raw: of the memory's own layout, ``[step, sample, ...]``: it may cut the rows into other steps, or hold one step that is
                repeated.
            batch: samples.

        """
        count = raw.shape[0] * math.prod(raw.shape[2:]) // self.channels
        rows = raw.swapaxes(0, 1).reshape(batch, count, self.channels)
        if rows.shape[1] == self.tokens:
            rows = np.tile(rows, (1, self.steps, 1))
        parts = rows.reshape(batch, self.steps, self.tokens, self.heads, self.channels // self.heads)
        return parts.transpose(1, 0, 3, 2, 4)

    def gather(self, array: NDArray[Any], batch: int) -> NDArray[Any]:
        """Return what :meth:`spread` was given: ``[step, sample, token, channel]`` of an array in the graph's order of axes."""
        parts = array.reshape(-1, batch, self.heads, self.tokens, self.channels // self.heads)
        return parts.transpose(0, 1, 3, 2, 4).reshape(-1, batch, self.tokens, self.channels)


def layouts_of(graph: Graph) -> dict[str, Layout]:
    """Return how every value of the graph lies, the input and the output left out."""
    axes, made = axes_of(graph), {}
    for name, kind in graph.types.items():
        if len(kind.shape) >= _RANKS[0] and name != graph.input_name:
            planes = max(graph.ranges[name].maximum.bit_length(), 1) if kind.dtype == "uint8" else 0
            still = kind.shape[0] == 1 and not isinstance(graph, BlockGraph)
            made[name] = _layout(tuple(1 if size is None else size for size in kind.shape), axes[name], planes, still=still)
    return made


def _layout(shape: tuple[int, ...], axes: Axes, planes: int, *, still: bool) -> Layout:
    if len(shape) == _RANKS[0]:
        return Layout(shape[0], 1, shape[2], 1, shape[3], planes, "tokens", still)
    if axes[2] == "row":
        return Layout(shape[0], shape[2], shape[3], 1, shape[4], planes, "picture", still)
    return Layout(shape[0], 1, shape[3], shape[2], shape[2] * shape[4], planes, "heads", still)
