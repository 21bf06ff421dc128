"""The populations of a report as a tree of their dotted names."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ds2ta_deploy.report import PopulationEntry, Report, StoredWeights

#: How a branch begins, how the last one does, and what passes it by: with lines, and where a terminal has no letters for them.
_DRAWN, _PLAIN = ("├─ ", "└─ ", "│  "), ("|- ", "`- ", "|  ")

#: Levels and columns beyond which a stranger's names do not stretch the tree.
_DEEPEST, _WIDEST = 16, 60


def can_draw(encoding: str | None) -> bool:
    """Whether a stream of this encoding has letters for the lines."""
    try:
        "".join(_DRAWN).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@dataclass
class _Branch:
    """A part of dotted names: perhaps a population itself, and what lies below it, in graph order."""

    entry: PopulationEntry | None = None
    below: "dict[str, _Branch]" = field(default_factory=dict)


def tree(report: Report, weights: dict[str, StoredWeights], *, drawn: bool = True) -> list[str]:
    """Return a line for every population and for every part of a name that populations share; with ``drawn``, lines beyond ASCII.

    An attention stands above its query, key and value, which have its name before theirs.
    """
    root = _Branch()
    for entry in report.populations:
        branch = root
        for part in entry.name.split(".", _DEEPEST):
            branch = branch.below.setdefault(part, _Branch())
        branch.entry = entry
    rows = list(_rows(root, _DRAWN if drawn else _PLAIN))
    name_width = min(_WIDEST, max((len(name) for name, _ in rows), default=0))
    kind_width = min(_WIDEST, max((len(_kind(entry)) for _, entry in rows), default=0))
    return [
        f"{name:{name_width}}  {_kind(entry):{kind_width}}  {_describe(entry, report, weights)}" if entry else name for name, entry in rows
    ]


def _rows(branch: _Branch, lines: tuple[str, str, str], indent: str = "") -> Iterator[tuple[str, PopulationEntry | None]]:
    """Yield what is below a branch: its lines and the last part of its name, and the population."""
    begins, ends, passes = lines
    top = not indent
    for part, child in branch.below.items():
        last = part == next(reversed(branch.below))
        yield f"{indent}{'' if top else ends if last else begins}{part}", child.entry
        yield from _rows(child, lines, " " if top else f"{indent}{' ' * len(passes) if last else passes}")


def _kind(entry: PopulationEntry | None) -> str:
    if entry is None:
        return ""
    return "".join(entry.ops) if entry.kind == "Single" else entry.kind


def stored(weights: dict[str, StoredWeights]) -> str:
    """Say in how many bytes, and in which formats, weights are stored."""
    formats = sorted({name for entry in weights.values() for name in entry.formats})
    return f"{sum(entry.bytes for entry in weights.values()):,} bytes ({', '.join(formats)})"


def _describe(entry: PopulationEntry, report: Report, weights: dict[str, StoredWeights]) -> str:
    words = [f"[{' x '.join('batch' if size is None else str(size) for size in entry.shape)}]"]
    if entry.weight_shape is not None and entry.weight_range is not None:
        words.append(f"weights {' x '.join(map(str, entry.weight_shape))} in {_span(entry.weight_range)}")
        if entry.name in weights:
            words.append(f"stored in {stored({entry.name: weights[entry.name]})}")
    if entry.dilation is not None:
        words.append(f"dilation {entry.dilation}")
    if entry.threshold_range is not None:
        words.append(f"threshold {_span(entry.threshold_range)}")
    if entry.leak is not None:
        words.append(_leak(entry.leak, exact=entry.leak_exact is not False))
    if entry.taps is not None:
        floors = "" if entry.window_exact else " (floors)"
        words.append(f"window {entry.taps} taps, shift {entry.decay}, guard bits {entry.guard_bits}{floors}")
    if entry.table_range is not None:
        words.append(f"table {entry.table_entries} entries in {_span(entry.table_range)}")
    if entry.chunk_steps is not None:
        words.append(f"chunks of {entry.chunk_steps} steps")
    if entry.matrix_range is not None:
        words.append(f"weights of present and past steps in {_span(entry.matrix_range)}")
    state = report.ranges.get(f"{entry.name}.membrane")
    if state is not None:
        words.append(f"state {state.bits} of {state.limit} bits")
    rate = report.firing_rates.get(f"{entry.name}.spikes")
    if rate is not None:
        words.append(f"fires {rate:.1%}")
    return ", ".join(words)


def _leak(leak: tuple[int, int], *, exact: bool) -> str:
    """Say by what a membrane is multiplied from step to step: ``numerator / 2^shift``."""
    numerator, shift = leak
    kept = f"leak shift {shift}" if numerator == 1 else f"leak {numerator}/{2**shift}"
    return kept if exact else f"{kept} (floors)"


def _span(bounds: tuple[int, int]) -> str:
    return f"{bounds[0]}..{bounds[1]}"
