"""The certificate: what is proved of a graph, as plain data that an artifact carries and anyone can check again.

The proof is in ``ds2ta_deploy.graph.ranges`` and the ops' ``infer_ranges``; ``ds2ta_deploy.certificate_check``
derives everything here a second time and shares no code with it.
"""

import hashlib
from collections.abc import Iterator
from typing import Literal

import msgspec

from ds2ta_deploy.graph import serialize
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Add, InputTable, Lif, Lookup, MatMul, MaxPool2d, Op, Pixels, Repeat, TemporalWindow, Tokens
from ds2ta_deploy.graph.products import PAIR_LIMIT, products
from ds2ta_deploy.graph.ranges import ProvenRange, profile_of, prove

#: Ops whose int32 output a neuron reads, or another one of these.
_CURRENTS = (Add, MaxPool2d, Pixels, Repeat, TemporalWindow, Tokens)

Kind = Literal["input", "table entry", "accumulator", "current", "membrane", "count"]


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The proven interval of one value.

    Attributes:
        value: its dotted name.
        kind: what it is; spikes are counts of at most one.
        low: smallest possible integer of any channel, partial sums included.
        high: largest possible integer.
        bits: two's-complement bits that the interval needs, sign included.
        available: those that the storage type and the profile grant; uint8 counts as 9, for it has no sign.
        margin: bits to spare.

    """

    value: str
    kind: Kind
    low: int
    high: int
    bits: int
    available: int
    margin: int


class TableIndex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why no index leaves one table.

    Attributes:
        op: the lookup.
        index: the value that is the index.
        low: smallest possible index.
        high: largest possible index, below ``entries``.
        entries: length of the table.
        margin: entries that no index reaches.
        terms: number of products that an index sums; 0 for a pixel, which its type bounds.
        largest: largest product among them; for a pixel, the pixel.

    """

    op: str
    index: str
    low: int
    high: int
    entries: int
    margin: int
    terms: int
    largest: int


class PairBound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why one uint8 x int8 product cannot saturate where a kernel adds two of its terms in 16 bits.

    Attributes:
        op: the product's op.
        part: ``whole``, or the planes of a wider product.
        unsigned: proven interval of the uint8 operand.
        signed: proven interval of the int8 operand.
        pair: bound of ``|a_0 w_0 + a_1 w_1|``.
        limit: what 16 bits hold, 32767.
        margin: ``limit - pair``; negative when such a kernel could saturate.

    """

    op: str
    part: str
    unsigned: tuple[int, int]
    signed: tuple[int, int]
    pair: int
    limit: int
    margin: int


class Certificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is proved of one graph, for every possible input.

    Attributes:
        schema: version of this format.
        graph: SHA-256 of the graph file that it speaks of.
        profile: the widths that were asked for.
        bounds: one a value, in graph order.
        tables: one a table.
        products: one a uint8 x int8 product.

    """

    schema: Literal["ds2ta-certificate/1"] = "ds2ta-certificate/1"
    graph: str
    profile: str
    bounds: tuple[Bound, ...]
    tables: tuple[TableIndex, ...]
    products: tuple[PairBound, ...]


def certify(graph: Graph) -> Certificate:
    """Write down what is proved of a graph.

    Raises:
        UnsupportedError: DS2TA-212 unknown profile; DS2TA-220 or 221 when something could overflow or an index leave its table.

    Example:
        >>> certify(graph).bounds[0].margin  # doctest: +SKIP
        0

    """
    profile = profile_of(graph)
    kinds: dict[str, Kind] = {graph.input_name: "input"}
    for op in graph:
        kinds.update(zip(op.outputs, _kinds(graph, op), strict=True))
    return Certificate(
        graph=hashlib.sha256(serialize.to_bytes(graph)).hexdigest(),
        profile=profile.name,
        bounds=tuple(_bound(entry, kinds[entry.name]) for entry in prove(graph, profile)),
        tables=tuple(_tables(graph)),
        products=tuple(
            PairBound(entry.op, entry.part, entry.unsigned, entry.signed, entry.pair, PAIR_LIMIT, PAIR_LIMIT - entry.pair)
            for entry in products(graph)
        ),
    )


def _kinds(graph: Graph, op: Op) -> tuple[Kind, ...]:
    """Say what an op's outputs are: what fits a byte is a count, the state is what the op makes of it."""
    if isinstance(op, Lif):
        return "count", "membrane"
    stored = graph.types[op.outputs[0]].dtype
    if stored != "int32":
        return ("count" if stored == "uint8" else "table entry",)
    return ("current" if isinstance(op, _CURRENTS) else "accumulator",)


def _bound(entry: ProvenRange, kind: Kind) -> Bound:
    return Bound(entry.name, kind, entry.low, entry.high, entry.bits, entry.limit, entry.margin)


def _tables(graph: Graph) -> Iterator[TableIndex]:
    """Yield an entry a table; that the index stays inside was proved before."""
    makers = {name: op for op in graph for name in op.outputs}
    for op in graph:
        if isinstance(op, InputTable | Lookup):
            (index,) = op.inputs
            interval, entries = graph.ranges[index], op.table.shape[1]
            terms, largest = _index_terms(graph, makers.get(index), interval.maximum)
            yield TableIndex(op.name, index, interval.minimum, interval.maximum, entries, entries - 1 - interval.maximum, terms, largest)


def _index_terms(graph: Graph, maker: Op | None, highest: int) -> tuple[int, int]:
    """Return how many products an index sums, and the largest of them."""
    if not isinstance(maker, MatMul):
        return 0, highest
    left, right = (graph.ranges[name].maximum for name in maker.inputs)
    return maker.terms(graph.types[maker.inputs[0]]), left * right
