"""``ds2ta inspect``."""

from pathlib import Path
from typing import Any

import click

from ds2ta_deploy.cli.options import allow_modified_option, artifact_argument, json_option, print_json


@click.command("inspect", epilog="Example: ds2ta inspect OUT --json")
@artifact_argument
@allow_modified_option
@json_option
def command(artifact: Path, allow_modified: bool, as_json: bool) -> None:
    """Show what ARTIFACT holds: its origin, its populations with shapes, weights, thresholds, shifts and rates."""
    import json

    import msgspec
    from rich.console import Console
    from rich.markup import escape

    from ds2ta_deploy.artifact import REPORT, Artifact

    opened = Artifact.open(artifact, allow_modified=allow_modified)
    report: dict[str, Any] = json.loads(opened.read(REPORT))
    if as_json:
        print_json({"manifest": msgspec.to_builtins(opened.manifest), "report": report})
        return
    console = Console(highlight=False, soft_wrap=True)
    manifest, facts = opened.manifest, report["facts"]
    console.print(f"[bold]{escape(report['graph'])}[/bold]  target {manifest.target}{', functions expanded' if manifest.inline else ''}")
    if manifest.checkpoint is not None:
        console.print(f"checkpoint sha256 {manifest.checkpoint.sha256}")
    bits = f"{facts['weight_bits']}-bit weights, first layer {facts['first_layer_bits']} bits"
    console.print(f"{facts['family']}, {facts['time_steps']} time steps, profile {facts['profile']}, {bits}")
    total = sum(report["memory"].values())
    console.print(f"{total:,} bytes of integers, {report['dense_operations']:,} dense operations a sample")
    for entry in manifest.parity:
        compared = f"{entry.integers:,} integers of {entry.values} values over {entry.samples} samples"
        console.print(f"verified on {entry.runtime}: {compared}, {entry.different} different")
    console.print(population_tree(report))


def population_tree(report: dict[str, Any]) -> Any:
    """Arrange the populations by their dotted names."""
    from rich.tree import Tree

    root = Tree(report["graph"])
    branches: dict[str, Tree] = {"": root}
    for entry in report["populations"]:
        parts = entry["name"].split(".")
        for depth in range(1, len(parts)):
            path = ".".join(parts[:depth])
            if path not in branches:
                branches[path] = branches[".".join(parts[: depth - 1])].add(parts[depth - 1])
        label = f"{parts[-1]}  [cyan]{entry['kind'] if entry['kind'] != 'Single' else entry['ops'][0]}[/cyan]  {_describe(entry, report)}"
        parent = ".".join(parts[:-1])
        branches[entry["name"]] = branches[parent].add(label)
    return root


def _describe(entry: dict[str, Any], report: dict[str, Any]) -> str:
    sizes = " x ".join("batch" if size is None else str(size) for size in entry["shape"])
    words = [f"\\[{sizes}]"]
    if "weight_shape" in entry:
        words.append(f"weights {' x '.join(map(str, entry['weight_shape']))} in {entry['weight_range'][0]}..{entry['weight_range'][1]}")
    if "threshold_range" in entry:
        words.append(f"threshold {entry['threshold_range'][0]}..{entry['threshold_range'][1]}")
    if "taps" in entry:
        floors = "" if entry["window_exact"] else " (floors)"
        words.append(f"window {entry['taps']} taps, shift {entry['decay']}, guard bits {entry['guard_bits']}{floors}")
    if "table_range" in entry:
        words.append(f"table {entry['table_entries']} entries in {entry['table_range'][0]}..{entry['table_range'][1]}")
    rate = report["firing_rates"].get(f"{entry['name']}.spikes")
    if rate is not None:
        words.append(f"fires {rate:.1%}")
    return ", ".join(words)
