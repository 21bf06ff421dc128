"""A fragment: the few ops of a graph that make one value of other values, cut out so that they run alone."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.graph.graph import MOST_ELEMENTS, Graph, check_input, infer_types, input_problems
from ds2ta_deploy.graph.intervals import IntArray, Interval
from ds2ta_deploy.graph.ops import DTYPE_LIMITS, Dtype, Op, ValueType

HEADER_KEY = "ds2ta-fragment/1"


class _ValueRecord(msgspec.Struct, forbid_unknown_fields=True):
    shape: tuple[int | None, ...]
    dtype: Dtype


class _FragmentRecord(msgspec.Struct, forbid_unknown_fields=True):
    reads: dict[str, _ValueRecord]
    ops: tuple[serialize.OpRecord, ...]
    value: str


@dataclass(frozen=True, eq=False)
class Fragment:
    """Ops that make one value.

    Attributes:
        reads: types of the values it is given; unlike a graph it may have several.
        ops: in graph order; one of them when everything between the ops can be observed.
        value: name of the value it makes.

    """

    reads: dict[str, ValueType]
    ops: tuple[Op, ...]
    value: str

    @cached_property
    def types(self) -> dict[str, ValueType]:
        """Types of all values.

        Raises:
            UnsupportedError: DS2TA-210, 211 or 213 when the ops do not fit together.

        """
        problems = [problem for name, kind in self.reads.items() for problem in input_problems(name, kind, MOST_ELEMENTS)]
        if problems:
            raise UnsupportedError(problems)
        return infer_types(self.ops, self.reads, self.value, self.value)

    def execute(self, operands: Mapping[str, NDArray[Any]]) -> dict[str, IntArray]:
        """Run the ops and return every value, what was given included.

        Raises:
            InputError: DS2TA-120 or 121 when the operands do not fit.
            UnsupportedError: DS2TA-220 when these very operands make a value leave its type, DS2TA-221 when they make
                an index leave its table.

        """
        for name, kind in self.reads.items():
            check_input(operands[name], kind, name)
        self._prove(operands)
        values = {name: operands[name].astype(np.int64) for name in self.reads}
        for op in self.ops:
            values.update(zip(op.outputs, op.execute(*(values[name] for name in op.inputs)), strict=True))
        return values

    def _prove(self, operands: Mapping[str, NDArray[Any]]) -> None:
        """Follow the interval of the operands through the ops, as the proof of a graph follows that of all inputs."""
        ranges = {name: Interval.of(int(operands[name].min(initial=0)), int(operands[name].max(initial=0))) for name in self.reads}
        for op in self.ops:
            made = op.infer_ranges([ranges[name] for name in op.inputs], [self.types[name] for name in op.inputs])
            for name, interval in zip(op.outputs, made, strict=True):
                low, high = DTYPE_LIMITS[self.types[name].dtype]
                if interval.minimum < low or interval.maximum > high:
                    what = f"can reach [{interval.minimum}, {interval.maximum}] on these operands, its type holds [{low}, {high}]"
                    raise UnsupportedError(Problem("DS2TA-220", what, name))
            ranges.update(zip(op.outputs, made, strict=True))

    def focus(self, place: tuple[int, ...], values: Mapping[str, IntArray]) -> tuple[Op, tuple[int, ...]]:
        """Return the op that computed the integer at ``place`` of the value, and the place among that op's outputs.

        Ops that only move integers are walked through, backwards, as far as the fragment goes.

        Args:
            place: index into the value, time and batch included.
            values: what :meth:`execute` returned.

        """
        maker = {name: op for op in self.ops for name in op.outputs}
        op = maker[self.value]
        while op.REARRANGES and op.inputs[0] in maker:
            source = values[op.inputs[0]]
            numbered = op.execute(np.arange(source.size).reshape(source.shape))[0]
            place = tuple(int(position) for position in np.unravel_index(int(numbered[place]), source.shape))
            op = maker[op.inputs[0]]
        return op, place


def cut(graph: Graph, value: str, known: Collection[str]) -> Fragment:
    """Cut out what makes ``value`` of values that are known; the network's input always is."""
    maker = {name: op for op in graph for name in op.outputs}
    needed, reads, waiting = {maker[value].name}, set[str](), [maker[value]]
    while waiting:
        for name in waiting.pop().inputs:
            if name in known or name == graph.input_name:
                reads.add(name)
            elif maker[name].name not in needed:
                needed.add(maker[name].name)
                waiting.append(maker[name])
    types = {name: kind for name, kind in graph.types.items() if name in reads}
    return Fragment(types, tuple(op for op in graph if op.name in needed), value)


def to_bytes(fragment: Fragment) -> bytes:
    """Serialize; equal fragments give equal bytes."""
    records, tensors = serialize.pack_ops(fragment.ops)
    reads = {name: _ValueRecord(kind.shape, kind.dtype) for name, kind in fragment.reads.items()}
    return serialize.save(_FragmentRecord(reads, records, fragment.value), tensors, HEADER_KEY)


def from_bytes(data: bytes, where: str = "fragment") -> Fragment:
    """Read a fragment back and check its wiring.

    Raises:
        InputError: DS2TA-140 to 142 as for a graph.
        UnsupportedError: DS2TA-210, 211 or 213 when the ops do not fit together.

    """
    record, tensors = serialize.load(data, {HEADER_KEY: _FragmentRecord}, where)
    reads = {name: ValueType(kind.shape, kind.dtype) for name, kind in record.reads.items()}
    fragment = Fragment(reads, serialize.build_ops(record.ops, tensors, where), record.value)
    _ = fragment.types  # raises when the wiring is wrong
    if not fragment.ops or record.value in reads:
        raise UnsupportedError(Problem("DS2TA-211", "no op makes the value", record.value))
    return fragment
