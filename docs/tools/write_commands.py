"""Writes ``docs/commands.md``: every command as its own code describes it.

    python docs/tools/write_commands.py

The page is committed, so that it can be read in a checkout; a test compares it with the code.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from ds2ta_deploy.cli.main import SECTIONS, group

PAGE = Path(__file__).parents[1] / "commands.md"

_INTRODUCTION = """\
# The commands

What `ds2ta --help` and `ds2ta COMMAND --help` say, on one page. `ds2ta-export` is `ds2ta export` under a name of its own.
Data go to stdout, words to stderr; with `--json` the result is JSON, whose form is stable.

| exit code | says |
|---|---|
| 0 | done |
| 1 | an integer differs |
| 2 | wrong usage |
| 3 | model or op not supported |
| 4 | invalid or unsafe input |
| 5 | an optional runtime is missing; the message has the command that installs it |
| 6 | an engine broke down or did not end |
| 130 | interrupted |

## Completion

The programs complete commands, options and choices in bash, zsh and fish:

```
eval "$(_DS2TA_COMPLETE=bash_source ds2ta)"                   # in ~/.bashrc
eval "$(_DS2TA_COMPLETE=zsh_source ds2ta)"                    # in ~/.zshrc
_DS2TA_COMPLETE=fish_source ds2ta | source                    # in ~/.config/fish/config.fish
eval "$(_DS2TA_EXPORT_COMPLETE=bash_source ds2ta-export)"     # and the same for ds2ta-export
```
"""


def page() -> str:
    """Return the page; the same on every machine."""
    parts = [_INTRODUCTION]
    top = click.Context(group, info_name="ds2ta")
    for purpose, names in SECTIONS.items():
        parts.append(f"\n## {purpose}\n")
        for name in names:
            command = group.get_command(top, name)
            if command is None:
                raise LookupError(name)
            parts.extend(_describe(command, click.Context(command, info_name=name, parent=top)))
    return "".join(parts)


def _describe(command: click.Command, context: click.Context) -> Iterator[str]:
    """Describe a command, and those below it."""
    yield f"\n### {context.command_path}\n\n"
    yield f"```\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n\n"
    yield _text(inspect.cleandoc(command.help or "")) + "\n"
    records = [parameter.get_help_record(context) for parameter in command.params if isinstance(parameter, click.Option)]
    options = [f"- `{record[0]}`: {_text(' '.join(record[1].split()))}\n" for record in records if record is not None]
    if options:
        yield "\n" + "".join(options)
    if command.epilog:
        yield f"\n```\n{command.epilog.removeprefix('Example: ')}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _describe(below, click.Context(below, info_name=name, parent=context))


def _text(words: str) -> str:
    """Escape what Markdown would take for its own."""
    return re.sub(r"([<*\[\]])", r"\\\1", words)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
