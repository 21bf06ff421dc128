"""Networks that look for the native library's edges: sizes, weights, windows and inputs as extreme as one asks for."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pytest
from builders import Draft
from numpy.typing import NDArray
from support import assert_all_equal

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ranges import PROFILES, prove
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.runtime import NativeRuntime

needs_library = pytest.mark.skipif(library.library_path() is None, reason="the native library was not built: there is no C compiler")

#: How the weights of a layer are drawn: any, all the largest, all the smallest, -128 or 127, few bits, all that number or its negative.
Weights = Literal["any", "largest", "smallest", "ends", "six bits", "five bits", "two bits", "63", "64", "31", "32"]

#: What a neuron does: fires at currents that it meets exactly, never, always.
Activity = Literal["some", "none", "all"]


@dataclass(frozen=True)
class Recipe:
    """What :func:`build` makes a network of.

    Attributes:
        steps: T.
        still: whether one picture is shown at every step.
        picture: height, width and channels of the input.
        channels: of the encoder, and of the convolution behind it.
        kernels: sizes of the encoder's and of the convolution's kernel.
        pool: whether the encoder's spikes are pooled.
        doublings: residual sums of a value with itself in front of the convolution: counts up to ``2^doublings``.
        width: channels of the tokens.
        heads: of the attention; 0 for none. They divide ``width``.
        table: largest magnitude in the attention's table.
        window: taps, decay and guard bits of every layer behind the encoder.
        leak: numerator and shift of every neuron behind the encoder.
        weights: of every layer behind the encoder.
        activity: of every neuron.
        seed: of everything random.

    """

    steps: int = 4
    still: bool = False
    picture: tuple[int, int, int] = (3, 5, 2)
    channels: tuple[int, int] = (9, 8)
    kernels: tuple[int, int] = (3, 3)
    pool: bool = False
    doublings: int = 0
    width: int = 16
    heads: int = 0
    table: int = 6
    window: tuple[int, int, int] = (1, 0, 0)
    leak: tuple[int, int] = (1, 1)
    weights: Weights = "any"
    activity: Activity = "some"
    seed: int = 0


class _Maker(Draft):
    """A draft that follows a recipe."""

    def __init__(self, recipe: Recipe, inputs: NDArray[np.uint8]) -> None:
        super().__init__(inputs, recipe.seed)
        self.recipe = recipe

    def weight(self, shape: tuple[int, ...]) -> NDArray[np.int8]:
        kind = self.recipe.weights
        bounds = {"any": (-128, 127), "largest": (127, 127), "smallest": (-128, -128), "ends": (-128, 127)}
        low, high = bounds.get(kind, {"six bits": (-63, 63), "five bits": (-31, 31), "two bits": (-1, 1)}.get(kind, (0, 0)))
        if kind.isdecimal():
            return (int(kind) * self.random.choice([-1, 1, 1, 1], shape)).astype(np.int8)
        if kind == "ends":
            return np.where(self.random.random(shape) < 0.5, low, high).astype(np.int8)
        return self.random.integers(low, high, shape, endpoint=True).astype(np.int8)

    def spikes(self, name: str, product: str, *, window: tuple[int, int, int], leak: tuple[int, int], repeat: bool = False) -> str:
        """Append bias, window, repetition and neuron."""
        seen = self.values[product]
        most = int(np.abs(seen).max(initial=0)) + 1
        bias = self.random.integers(-most // 4 - 2, most // 4 + 2, seen.shape[-1]).astype(np.int32)
        if self.recipe.activity == "all":
            bias = np.full(seen.shape[-1], 2 * window[0] * most, np.int32)
        current = self.window(name, product, bias, *window)
        if repeat:
            current = self.add(ops.Repeat, f"{name}.repeat", [current], f"{name}._repeated", time_steps=self.recipe.steps)
        if self.recipe.activity == "some":
            return self.neuron(name, current, guard_bits=0, leak=leak, quiet=float(self.random.choice([0.3, 0.6, 0.9])))
        limit = {"all": 1, "none": 2**31 - 1}[self.recipe.activity]
        threshold = np.full(seen.shape[-1], limit, np.int32)
        outputs = (f"{name}.spikes", f"{name}.membrane")
        return self.add(ops.Lif, name, [current], *outputs, threshold=threshold, leak_numerator=leak[0], leak_shift=leak[1])

    def layer(self, name: str, kind: type[ops.Op], value: str, shape: tuple[int, ...]) -> str:
        """Append a convolution or linear layer of the recipe's weights, window and neuron."""
        product = self.add(kind, f"{name}.weights", [value], f"{name}.product", weight=self.weight(shape))
        return self.spikes(name, product, window=self.recipe.window, leak=self.recipe.leak)

    def attention(self, name: str, value: str) -> str:
        """Append attention whose every map row can hold the table's smallest entry: the one of the largest score."""
        recipe, split = self.recipe, {}
        for part in "qkv":
            spikes = self.layer(f"{name}.{part}", ops.Linear, value, (recipe.width, recipe.width))
            split[part] = self.add(ops.SplitHeads, f"{name}.split_{part}", [spikes], f"{name}._{part}", heads=recipe.heads)
        scores = self.add(ops.MatMul, f"{name}.query_key", [split["q"], split["k"]], f"{name}.scores", transpose_right=1)
        table = self.integers(recipe.table, (recipe.heads, recipe.width // recipe.heads + 1), np.int16)
        table[:, -1] = -recipe.table
        denoised = self.add(ops.Lookup, f"{name}.denoiser", [scores], f"{name}.denoised", table=table)
        mixed = self.add(ops.MatMul, f"{name}.map_value", [denoised, split["v"]], f"{name}._mixed", transpose_right=0)
        context = self.add(ops.MergeHeads, f"{name}.merge", [mixed], f"{name}.context")
        return self.spikes(name, context, window=recipe.window, leak=recipe.leak)


def build(recipe: Recipe, *, batch: int = 2, pixels: int | None = None) -> tuple[Graph, NDArray[np.uint8]]:
    """Return the recipe's network and inputs for it.

    Args:
        recipe: what to make.
        batch: samples.
        pixels: what every pixel is; random ones by default.

    """
    shape = (batch, *recipe.picture) if recipe.still else (recipe.steps, batch, *recipe.picture)
    inputs = np.random.default_rng(recipe.seed).integers(0, 256, shape, dtype=np.uint8)
    if pixels is not None:
        inputs[...] = pixels
    make, channels = _Maker(recipe, inputs), recipe.picture[-1]
    table = make.integers(500, (channels, 256), np.int16)
    value = make.add(ops.InputTable, "encoder.table", ["images"], "input_values", table=table, still=int(recipe.still))
    weight = make.integers(511, (recipe.channels[0], recipe.kernels[0], recipe.kernels[0], channels), np.int16)
    product = make.add(ops.Conv2d, "encoder.weights", [value], "encoder.product", weight=weight)
    value = make.spikes("encoder", product, window=(1, 0, 0), leak=(1, 1), repeat=recipe.still)
    if recipe.pool:
        value = make.add(ops.MaxPool2d, "encoder.pool", [value], "encoder.pooled")
    for number in range(recipe.doublings):
        value = make.residual(f"double.{number}", value, value)
    kernel = recipe.kernels[1]
    value = make.layer("conv", ops.Conv2d, value, (recipe.channels[1], kernel, kernel, recipe.channels[0]))
    value = make.add(ops.Tokens, "flatten", [value], "tokens")
    value = make.layer("linear", ops.Linear, value, (recipe.width, recipe.channels[1]))
    if recipe.heads:
        value = make.residual("residual", make.attention("attn", value), value)
    head = make.integers(127, (3, recipe.width), np.int8)
    make.add(ops.Readout, "head", [value], "head.logits", weight=head, bias=make.integers(99, (3,), np.int32))
    size: tuple[int | None, ...] = (None, *recipe.picture) if recipe.still else (recipe.steps, None, *recipe.picture)
    graph = Graph("extreme", "images", ops.ValueType(size, "uint8"), tuple(make.ops), "head.logits", 1.0, {})
    return graph, inputs


def join_attentions(widths: tuple[int, int], steps: int = 5) -> tuple[Graph, NDArray[np.uint8]]:
    """Return a network with two attentions of one head, of these widths, one after the other, and inputs for it."""
    inputs = np.random.default_rng(0).integers(0, 256, (steps, 2, 3, 3, 1), dtype=np.uint8)
    make = _Maker(Recipe(steps=steps, heads=1, table=900), inputs)
    value = make.add(ops.InputTable, "table", ["images"], "input_values", table=make.integers(300, (1, 256), np.int16), still=0)
    value = make.conv("conv", value, 9, first=True)
    value = make.add(ops.Tokens, "flatten", [value], "tokens")
    for number, width in enumerate(widths):
        make.recipe = replace(make.recipe, width=width)
        value = make.attention(f"attn.{number}", make.linear(f"linear.{number}", value, width))
    weight = make.integers(127, (3, widths[-1]), np.int8)
    make.add(ops.Readout, "head", [value], "head.logits", weight=weight, bias=np.zeros(3, np.int32))
    kind = ops.ValueType((steps, None, 3, 3, 1), "uint8")
    return Graph("two", "images", kind, tuple(make.ops), "head.logits", 1.0, {}), inputs


def provable(graph: Graph) -> bool:
    """Whether no value of the graph can leave 32 bits."""
    try:
        return bool(prove(graph, PROFILES["cpu"]))
    except UnsupportedError:
        return False


def assert_native_equal(graph: Graph, inputs: NDArray[np.uint8], threads: tuple[int, ...] = (1,)) -> dict[str, NDArray[Any]]:
    """Assert that every instruction set that works here computes every value of the graph, and return the values."""
    expected: dict[str, NDArray[Any]] = {}
    graph.execute(inputs, expected.__setitem__)
    for instruction_set in library.instruction_sets():
        for count in threads:
            assert_all_equal(expected, NativeRuntime(graph, count, instruction_set).trace(inputs, graph.observable))
    return expected
