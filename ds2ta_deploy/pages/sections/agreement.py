"""What was compared with what, value by value."""

from math import prod

from ds2ta_deploy.artifact import ParityEntry
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.pages.parts import Block, Cell, Code, Mark, Section, Table, Text
from ds2ta_deploy.report import Report
from ds2ta_deploy.runtimes.reference import ReferenceRuntime

#: Characters of a hash that are enough to tell two apart.
_SHORT = 12


def agreement(graph: Graph, report: Report, entries: tuple[ParityEntry, ...], hashes: dict[str, str]) -> Section:
    """Lay values against runtimes: how many integers differ in each place.

    Args:
        graph: for the shapes.
        report: tells which values differ, and which a runtime cannot give.
        entries: what each runtime was compared on.
        hashes: SHA-256 of every compared value over all samples.

    """
    samples = entries[0].samples if entries else 0
    blocks: tuple[Block, ...] = (
        Text(
            f"Each runtime's integers were compared with {baseline(entries)}'s by ==, on every value, sample, time step and place. "
            "A difference of 1 anywhere stops the export; there is no tolerance."
        )
        if entries
        else Text("The comparison was switched off when this artifact was written. Run: ds2ta verify"),
        *((_runtimes(entries),) if entries else ()),
        _matrix(graph, report, entries, hashes, samples),
        Table(
            "Hashes in full",
            ("value", "SHA-256 over all samples"),
            tuple((Code(name), Code(value)) for name, value in hashes.items()),
            folded=True,
        ),
    )
    return Section("agreement", "Agreement", "How many integers differ between the engines.", blocks)


def baseline(entries: tuple[ParityEntry, ...]) -> str:
    """Return what the others were compared with: PyTorch where its model was at hand, as then ``reference`` is one of them."""
    return "torch" if any(entry.runtime == ReferenceRuntime.name for entry in entries) else ReferenceRuntime.name


def _runtimes(entries: tuple[ParityEntry, ...]) -> Table:
    rows = tuple((Code(entry.runtime), entry.samples, entry.values, entry.integers, _verdict(entry.different)) for entry in entries)
    return Table("Runtimes", ("runtime", "samples", "values", "integers compared", "different"), rows)


def _matrix(graph: Graph, report: Report, entries: tuple[ParityEntry, ...], hashes: dict[str, str], samples: int) -> Table:
    rows = []
    for name, value in hashes.items():
        shape = graph.types[name].shape
        integers = prod(samples if size is None else size for size in shape)
        cells = tuple(_compared(report, entry, name, len(hashes)) for entry in entries)
        rows.append((Code(name), " x ".join("B" if size is None else str(size) for size in shape), integers, Code(value, _SHORT), *cells))
    columns = ("value", "shape", "integers", "hash", *(entry.runtime for entry in entries))
    return Table("Different integers, value by runtime", columns, tuple(rows), folded=len(rows) > 12)


def _compared(report: Report, entry: ParityEntry, name: str, compared: int) -> Cell:
    """A hidden value was not asked of a runtime; what is not named as different is equal, where anything is named."""
    if name in report.hidden_of(entry.runtime):
        return "computed in another form"
    told = sum(report.different_in(entry.runtime, value) for value in report.ranges) == entry.different
    if not told or entry.values + len(report.hidden_of(entry.runtime)) != compared:
        return "not recorded"
    return _verdict(report.different_in(entry.runtime, name))


def _verdict(different: int) -> Mark:
    return Mark(f"{different:,}", "bad" if different else "good")
