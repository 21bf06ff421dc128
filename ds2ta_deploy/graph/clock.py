"""When the values of a network are computed: step by step, or the steps of a chunk together."""

from dataclasses import dataclass
from math import lcm
from typing import Self

from ds2ta_deploy.graph.axes import axes_of
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Chunk


@dataclass(frozen=True)
class Clock:
    """The order of a network's time steps.

    Attributes:
        span: time steps that are computed together, op after op, because a chunk needs all of them; 1 without chunks.
        covers: of each value, the time steps that one position of its first axis stands for.

    """

    span: int
    covers: dict[str, int]

    @classmethod
    def of(cls, graph: Graph) -> Self:
        """Read it off a graph."""
        axes = axes_of(graph)
        chunked = {name for name, words in axes.items() if words[0] == "chunk"}
        steps = max((graph.types[name].shape[0] or 1 for name, words in axes.items() if words[0] == "time step"), default=1)
        covers = {name: steps // (graph.types[name].shape[0] or 1) if name in chunked else 1 for name in axes}
        return cls(lcm(*(op.steps for op in graph if isinstance(op, Chunk))), covers)

    def block(self, name: str, step: int) -> int:
        """Return which of the spans makes a value at a position of its first axis."""
        return ((step + 1) * self.covers[name] - 1) // self.span

    def until(self, name: str, block: int) -> int:
        """Return how many positions of a value's first axis there are when a span is done."""
        return (block + 1) * self.span // self.covers[name]
