"""``ds2ta report``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ds2ta_deploy.cli.options import allow_modified_option, artifact_argument, json_option, print_json, print_report
from ds2ta_deploy.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

    from ds2ta_deploy.fit import Fit, PopulationFit


@click.command("report", epilog="Example: ds2ta report OUT --target loihi2")
@artifact_argument
@click.option("--target", metavar="NAME|FILE", required=True, help="Chip: loihi1, loihi2, or a file of the same format as theirs.")
@allow_modified_option
@json_option
def command(artifact: Path, target: str, allow_modified: bool, as_json: bool) -> None:
    """Estimate what ARTIFACT would take of a neuromorphic chip, and say what of it has no form there.

    Per population: neurons, synapses, bits of weight, state and payload, memory, cores by each limit. Every
    limit is printed with its source. It is an estimate; nothing is run on a chip.
    """
    import msgspec

    from ds2ta_deploy.artifact import Artifact
    from ds2ta_deploy.chips import read_chip
    from ds2ta_deploy.fit import estimate

    fit = estimate(Artifact.open(artifact, allow_modified=allow_modified).graph, read_chip(target))
    if as_json:
        print_json(msgspec.to_builtins(fit))
        return
    print_report([_table(fit)])
    for line in (*_totals(fit), "", *_misfits(fit), "", *_sources(fit)):
        click.echo(printable(line))


def _table(fit: "Fit") -> "Table":
    """Return one line a population."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{escape(printable(fit.graph))} on {escape(printable(fit.chip.name))}", title_justify="left")
    table.add_column("population", no_wrap=True)
    limits = ["neurons", "weights shared", "one copy a token", *(["memory"] if fit.chip.limits.bytes_per_core else [])]
    for name in ("neurons", "synapses", "weight bits", "state bits", "payload bits", "weights KB", "state KB"):
        table.add_column(name, justify="right")
    for name in limits:
        table.add_column(f"cores: {name}", justify="right")
    for entry in fit.populations:
        table.add_row(escape(printable(entry.name)), *_cells(entry, shared_memory=fit.chip.limits.bytes_per_core is not None))
    return table


def _cells(entry: "PopulationFit", *, shared_memory: bool) -> list[str]:
    sizes = [entry.neurons, entry.synapses, entry.weight_bits, entry.state_bits, entry.payload_bits]
    cells = [f"{size:,}" if size else "" for size in sizes]
    cells += [f"{size / 1024:,.1f}" if size else "" for size in (entry.shared_bytes, entry.state_bytes)]
    if entry.place == "outside":
        return [*cells, "outside"]
    names = ("neurons", "synapses_shared", "synapses_unshared", *(["memory_shared"] if shared_memory else []))
    return [*cells, *(f"{entry.cores[name]:,}" for name in names)]


def _totals(fit: "Fit") -> list[str]:
    """Say how many cores and chips, both ways."""
    inside = [entry for entry in fit.populations if entry.place == "cores"]
    neurons, synapses = sum(entry.neurons for entry in inside), sum(entry.synapses for entry in inside)
    return [
        f"{neurons:,} neurons and {synapses:,} synapses on cores; the rest prepares the input, outside",
        f"tokens share weights: {fit.cores_shared:,} cores, {_count(fit.chips_shared)}",
        f"every token has its own copy: {fit.cores_unshared:,} cores, {_count(fit.chips_unshared)}",
    ]


def _count(chips: int) -> str:
    return f"{chips:,} chip{'' if chips == 1 else 's'}"


def _misfits(fit: "Fit") -> list[str]:
    """Say what has no form on the chip, each reason once with everything it holds for."""
    reasons: dict[str, list[str]] = {}
    for entry in fit.populations:
        for problem in entry.problems:
            reasons.setdefault(problem, []).append(entry.name)
    if not reasons:
        return ["Every population has a form on this chip."]
    lines = ["Does not fit:"]
    for reason, names in reasons.items():
        lines += [f"  {reason}", f"    {', '.join(names)}"]
    return lines


def _sources(fit: "Fit") -> list[str]:
    """List the limits with their sources."""
    lines = [f"Limits of {fit.chip.name} ({fit.chip.about}); * marks second-hand ones:"]
    for group in (fit.chip.limits, fit.chip.features):
        for name in group.__struct_fields__:
            entry = getattr(group, name)
            if entry is not None:
                shown = f"{entry.value:,}" if entry.value is not True and entry.value is not False else "yes" if entry.value else "no"
                lines.append(f"  {name.replace('_', ' ')}: {shown}{'*' if entry.second_hand else ''}. {entry.source}")
    return [*lines, "An estimate from these numbers. Axons, routing and microcode are not counted, and nothing was run on a chip."]
