"""``ds2ta inspect``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ds2ta_deploy.cli.imports import import_options, load, require_nothing_said
from ds2ta_deploy.cli.options import allow_modified_option, json_option, print_json
from ds2ta_deploy.errors import Problem, UsageError, printable

if TYPE_CHECKING:
    from ds2ta_deploy.artifact import Artifact, Manifest
    from ds2ta_deploy.report import Report


@click.command("inspect", epilog="Example: ds2ta inspect OUT --json")
@click.argument("source", type=click.Path(path_type=Path))
@allow_modified_option
@click.option("--certificate", is_flag=True, help="Show what is proved of the graph instead, after deriving it a second time.")
@import_options
@json_option
def command(source: Path, allow_modified: bool, certificate: bool, as_json: bool, said: dict[str, Any]) -> None:
    """Show what SOURCE holds.

    An artifact: its origin, its populations as a tree, with shapes, weights and how they are stored, thresholds, shifts,
    bits of state that are needed and had, and firing rates.

    A checkpoint: how its tensors are named, and every field of its config with who says it.

    With --certificate: the proven interval of every value, why no table index can leave its table and why no
    product can saturate. Exits with 4 unless an independent derivation from the graph file agrees on every one.
    """
    import msgspec

    from ds2ta_deploy.artifact import REPORT, Artifact
    from ds2ta_deploy.cli.tree import can_draw, stored, tree
    from ds2ta_deploy.report import Report, stored_weights

    if source.is_file():
        if certificate or allow_modified:
            what = "--certificate and --allow-modified are for artifacts; this is a file"
            raise UsageError(Problem("DS2TA-504", what, str(source)))
        _show_checkpoint(source, said, as_json=as_json)
        return
    require_nothing_said(said, source)
    opened = Artifact.open(source, allow_modified=allow_modified)
    if certificate:
        _show_certificate(opened, as_json=as_json)
        return
    report, weights = opened.read_json(REPORT, Report), stored_weights(opened.graph)
    if as_json:
        print_json(
            {
                "manifest": msgspec.to_builtins(opened.manifest),
                "report": msgspec.to_builtins(report),
                "weights": msgspec.to_builtins(weights),
            }
        )
        return
    populations = tree(report, weights, drawn=can_draw(sys.stdout.encoding))
    for line in (*_origin(opened.manifest, report), f"{stored(weights)} of weights", "", *populations):
        click.echo(printable(line))


def _show_checkpoint(path: Path, said: dict[str, Any], *, as_json: bool) -> None:
    """Load it and say what it is."""
    from ds2ta_deploy.runtimes.table import require_torch

    require_torch()
    import msgspec

    imported = load(path, said)
    config = msgspec.to_builtins(imported.model.config)
    parameters = sum(parameter.numel() for parameter in imported.model.parameters())
    if as_json:
        shown = {"dialect": imported.dialect, "holder": imported.holder, "parameters": parameters, "config": config}
        print_json(shown | {"sources": imported.sources, "dead": sorted(imported.dead)})
        return
    click.echo(printable(f"{path}: {config['family']}, tensors of {imported.holder} named as in {imported.dialect}"))
    click.echo(f"{parameters:,} parameters; {len(imported.dead)} tensors that no forward pass reads are left out")
    default = "the file" if imported.dialect == "own" else "the default"
    for name, value in config.items():
        click.echo(printable(f"  {name} {value} ({imported.sources.get(name, default)})"))


def _show_certificate(opened: "Artifact", *, as_json: bool) -> None:
    """Check the certificate, then print it."""
    import msgspec

    from ds2ta_deploy.cli.certificate import describe

    checked = opened.check_certificate()
    proved = opened.manifest.certificate
    assert proved is not None  # noqa: S101 - it was just checked
    if as_json:
        print_json({"certificate": msgspec.to_builtins(proved), "checked": checked})
        return
    for line in describe(proved, checked):
        click.echo(printable(line))


def _origin(manifest: "Manifest", report: "Report") -> list[str]:
    """Say what the artifact was made from, and what was compared."""
    lines = [f"{report.graph}: target {manifest.target}{', functions expanded' if manifest.inline else ''}"]
    if manifest.checkpoint is not None:
        lines.append(f"checkpoint sha256 {manifest.checkpoint.sha256}")
    lines.append(", ".join(f"{name} {value}" for name, value in report.facts.items() if name != "rounding"))
    lines.append(f"{sum(report.memory.values()):,} bytes of integers, {report.dense_operations:,} dense operations a sample")
    for entry in manifest.parity:
        compared = f"{entry.integers:,} integers of {entry.values} values over {entry.samples} samples"
        lines.append(f"verified on {entry.runtime}: {compared}, {entry.different} different")
    return lines
