"""Small pieces of C: numbers, names, comments that nothing in a stranger's file can break out of."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.c_code.memory import TYPES

#: Numbers on a line, and characters of a line.
_LINE = 120


def shown(name: str) -> str:
    r"""Return a dotted name as it may stand in a comment or a string: nothing that ends either, no trigraph, no line splice.

    Example:
        >>> shown('blocks.0*/ "\\')
        'blocks.0_____'

    """
    return re.sub(r"[^A-Za-z0-9._ -]", "_", name)[:200]


def identifier(name: str, number: int) -> str:
    """Return a name for C that reads like the dotted one and is unique by its number."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:60]
    return f"run_{number}_{words}" if words else f"run_{number}"


def array(name: str, values: NDArray[np.integer], *, qualifier: str = "") -> str:
    """Return the definition of a constant array."""
    ctype = TYPES[str(values.dtype)][1] if str(values.dtype) in TYPES else f"{values.dtype}_t"
    return f"{qualifier}const {ctype} {name}[{len(values)}] = {{\n{numbers(values)}}};\n"


def numbers(values: NDArray[np.integer]) -> str:
    """Return numbers with commas, in lines of bounded length."""
    words = [_literal(value) for value in values.tolist()]
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) + 2 > _LINE:
            lines.append(line)
            line = ""
        line += f" {word}," if line else f"    {word},"
    return "".join(f"{entry}\n" for entry in [*lines, line])


def _literal(value: int) -> str:
    """The smallest int32 has no literal of its own in C."""
    return "(-2147483647 - 1)" if value == -(2**31) else str(value)


def struct(kind: str, name: str, fields: Sequence[int | Sequence[int]]) -> str:
    """Return the definition of a constant structure of unsigned numbers."""
    return f"static const {kind} {name} = {{{', '.join(_field(field) for field in fields)}}};\n"


def _field(field: int | Sequence[int]) -> str:
    return f"{field}u" if isinstance(field, int) else f"{{{', '.join(f'{entry}u' for entry in field)}}}"


def block(lines: Iterable[str], indent: str = "    ") -> str:
    """Indent lines; empty ones stay empty, long ones are broken behind a comma."""
    return "".join(f"{_broken(indent + line)}\n" if line else "\n" for line in lines)


def _broken(line: str) -> str:
    """Break a line behind commas so that no part is longer than a line should be; all but the first are indented more."""
    margin = " " * (len(line) - len(line.lstrip()) + 4)
    parts: list[str] = []
    while len(line) > _LINE and ", " in line[:_LINE]:
        place = line.rindex(", ", 0, _LINE) + 1
        parts.append(line[:place])
        line = margin + line[place:].lstrip()
    return "\n".join([*parts, line])
