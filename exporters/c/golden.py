"""Writes ``selftest_data``: golden inputs, logits, and every value of the first sample, packed or as a checksum."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.c_code.program import Program
from ds2ta_deploy.c_code.text import array, shown
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.populations import population_values

#: Samples whose logits are compared, and bytes of packed values; what does not fit has a checksum only.
SAMPLES, MOST_BYTES = 4, 2**20

_HEADER = """\
/* Golden vectors of {name}. */
#ifndef DS2TA_SELFTEST_DATA_H
#define DS2TA_SELFTEST_DATA_H

#include "model.h"
#include "selftest.h"

#define SELFTEST_NAME "{name}"
#define SELFTEST_OUTPUT "{output}"
#define SELFTEST_SAMPLES {samples}u

extern const uint8_t selftest_inputs[{inputs}];
extern const int32_t selftest_logits[{logits}];

#ifdef DS2TA_TRACE
extern const selftest_value selftest_values[DS2TA_TRACED_VALUES];
extern const uint8_t selftest_packed[{packed}];
#endif

#endif
"""


@dataclass(frozen=True)
class _Known:
    """What the self-test knows of one value."""

    name: str
    elements: NDArray[np.int64] | None
    keep: bool


def golden_files(program: Program, inputs: NDArray[np.uint8]) -> dict[str, str]:
    """Return ``selftest_data.h`` and ``selftest_data.c`` for the first samples of some inputs."""
    graph = program.graph
    axis = graph.input_type.shape.index(None)
    given = inputs.take(range(min(SAMPLES, inputs.shape[axis])), axis)
    logits = graph.execute(given).reshape(-1)
    known = _known(program, given.take([0], axis))
    records, packed = _records(program, known)
    by_sample = np.ascontiguousarray(np.moveaxis(given, axis, 0)).reshape(-1)
    header = _HEADER.format(
        name=shown(graph.name),
        output=shown(graph.output),
        samples=given.shape[axis],
        inputs=by_sample.size,
        logits=logits.size,
        packed=packed.size,
    )
    source = (
        f'/* Golden vectors of {shown(graph.name)}. */\n#include "selftest_data.h"\n\n'
        f"{array('selftest_inputs', by_sample)}\n{array('selftest_logits', logits)}\n"
        f"#ifdef DS2TA_TRACE\n\nconst selftest_value selftest_values[DS2TA_TRACED_VALUES] = {{\n{''.join(records)}}};\n\n"
        f"{array('selftest_packed', packed)}\n#endif\n"
    )
    return {"selftest_data.h": header, "selftest_data.c": source}


def _known(program: Program, sample: NDArray[np.uint8]) -> list[_Known]:
    """Return every traced value of one sample, in the order in which the C code tells its elements."""
    graph, made = program.graph, dict[str, NDArray[np.int64]]()
    names = set(program.traced)
    kept = {program.layouts[name].root for name in population_values(graph)}

    def keep(name: str, value: NDArray[np.integer]) -> None:
        """A view tells of its root where that has no observable name itself; what is repeated is not told again."""
        layout = program.layouts[name]
        if layout.root in names and layout.root not in made and value.size == _elements(graph, layout.root):
            order = (0, *(axis + 1 for axis in layout.order))
            made[layout.root] = value[:, 0].transpose(order).reshape(-1).astype(np.int64)

    graph.execute(sample, keep)
    return [_Known(name, made.get(name), name in kept) for name in program.traced]


def _elements(graph: Graph, name: str) -> int:
    """Elements of one sample over all its steps."""
    return int(np.prod([size or 1 for size in graph.types[name].shape]))


def _records(program: Program, known: list[_Known]) -> tuple[list[str], NDArray[np.uint8]]:
    """Return one initializer a value, and the packed elements of those that are kept."""
    records, parts, used = [], [np.zeros(1, np.uint8)], 1
    for value in known:
        layout = program.layouts[value.name]
        sizes = [*layout.in_memory, *[1] * (3 - len(layout.order))]
        axes = [*layout.order, *[0] * (3 - len(layout.order))]
        place = f"{len(layout.order)}u, {{{', '.join(f'{size}u' for size in sizes)}}}, {{{', '.join(f'{axis}u' for axis in axes)}}}"
        bits, least, at = 0, 0, 0
        if value.elements is not None and value.keep:
            least = int(value.elements.min())
            packed, width = _pack(value.elements - least)
            if used + packed.size <= MOST_BYTES:
                bits, at, used = width, used, used + packed.size
                parts.append(packed)
        checksum = 0 if value.elements is None else _checksum(value.elements)
        elements = 0 if value.elements is None else layout.elements
        low = least if bits else 0
        records.append(f'    {{"{shown(value.name)}", {checksum}u, {elements}u, {bits}u, {at}u, {low}, {place}}},\n')
    return records, np.concatenate(parts)


def _pack(numbers: NDArray[np.int64]) -> tuple[NDArray[np.uint8], int]:
    """Return numbers from zero on in as few bits each as a power of two allows, the first in the lowest bits."""
    width = next(bits for bits in (1, 2, 4, 8, 16, 32) if int(numbers.max(initial=0)) < 1 << bits)
    if width >= 8:
        return numbers.astype(f"<u{width // 8}").view(np.uint8), width
    per_byte = 8 // width
    padded = np.pad(numbers, (0, -len(numbers) % per_byte)).reshape(-1, per_byte).astype(np.uint8)
    return np.bitwise_or.reduce(padded << (np.arange(per_byte, dtype=np.uint8) * width), axis=1).astype(np.uint8), width


def _checksum(numbers: NDArray[np.int64]) -> int:
    """Sum of all numbers, each times an odd weight of its place, modulo 2^32, as ``selftest.c`` computes it.

    The weights are odd, so that one number alone cannot change without the sum.
    """
    places = np.arange(len(numbers), dtype=np.uint32)
    weights = ((places * np.uint32(2654435761)) ^ (places >> np.uint32(15))) | np.uint32(1)
    return int((numbers.astype(np.uint32) * weights).sum(dtype=np.uint32))
