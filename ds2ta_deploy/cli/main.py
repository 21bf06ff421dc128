"""The programs ``ds2ta`` and ``ds2ta-export``: command lookup, and how every error ends."""

import errno
import os
import signal
import sys
import traceback
from importlib import import_module

import click

from ds2ta_deploy.errors import Ds2taError, Problem, UnsupportedError, UsageError

#: Purpose -> command -> module and one line for ``--help``; the modules are imported only when called.
SECTIONS = {
    "Import and quantize": {
        "check": ("check", "Say whether a checkpoint can be exported, with every problem."),
        "flips": ("flips", "Measure how many spikes the integer grid changes, layer by layer."),
        "analyze": ("analyze", "Measure what every layer costs on the integer grid, alone and cumulated."),
        "bits": ("bits", "Choose a weight format for every layer under a budget of bytes or accuracy."),
    },
    "Export": {
        "export": ("export", "Freeze a checkpoint, export it, verify it, release it."),
        "lava": ("lava", "Install Lava, for the target of that name."),
    },
    "Run": {
        "run": ("run", "Run an artifact or a checkpoint on inputs."),
        "eval": ("evaluate", "Measure top-1 over a labelled data set."),
        "bench": ("bench", "Time runtimes on an artifact, side by side."),
    },
    "Verify": {
        "verify": ("verify", "Run an artifact on every runtime and compare every integer."),
        "bisect": ("bisect", "Find the first integer that differs, and the op that made it."),
    },
    "Look": {
        "inspect": ("inspect", "Show what an artifact holds."),
        "report": ("report", "Write a page about an artifact, or estimate what it takes of a chip."),
        "energy": ("energy", "Count operations where a spike meets a weight, and estimate energy."),
        "targets": ("targets", "List targets and runtimes, and which can be used here."),
        "doctor": ("doctor", "Check this installation."),
    },
}

#: Command -> module and one line.
COMMANDS = {name: entry for commands in SECTIONS.values() for name, entry in commands.items()}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, so that ``--help`` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands by purpose, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"ds2ta_deploy.cli.{COMMANDS[cmd_name][0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by purpose, without importing them."""
        width = max(map(len, COMMANDS))  # the same in every section, so that the lines stand below each other
        for purpose, commands in SECTIONS.items():
            with formatter.section(purpose):
                formatter.write_dl([(name.ljust(width), about) for name, (_, about) in commands.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: ds2ta export ckpt.safetensors --target onnx -o OUT",
)
@click.version_option(package_name="ds2ta-deploy", prog_name="ds2ta")
def group() -> None:
    """Deploy spiking transformers as integers, proved equal to the PyTorch model value by value.

    Exit codes: 0 done; 1 an integer differs; 2 usage; 3 model or op not supported; 4 invalid or
    unsafe input; 5 an optional runtime is missing; 6 an engine broke down; 130 interrupted.
    """


def main() -> None:
    """Run ``ds2ta``."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(group, sys.argv[1:], "ds2ta"))


def export_main() -> None:
    """Run ``ds2ta-export``, which is ``ds2ta export`` under the name that users were promised."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(import_module("ds2ta_deploy.cli.export").command, sys.argv[1:], "ds2ta-export"))


def run(command: click.Command, arguments: list[str], program: str) -> int:
    """Run a command and return its exit code; every failure ends in one line a problem on stderr."""
    try:
        command.main(arguments, prog_name=program, standalone_mode=False)
    except click.UsageError as error:
        error.show(sys.stderr)
        return UsageError.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo("interrupted; nothing half-written is left behind", err=True)
        return 130
    except (BrokenPipeError, SystemExit):  # click leaves by sys.exit when the reader of a pipe went away: say nothing more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:  # noqa: BLE001 - the last line before the user: a traceback there is a defect
        explained = _explain(error)
        for problem in explained.problems:
            click.echo(f"error {problem}", err=True)
        return explained.exit_code
    return 0


def _terminate(_signal: int, _frame: object) -> None:
    """Leave as after Ctrl-C, so that nothing half-written stays behind."""
    raise KeyboardInterrupt


def _explain(error: Exception) -> Ds2taError:
    """Return the error in the user's terms."""
    match error:
        case Ds2taError():
            return error
        case click.ClickException():
            return UsageError(Problem("DS2TA-500", error.format_message()))
        case OSError():
            advice = "free some space" if error.errno == errno.ENOSPC else ""
            return UsageError(Problem("DS2TA-502", error.strerror or str(error), str(error.filename or ""), advice))
        case MemoryError():
            return UsageError(Problem("DS2TA-508", "there is not enough memory", mend="give fewer samples"))
        case _:
            return _defect(error)


def _defect(error: Exception) -> Ds2taError:
    """Say that the fault is ours, where, and how to see more."""
    if os.environ.get("DS2TA_TRACEBACK"):
        traceback.print_exception(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(frame.filename)}:{frame.lineno}"  # noqa: PTH119 - a name, not a path
    what = f"internal error {type(error).__name__} at {place}: {' '.join(str(error).split())}"
    return UnsupportedError(Problem("DS2TA-299", what, mend="this is a defect: please report it with DS2TA_TRACEBACK=1 set"))


if __name__ == "__main__":
    main()
