"""``ds2ta targets``."""

import click

from ds2ta_deploy.cli.options import json_option, print_json


@click.command("targets", epilog="Example: ds2ta targets --json")
@json_option
def command(as_json: bool) -> None:
    """List what can be exported to and what can run an artifact, and which of it is possible on this machine.

    An export is compared on its target's runtimes before it is released; where one of them is missing, it ends with 5.
    """
    from rich.console import Console
    from rich.table import Table

    from ds2ta_deploy.runtimes.table import RUNTIMES
    from ds2ta_deploy.targets import TARGETS

    missing = {target.name: [name for name in target.verify_with if not RUNTIMES[name].available] for target in TARGETS.values()}
    if as_json:
        runtimes = [
            {"name": info.name, "about": info.about, "available": info.available, "install": info.install} for info in RUNTIMES.values()
        ]
        targets = [{"name": target.name, "about": target.about, "missing": missing[target.name]} for target in TARGETS.values()]
        print_json({"targets": targets, "runtimes": runtimes})
        return
    console = Console(highlight=False)
    table = Table("target", "what it is", "verified here", title="Targets", title_justify="left")
    for target in TARGETS.values():
        without = ", ".join(missing[target.name])
        table.add_row(target.name, target.about, f"no: needs {without}, see below" if without else "[green]yes[/green]")
    console.print(table)
    table = Table("runtime", "what it is", "here", title="Runtimes", title_justify="left")
    for info in RUNTIMES.values():
        table.add_row(info.name, info.about, "[green]yes[/green]" if info.available else f"no: {info.install}".replace("[", "\\["))
    console.print(table)
