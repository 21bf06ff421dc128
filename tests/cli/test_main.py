import errno
import os
import shlex
import signal
import subprocess
import sys
import time

import click
import pytest
from support import names_in, user_program

import ds2ta_deploy
from ds2ta_deploy.cli import main as main_module
from ds2ta_deploy.cli.main import COMMANDS, SECTIONS, group, run
from ds2ta_deploy.errors import InputError, MissingRuntimeError, ParityError, Problem, UnsupportedError, UsageError

#: What `--help` must not wait for.
HEAVY = {"numpy", "torch", "onnx", "onnxruntime", "rich", "safetensors", "msgspec"}


def fails_with(error):
    """Return a command that raises."""

    @click.command("fails")
    def command():
        raise error

    return command


# --- help ------------------------------------------------------------------------------------------------------------


def test_help_lists_every_command_with_a_line(cli):
    shown = cli("--help")
    assert (shown.code, shown.err) == (0, "")
    for name, (_, about) in COMMANDS.items():
        assert f"  {name} " in shown.out
        assert " ".join(about.split()[:4]) in shown.out
    assert "Exit codes: 0 done; 1 an integer differs" in " ".join(shown.out.split())


def test_help_is_grouped_by_purpose(cli):
    places = [cli("--help").out.index(f"\n{purpose}:\n") for purpose in SECTIONS]
    assert places == sorted(places)


def leaves(command=group, path=()):
    """Yield every command and group with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from leaves(command.get_command(click.Context(command), name), (*path, name))


def parsed(words):
    """Parse what somebody typed, as far as to the command that would run; returns the words that call it and the context."""
    program, *words = words
    path, command = {"ds2ta": ((), group), "ds2ta-export": (("export",), group.get_command(click.Context(group), "export"))}[program]
    while isinstance(command, click.Group):
        path, command, words = (*path, words[0]), command.get_command(click.Context(command), words[0]), words[1:]
    return path, command.make_context(" ".join(path), words)


@pytest.mark.parametrize(("path", "command"), list(leaves()), ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_every_command_has_an_example_that_parses(path, command):
    before, example = command.epilog.split(": ")
    assert before == "Example"
    called, context = parsed(shlex.split(example))
    assert called[: len(path)] == path
    assert context.params


def test_an_example_with_an_option_that_does_not_exist_would_be_seen():
    with pytest.raises(click.NoSuchOption):
        parsed(["ds2ta", "verify", "OUT", "--no-such-option"])


def completed(program, words, number):
    """Ask a program what may come at word ``number``, as bash does."""
    entry = {"ds2ta": "main", "ds2ta-export": "export_main"}[program]
    code = f"import sys; sys.argv[0] = {program!r}; from ds2ta_deploy.cli.main import {entry}; {entry}()"
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    environment = os.environ | {variable: "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return {line.partition(",")[2] for line in done.stdout.splitlines()}


@pytest.mark.parametrize(
    ("program", "words", "number", "expected"),
    [
        ("ds2ta", "ds2ta b", 1, {"bench", "bits", "bisect"}),
        ("ds2ta", "ds2ta verify --val", 2, {"--values"}),
        ("ds2ta-export", "ds2ta-export ckpt --target l", 3, {"lava"}),
    ],
)
def test_shells_complete_commands_options_and_choices(program, words, number, expected):
    assert completed(program, words, number) == expected


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(cli, name):
    shown = cli(name, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(f"Usage: ds2ta {name} ")
    assert ("--json" in shown.out) == (name != "lava")  # a group, whose command installs and has nothing to print


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["verify", "--help"], ["export", "-x"]])
def test_help_and_usage_errors_load_nothing_heavy(arguments):
    program = f"""
import sys
from ds2ta_deploy.cli.main import group, run
run(group, {arguments!r}, "ds2ta")
print("LOADED", *{{name.split(".")[0] for name in sys.modules}})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "LOADED" in loaded
    assert not loaded & HEAVY


def test_the_version(cli):
    shown = cli("--version")
    assert (shown.code, shown.out.split()) == (0, ["ds2ta,", "version", ds2ta_deploy.__version__])


def test_the_module_is_a_program_and_so_are_both_scripts():
    command = [sys.executable, "-m", "ds2ta_deploy.cli.main", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("ds2ta")
    from importlib import metadata

    scripts = {entry.name: entry.value for entry in metadata.distribution("ds2ta-deploy").entry_points if entry.group == "console_scripts"}
    assert scripts == {"ds2ta": "ds2ta_deploy.cli.main:main", "ds2ta-export": "ds2ta_deploy.cli.main:export_main"}


@pytest.mark.parametrize("entry", ["main", "export_main"])
def test_the_scripts_exit_with_the_code(entry, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["program", "--no-such-option"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the tests' own process keeps its handlers
    with pytest.raises(SystemExit) as caught:
        getattr(main_module, entry)()
    assert caught.value.code == 2
    assert "--no-such-option" in capsys.readouterr().err


# --- exit codes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"), [(ParityError, 1), (UsageError, 2), (UnsupportedError, 3), (InputError, 4), (MissingRuntimeError, 5)]
)
def test_every_kind_of_error_has_its_exit_code_and_a_line_a_problem(error, code, capsys):
    problems = [Problem("DS2TA-998", "first", "here", "do this"), Problem("DS2TA-999", "second")]
    assert run(fails_with(error(problems)), [], "ds2ta") == code
    assert capsys.readouterr() == ("", "error DS2TA-998 [here]: first (do this)\nerror DS2TA-999: second\n")


def test_success_is_zero(cli):
    assert cli("targets").code == 0


@pytest.mark.parametrize("arguments", [["no-such-command"], ["verify"], ["verify", "a", "b"], ["targets", "--no-such-option"], []])
def test_wrong_usage_is_two_and_says_how(cli, arguments):
    shown = cli(*arguments)
    assert (shown.code, shown.out) == (2, "")
    assert shown.err.startswith("Usage: ds2ta")


def test_a_click_error_is_usage_too(capsys):
    assert run(fails_with(click.ClickException("no")), [], "ds2ta") == 2
    assert capsys.readouterr().err == "error DS2TA-500: no\n"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "f"), "error DS2TA-502 [f]: No space left on device (free some space)\n"),
        (PermissionError(errno.EACCES, "Permission denied", "f"), "error DS2TA-502 [f]: Permission denied\n"),
        (MemoryError(), "error DS2TA-508: there is not enough memory (give fewer samples)\n"),
    ],
)
def test_what_the_machine_refuses_is_usage(error, expected, capsys):
    assert run(fails_with(error), [], "ds2ta") == 2
    assert capsys.readouterr() == ("", expected)


def test_a_defect_of_ours_is_one_line_without_traceback(capsys, monkeypatch):
    monkeypatch.delenv("DS2TA_TRACEBACK", raising=False)
    assert run(fails_with(ZeroDivisionError("division\nby zero")), [], "ds2ta") == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error DS2TA-299: internal error ZeroDivisionError at test_main.py:")
    assert err.endswith(": division by zero (this is a defect: please report it with DS2TA_TRACEBACK=1 set)\n")
    assert len(err.splitlines()) == 1


def test_whoever_reports_a_defect_can_have_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("DS2TA_TRACEBACK", "1")
    assert run(fails_with(ZeroDivisionError("oh")), [], "ds2ta") == 3
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.exceptions.Abort()])
def test_an_interruption_is_130(error, capsys):
    assert run(fails_with(error), [], "ds2ta") == 130
    out, err = capsys.readouterr()
    assert (out, err.strip()) == ("", "interrupted; nothing half-written is left behind")  # click ends the line with ^C in it


def test_a_reader_that_goes_away_is_no_error():
    program = f"{sys.executable} -m ds2ta_deploy.cli.main targets --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["0"], "")


# --- what files may not do to a terminal -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "a\rb", "bell\x07", "a\nerror DS2TA-000: forged", "\u202eevil", "\x9b31m"]
)
def test_what_errors_quote_cannot_move_the_cursor_or_forge_a_line(text, capsys):
    assert run(fails_with(InputError(Problem("DS2TA-101", text, text, text))), [], "ds2ta") == 4
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert all(character.isprintable() for character in err[:-1])


def test_what_errors_quote_is_not_endless(capsys):
    assert run(fails_with(InputError(Problem("DS2TA-101", "x" * 100_000))), [], "ds2ta") == 4
    assert len(capsys.readouterr().err) < 2100


def test_unprintable_names_on_the_command_line_are_not_echoed_raw(cli, tmp_path):
    shown = cli("verify", tmp_path / "\x1b[31mred")
    assert shown.is_error(4, "DS2TA-150")
    assert "\x1b" not in shown.err


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------

SLOW_EXPORT = """
import sys
from ds2ta_deploy.cli.main import main
from ds2ta_deploy.runtimes.reference import ReferenceRuntime

honest = ReferenceRuntime.trace

def slow(self, inputs, wanted):
    print("RUNNING", flush=True)
    import time
    time.sleep(60)
    return honest(self, inputs, wanted)

ReferenceRuntime.trace = slow
main()
"""


def interrupted(arguments, sent):
    """Start a command that hangs in the middle of its work, interrupt it there, and return how it ended."""
    with user_program(sys.executable, "-c", SLOW_EXPORT, *arguments) as process:
        assert process.stdout.readline() == "RUNNING\n"
        time.sleep(0.1)
        process.send_signal(sent)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_the_middle_of_an_export_leaves_nothing(tmp_path, tiny_checkpoint, sent):
    code, out, err = interrupted(["export", tiny_checkpoint, "-o", tmp_path / "out"], sent)
    assert (code, out) == (130, "")
    assert err.strip() == "interrupted; nothing half-written is left behind"
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_the_middle_of_a_run_leaves_nothing(tmp_path, small_artifact, small_data, sent):
    arguments = ["run", small_artifact, "--runtime", "reference", "--inputs", small_data, "-o", tmp_path / "trace.npz"]
    code, out, err = interrupted(arguments, sent)
    assert (code, out) == (130, "")
    assert err.strip() == "interrupted; nothing half-written is left behind"
    assert names_in(tmp_path) == []


def test_the_commands_are_those_promised():
    assert {purpose: list(commands) for purpose, commands in SECTIONS.items()} == {
        "Import and quantize": ["check", "flips", "analyze", "bits"],
        "Export": ["export", "lava"],
        "Run": ["run", "eval", "bench"],
        "Verify": ["verify", "bisect"],
        "Look": ["inspect", "report", "energy", "targets", "doctor"],
    }
    assert group.list_commands(click.Context(group)) == list(COMMANDS)


def test_standard_output_may_be_closed():
    program = f"exec 1>&-; {sys.executable} -m ds2ta_deploy.cli.main doctor"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_a_locale_without_utf_8_is_no_obstacle(small_artifact):
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "ds2ta_deploy.cli.main", "verify", str(small_artifact), "--runtime", "reference"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
