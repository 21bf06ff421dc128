"""Every command of ours that a page shows exists with the options that the page gives it, and every script is there."""

import re
import shlex

import click
import pytest
from block_marks import PAGES, ROOT, blocks_of

from ds2ta_deploy.cli.main import group

#: What ends a command in a line of a shell.
_ENDS = {"|", ">", "<", ">>", "2>", "&&", ";", "#"}


def shown(page):
    """Return the commands of a page, as words; what the shell does behind one is left out."""
    found = []
    for block in blocks_of(page):
        for line in block.commands():
            for part in re.split(r"\s(?:\||&&)\s", line):
                if re.match(r"(ds2ta|ds2ta-export|make|python) \S", part.strip()):
                    words = shlex.split(part, comments=True)
                    end = next((place for place, word in enumerate(words) if word in _ENDS), len(words))
                    found.append(words[:end])
    return found


def parse(words):
    """Parse a command line without running it; whatever a placeholder stands for is taken."""
    words = ["ds2ta", "export", *words[1:]] if words[0] == "ds2ta-export" else words
    command, rest, context = group, words[1:], click.Context(group, info_name="ds2ta")
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, command, rest = command.resolve_command(context, rest)
        context = click.Context(command, info_name=name, parent=context)
    options = {name: option for option in command.get_params(context) for name in (*option.opts, *option.secondary_opts)}
    for word in rest:
        name = word.split("=")[0]
        if re.fullmatch(r"--?[a-zA-Z][a-z-]*", name):
            assert name in options, f"{' '.join(words)}: there is no option {name}"
    return command


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_exists(page):
    for words in shown(page):
        match words:
            case ["make", "-C", *_]:  # of exported C code
                pass
            case ["make", *targets]:
                rules = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
                assert {target for target in targets if "=" not in target} <= rules, words
            case ["python", "-m", module, *_]:
                assert module.startswith(("benchmarks.", "fuzz.", "ds2ta_lava", "http.server")), words
                assert not module.startswith("benchmarks.") or (ROOT / f"{module.replace('.', '/')}.py").is_file(), words
            case ["python", script, *_]:
                assert script.startswith("-") or (ROOT / script).is_file() or (ROOT / page).with_name(script).is_file(), words
            case _:
                parse(words)


def test_commands_are_found():
    assert sum(len(shown(page)) for page in PAGES) > 80
    assert len(shown("README.md")) > 10


def test_an_option_that_does_not_exist_is_seen():
    with pytest.raises(AssertionError, match="--no-such-option"):
        parse(["ds2ta", "verify", "OUT", "--no-such-option"])
    with pytest.raises(click.UsageError):
        parse(["ds2ta", "no-such-command"])
