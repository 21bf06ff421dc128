"""``ds2ta doctor``."""

import re
from importlib import metadata
from typing import Any

import click

from ds2ta_deploy.cli.options import json_option, print_json

#: Name and oldest version of one requirement, as packaging metadata write it: ``numpy<3,>=2.1``.
_NAME, _OLDEST = re.compile(r"[A-Za-z0-9._-]+"), re.compile(r">=\s*([0-9.]+)")

#: A version among the words that a compiler says.
_VERSION = re.compile(r"\b\d+\.\d+(\.\d+)?\b")

#: Optional dependencies that a user may want.
_EXTRAS = ("torch", "events", "images", "report")


@click.command("doctor", epilog="Example: ds2ta doctor --json")
@json_option
def command(as_json: bool) -> None:
    """Check this installation: Python, dependencies, runtimes, the C compiler; says how to mend what is missing.

    Exits with 5 when a required dependency is missing.
    """
    from ds2ta_deploy.errors import MissingRuntimeError, Problem

    findings = examine()
    if as_json:
        print_json(findings)
    else:
        click.echo(f"Python {findings['python']} on {findings['machine']}, {findings['cores']} cores")
        for entry in findings["distributions"]:
            click.echo(f"{entry['name']:<14}{entry['version'] or 'not installed':<16}{entry['remark']}")
        click.echo(f"{'native':<14}{findings['native']['instruction_set'] or 'not built':<16}{findings['native']['remark']}")
        click.echo(f"{'C compiler':<14}{findings['compiler']['version'] or 'not found':<16}{findings['compiler']['remark']}")
        click.echo(f"{'lava-nc':<14}{findings['lava']['version'] or 'not installed':<16}{findings['lava']['remark']}")
    missing = [entry["name"] for entry in findings["distributions"] if entry["version"] is None and not entry["optional"]]
    if missing:
        what = "a required dependency is not installed"
        raise MissingRuntimeError(Problem("DS2TA-402", what, name, f"pip install {name}") for name in missing)


def examine() -> dict[str, Any]:
    """Compare what is installed with what the package's own metadata ask for, and try Lava out if it is there."""
    import os
    import platform

    from ds2ta_deploy.lava_setup import status
    from ds2ta_deploy.runtimes.native.library import condition as native

    distributions = []
    for requirement in metadata.requires("ds2ta-deploy") or []:
        wanted, _, condition = requirement.partition(";")
        named, bound = _NAME.match(wanted), _OLDEST.search(wanted)
        if named is None:
            continue
        name, oldest = named.group(), bound.group(1) if bound else "0"
        extra = next((extra for extra in _EXTRAS if f'extra == "{extra}"' in condition), None)
        if condition and extra is None:
            continue
        distributions.append({"name": name, "optional": extra is not None, **_status(name, oldest, extra)})
    lava, remark = status()
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "distributions": distributions,
        "native": native(),
        "compiler": _compiler(),
        "lava": {"version": lava, "works": remark == "ok", "remark": remark},
    }


def _compiler() -> dict[str, Any]:
    """Name the C compiler that the runtime ``c`` would use, and ask it for its version."""
    import subprocess

    from ds2ta_deploy.runtimes.c_program import INSTALL, find_compiler

    path = find_compiler()
    if path is None:
        return {"path": None, "version": None, "remark": f"optional, for the target c: {INSTALL}"}
    try:
        asked = subprocess.run([path, "--version"], capture_output=True, text=True, errors="replace", check=True, timeout=30)  # noqa: S603 - found above
    except (OSError, subprocess.SubprocessError):
        return {"path": path, "version": None, "remark": f"{path} does not say its version: {INSTALL}"}
    number = _VERSION.search(asked.stdout)
    return {"path": path, "version": number.group() if number else "unknown", "remark": path}


def _status(name: str, oldest: str, extra: str | None) -> dict[str, Any]:
    """Say which version is installed, and what is wrong with it."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        remark = f"optional: pip install 'ds2ta-deploy[{extra}]'" if extra else f"required: pip install {name}"
        return {"version": None, "remark": remark}
    return {"version": version, "remark": "ok" if _release(version) >= _release(oldest) else f"older than {oldest}, the oldest supported"}


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version: 2.13.0+cpu is (2, 13, 0)."""
    return tuple(int(number) for number in re.findall(r"\d+", version.split("+", maxsplit=1)[0]))
