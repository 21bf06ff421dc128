"""``ds2ta lava``."""

from pathlib import Path

import click

from ds2ta_deploy.cli.options import say


@click.group("lava", epilog="Example: ds2ta lava install")
def command() -> None:
    """Look after Lava, the simulator behind the target of that name."""


@command.command("install", epilog="Example: ds2ta lava install --python /opt/python3.10/bin/python")
@click.option("--python", type=click.Path(path_type=Path), help="Interpreter of the environment to install into.  [default: this one]")
def install(python: Path | None) -> None:
    """Install lava-nc 0.10.0 and what it needs with pip, then run a small network on it.

    Lava's licences are BSD-3-Clause and, for its compiler and runtime, LGPL-2.1-or-later. Its wheel also
    holds its own tests, as a package named 'tests'; they are removed, lest they hide yours.
    """
    from ds2ta_deploy.lava_setup import RELEASE
    from ds2ta_deploy.lava_setup import install as install_lava

    say(f"installing {RELEASE}")
    install_lava(python)
    say("Lava works: a small network gave the same integers")
