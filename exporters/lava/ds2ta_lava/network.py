"""Reads ``graph.json`` and ``tensors.npz``: the processes, and what passes between them."""

from __future__ import annotations

import json
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import NetworkError
from .cell import Cell, Step, block_steps
from .check import problems_of
from .schedule import delay_of

SCHEMA = "ds2ta-lava/1"

#: What NumPy, zipfile and json raise on damaged files.
_READING = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, NotImplementedError, OverflowError, SyntaxError),
    *(MemoryError, RecursionError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError),
)


@dataclass(frozen=True)
class Value:
    """What an observed value looks like.

    Attributes:
        shape: of one sample in one time step.
        dtype: storage type.
        steps: time steps that have it: T, or 1 for what a still picture gives once; of what is made of chunks, the
            number of chunks; 0 for the logits of a whole sample.

    """

    shape: tuple[int, ...]
    dtype: str
    steps: int


@dataclass(frozen=True)
class Process:
    """One leaf process.

    Attributes:
        name: dotted name, unique.
        kind: one of ``check.KINDS``.
        block: name of the block it belongs to.
        inputs: names of the values it receives, one a port, in port order.
        output: name of the value it sends in every time step.
        steps: what it computes.
        lowering: ``stock`` when Lava's own processes compute the steps, ``custom`` when a leaf of this package does.

    """

    name: str
    kind: str
    block: str
    inputs: tuple[str, ...]
    output: str
    steps: tuple[Step, ...]
    lowering: str = "custom"

    @property
    def delay(self) -> int:
        """Steps on Lava by which it sends later than it receives."""
        return delay_of(stock=self.lowering == "stock", block=block_steps(self.steps))


@dataclass(frozen=True)
class Network:
    """A network that can be run.

    Attributes:
        name: what it was exported from.
        time_steps: T; all state is cleared when a sample's T steps are over.
        state_bits: bits of sums, currents and membranes.
        input_name: name of the input.
        input_shape: of one sample, ``[H, W, C]`` or, for frames, ``[T, H, W, C]``.
        still: whether one picture is shown at every time step.
        output: name of the logits.
        populations: names of the values that pass between populations, also inside a fused process.
        values: every value, by name.
        processes: in an order in which they can run within a time step.

    """

    name: str
    time_steps: int
    state_bits: int
    input_name: str
    input_shape: tuple[int, ...]
    still: bool
    output: str
    populations: tuple[str, ...]
    values: dict[str, Value]
    processes: tuple[Process, ...]

    def cell(self, process: Process) -> Cell:
        """Return the process' arithmetic, with empty state."""
        wide = frozenset(name for step in process.steps for name in step.outputs if self.values[name].dtype == "int32")
        stored = {name: (self.values[name].shape, self.values[name].dtype) for step in process.steps for name in step.outputs}
        return Cell(process.steps, wide, self.state_bits, stored)

    def arrange(self, inputs: NDArray[Any]) -> NDArray[np.uint8]:
        """Return inputs sample first: ``[B, H, W, C]`` as they are, frames ``[T, B, ...]`` as ``[B, T, ...]``.

        Raises:
            NetworkError: when dtype or shape is not the network's.

        """
        samples_first = inputs if self.still or inputs.ndim < 2 else inputs.swapaxes(0, 1)
        if inputs.dtype != np.uint8 or samples_first.shape[1:] != self.input_shape or not len(samples_first):
            wanted = list(self.input_shape)
            wanted.insert(0 if self.still else 1, -1)
            raise NetworkError(f"{self.input_name} is {inputs.dtype} {inputs.shape}, the network takes uint8 {wanted} (-1: any number)")
        return np.ascontiguousarray(samples_first)

    @property
    def hidden(self) -> frozenset[str]:
        """Names of the values inside stock processes, which Lava computes in another form, or not at all."""
        stock = [process for process in self.processes if process.lowering == "stock"]
        return frozenset(name for process in stock for step in process.steps for name in step.outputs if name != process.output)

    def check_wanted(self, wanted: Sequence[str]) -> None:
        """Raise NetworkError for names that are no values of the network."""
        unknown = [name for name in wanted if name not in self.values]
        if unknown:
            raise NetworkError(f"no such values: {', '.join(unknown)}")


def read_network(directory: Path) -> Network:
    """Read the two files.

    Raises:
        NetworkError: when a file is missing, of another schema, or they do not fit together.

    """
    try:
        data = json.loads((directory / "graph.json").read_text(encoding="utf-8"))
        with np.load(directory / "tensors.npz", allow_pickle=False) as file:
            tensors = {name: file[name] for name in file.files}
        problems = _other_schema(data) or list(problems_of(data, tensors))
    except _READING as error:
        raise NetworkError(f"{directory} holds no network: {type(error).__name__}: {error}") from error
    if problems:
        raise NetworkError("; ".join(problems))
    network = _build(data, tensors)
    said = [entry["delay"] for entry in data["processes"]]
    pairs = zip(network.processes, said, strict=True)
    wrong = [f"{process.name} says delay {delay} and has {process.delay}" for process, delay in pairs if delay != process.delay]
    if wrong:
        raise NetworkError("; ".join(wrong))
    return network


def _other_schema(data: Any) -> list[str]:
    schema = data.get("schema") if isinstance(data, dict) else None
    return [] if schema == SCHEMA else [f"graph.json has schema {schema!r}, this program reads {SCHEMA!r}"]


def _build(data: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Network:
    processes = tuple(
        Process(
            entry["name"],
            entry["kind"],
            entry["block"],
            tuple(entry["inputs"]),
            entry["output"],
            tuple(_step(step, tensors) for step in entry["steps"]),
            entry.get("lowering", "custom"),
        )
        for entry in data["processes"]
    )
    values = {name: Value(tuple(entry["shape"]), entry["dtype"], entry["steps"]) for name, entry in data["values"].items()}
    head = data["input"]
    return Network(
        data["name"],
        data["time_steps"],
        data["state_bits"],
        head["name"],
        tuple(head["shape"]),
        head["still"],
        data["output"]["name"],
        tuple(data["populations"]),
        values,
        processes,
    )


def _step(entry: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Step:
    held = {field: tensors[name] for field, name in entry["tensors"].items()}
    return Step(entry["op"], tuple(entry["inputs"]), tuple(entry["outputs"]), dict(entry["integers"]), held, entry["once"])
