"""The whole way in one go: the bundled checkpoint becomes a verified artifact for every target, and both are scored.

    python examples/fashion_mnist/demo.py

It runs the same commands that a user would type, prints each of them, and stops at the first that fails.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import click

from ds2ta_deploy.artifact import is_artifact
from ds2ta_deploy.runtimes.table import RUNTIMES

HERE = Path(__file__).parent
CHECKPOINT = HERE / "ds2ta-2-64.safetensors"
PICTURES = HERE / "ds2ta-2-64.npz"


def run(*arguments: str | Path) -> None:
    """Show a command and run it; leave with its exit code if it fails."""
    shown = " ".join(str(argument) for argument in arguments)
    click.secho(f"\n$ {shown}", bold=True)
    program = shutil.which(str(arguments[0]), path=str(Path(sys.executable).parent))
    if program is None:
        raise click.ClickException(f"{arguments[0]} is not installed beside this Python: pip install -e '.[torch]'")
    code = subprocess.run([program, *map(str, arguments[1:])], check=False).returncode  # noqa: S603 - commands written below
    if code:
        sys.exit(code)


@click.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("build/demo"), show_default=True, help="Replaced if it is an artifact."
)
def main(output: Path) -> None:
    """Export the bundled network, verify it on every runtime, and print its accuracy before and after."""
    if is_artifact(output):
        shutil.rmtree(output)
    checkpoint, pictures = (path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path for path in (CHECKPOINT, PICTURES))
    target = "all" if RUNTIMES["c"].available else "onnx"
    if target != "all":
        click.echo("There is no C compiler here, which the target c is verified with: the target onnx is shown alone.", err=True)
    run("ds2ta-export", checkpoint, "--target", target, "--samples", "64", "-o", output)  # of 256: a minute in all
    run("ds2ta", "verify", output, "--runtime", "all", "--checkpoint", checkpoint)
    run("ds2ta", "eval", checkpoint, "--data", pictures)
    run("ds2ta", "eval", output, "--data", pictures)
    page = output.with_name(f"{output.name}.html")
    page.unlink(missing_ok=True)
    run("ds2ta", "report", output, "--html", "--checkpoint", checkpoint, "--data", pictures, "-o", page)


if __name__ == "__main__":
    main()
