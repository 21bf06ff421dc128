"""``ds2ta doctor``."""

from typing import Any

import click

from ds2ta_deploy.cli.options import json_option, print_json

#: Distributions that matter, and the oldest release that the tests have seen.
_EXPECTED = {
    "numpy": (2, 0),
    "onnx": (1, 20),
    "onnxruntime": (1, 20),
    "safetensors": (0, 5),
    "msgspec": (0, 19),
    "click": (8, 1),
    "rich": (13, 0),
    "torch": (2, 13),
}

_OPTIONAL = frozenset({"torch"})


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Check this installation: Python, dependencies, runtimes; says how to mend what is missing.

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
    missing = [entry["name"] for entry in findings["distributions"] if entry["version"] is None and entry["name"] not in _OPTIONAL]
    if missing:
        raise MissingRuntimeError(
            Problem("DS2TA-402", "a required dependency is not installed", name, f"pip install {name}") for name in missing
        )


def examine() -> dict[str, Any]:
    """Collect versions and remarks."""
    import os
    import platform
    from importlib import metadata

    distributions: list[dict[str, Any]] = []
    for name, oldest in _EXPECTED.items():
        try:
            version: str | None = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = None
        remark = "ok"
        if version is None:
            remark = "optional: pip install 'ds2ta-deploy[torch]'" if name in _OPTIONAL else f"required: pip install {name}"
        elif _release(version) < oldest:
            remark = f"older than any tested release ({'.'.join(map(str, oldest))})"
        distributions.append({"name": name, "version": version, "remark": remark})
    return {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count(), "distributions": distributions}


def _release(version: str) -> tuple[int, ...]:
    """First two numbers of a version."""
    numbers = ["".join(filter(str.isdigit, part)) or "0" for part in version.split("+", maxsplit=1)[0].split(".")[:2]]
    return tuple(map(int, numbers))
