"""What a plan is made of: operations of the native library, and values that share a memory."""

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ds2ta_deploy.graph.ops import Op
from ds2ta_deploy.runtimes.native.layout import Layout


@dataclass
class Step:
    """One operation of the plan.

    Attributes:
        kind: as numbered in ``library``.
        name: of the population.
        inputs: names of the values it reads, without the network's input; empty where it reads none in this place.
        output: name of the value it makes; empty for the logits.
        integers: integer fields of ``library.Operation``.
        arrays: array fields.
        inner: what happens inside -> name of the value; see ``library.INNER``.
        remembers: the ops whose state it keeps from one time step to the next, in the order in which it keeps them.

    """

    kind: int
    name: str
    inputs: tuple[str, ...]
    output: str
    integers: dict[str, int] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    inner: dict[str, str] = field(default_factory=dict)
    remembers: tuple[Op, ...] = ()


@dataclass
class Translation:
    """A graph as the library runs it.

    Attributes:
        steps: in order.
        alias: name of a value -> name of the one whose memory it is.
        layouts: how each value, and each step's output, lies in its memory.

    """

    steps: list[Step]
    alias: dict[str, str]
    layouts: dict[str, Layout]

    def memory_of(self, name: str) -> str:
        """Return the name of the value whose memory holds the named one."""
        while name in self.alias:
            name = self.alias[name]
        return name
