"""Ops that compute nothing: an element of the output is an element of the input, elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ds2ta_deploy.graph.intervals import IntArray, Interval
from ds2ta_deploy.graph.ops.base import Axes, Dtype, Op, ValueType


@dataclass(frozen=True, eq=False)
class Tokens(Op):
    """Make every pixel of the feature map a token: ``[T, B, H, W, C] -> [T, B, H W, C]``, row by row."""

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((5,),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8", "int32"),)
    REARRANGES: ClassVar[bool] = True

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Join height and width."""
        time, batch, height, width, channels = inputs[0].shape
        return (ValueType((time, batch, (height or 0) * (width or 0), channels), inputs[0].dtype),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Nothing changes."""
        return (inputs[0],)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Reshape."""
        time, batch, height, width, channels = inputs[0].shape
        return (inputs[0].reshape(time, batch, height * width, channels),)

    def infer_axes(self, inputs: Sequence[Axes]) -> tuple[Axes, ...]:
        """Row and column become the token."""
        return ((*inputs[0][:2], "token", inputs[0][-1]),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The pixel."""
        time, sample, token, channel = place
        return {"input": inputs[0][(time, sample, *divmod(token, inputs[0].shape[3]), channel)]}


@dataclass(frozen=True, eq=False)
class Pixels(Op):
    """Put the tokens back on the feature map: ``[T, B, H W, C] -> [T, B, H, W, C]``, the inverse of :class:`Tokens`.

    Attributes:
        height: H; divides the number of tokens.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4,),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8", "int32"),)
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {"height": (1, 4096)}
    REARRANGES: ClassVar[bool] = True

    height: int

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Split the tokens into rows."""
        time, batch, tokens, channels = inputs[0].shape
        self.require(tokens is not None and tokens % self.height == 0, f"cannot arrange {tokens} tokens in {self.height} rows")
        return (ValueType((time, batch, self.height, (tokens or 0) // self.height, channels), inputs[0].dtype),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Nothing changes."""
        return (inputs[0],)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Reshape."""
        time, batch, tokens, channels = inputs[0].shape
        return (inputs[0].reshape(time, batch, self.height, tokens // self.height, channels),)

    def infer_axes(self, inputs: Sequence[Axes]) -> tuple[Axes, ...]:
        """The token becomes row and column."""
        return ((*inputs[0][:2], "row", "column", inputs[0][-1]),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The token."""
        time, sample, row, column, channel = place
        return {"input": inputs[0][time, sample, row * (inputs[0].shape[2] // self.height) + column, channel]}


@dataclass(frozen=True, eq=False)
class Chunk(Op):
    """Make the tokens of ``steps`` neighbouring time steps one set of tokens (STAtten).

    ``out[c, b, h, i N + n] = in[c steps + i, b, h, n]``

    Attributes:
        steps: time steps of a chunk; divides T. What is computed of a chunk needs all of its steps, later ones too.

    Shapes: ``[T, B, H, N, d] -> [T / steps, B, H, steps N, d]``.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((5,),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8",),)
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {"steps": (1, 1024)}
    REARRANGES: ClassVar[bool] = True

    steps: int

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Fewer, larger steps."""
        time, batch, heads, tokens, width = inputs[0].shape
        self.require(time is not None and time % self.steps == 0, f"cannot cut {time} time steps into chunks of {self.steps}")
        return (ValueType(((time or 0) // self.steps, batch, heads, (tokens or 0) * self.steps, width), inputs[0].dtype),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Nothing changes."""
        return (inputs[0],)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Move the step of the chunk before the tokens and join them."""
        time, batch, heads, tokens, width = inputs[0].shape
        cut = inputs[0].reshape(time // self.steps, self.steps, batch, heads, tokens, width)
        return (cut.transpose(0, 2, 3, 1, 4, 5).reshape(time // self.steps, batch, heads, self.steps * tokens, width),)

    def infer_axes(self, inputs: Sequence[Axes]) -> tuple[Axes, ...]:
        """A position is a step of the chunk and a token."""
        return (("chunk", *inputs[0][1:3], "step and token", inputs[0][-1]),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The token in its time step."""
        chunk, sample, head, position, channel = place
        step, token = divmod(position, inputs[0].shape[3])
        return {"input": inputs[0][chunk * self.steps + step, sample, head, token, channel]}


@dataclass(frozen=True, eq=False)
class Unchunk(Op):
    """Give every time step of a chunk its tokens back, the inverse of :class:`Chunk`.

    Attributes:
        steps: time steps of a chunk.

    Shapes: ``[C, B, H, steps N, d] -> [C steps, B, H, N, d]``.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((5,),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8", "int32"),)
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {"steps": (1, 1024)}
    REARRANGES: ClassVar[bool] = True

    steps: int

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """More, smaller steps."""
        chunks, batch, heads, positions, width = inputs[0].shape
        self.require(positions is not None and positions % self.steps == 0, f"cannot split {positions} positions into {self.steps} steps")
        return (ValueType(((chunks or 0) * self.steps, batch, heads, (positions or 0) // self.steps, width), inputs[0].dtype),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Nothing changes."""
        return (inputs[0],)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Split the tokens and move the step behind the chunk."""
        chunks, batch, heads, positions, width = inputs[0].shape
        cut = inputs[0].reshape(chunks, batch, heads, self.steps, positions // self.steps, width)
        return (cut.transpose(0, 3, 1, 2, 4, 5).reshape(chunks * self.steps, batch, heads, positions // self.steps, width),)

    def infer_axes(self, inputs: Sequence[Axes]) -> tuple[Axes, ...]:
        """Chunk and step become the time step."""
        return (("time step", *inputs[0][1:3], "token", inputs[0][-1]),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The position in its chunk."""
        time, sample, head, token, channel = place
        chunk, step = divmod(time, self.steps)
        return {"input": inputs[0][chunk, sample, head, step * (inputs[0].shape[3] // self.steps) + token, channel]}
