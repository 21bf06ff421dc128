"""``ds2ta targets``."""

import click

from ds2ta_deploy.cli.options import json_option, print_json


@click.command("targets", epilog="Example: ds2ta targets --json")
@json_option
def command(as_json: bool) -> None:
    """List what can be exported to, and what can run an artifact on this machine."""
    from rich.console import Console
    from rich.table import Table

    from ds2ta_deploy.runtimes.base import RUNTIMES
    from ds2ta_deploy.targets import TARGETS

    if as_json:
        runtimes = [
            {"name": info.name, "about": info.about, "available": info.available, "install": info.install} for info in RUNTIMES.values()
        ]
        print_json({"targets": [{"name": target.name, "about": target.about} for target in TARGETS.values()], "runtimes": runtimes})
        return
    console = Console(highlight=False)
    targets = Table("target", "what it is", title="Targets", title_justify="left")
    for target in TARGETS.values():
        targets.add_row(target.name, target.about)
    console.print(targets)
    table = Table("runtime", "what it is", "here", title="Runtimes", title_justify="left")
    for info in RUNTIMES.values():
        table.add_row(info.name, info.about, "[green]yes[/green]" if info.available else f"no: {info.install}".replace("[", "\\["))
    console.print(table)
