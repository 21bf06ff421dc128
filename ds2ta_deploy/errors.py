"""Every error a user can meet: a stable code, what is wrong, where, and how to mend it.

Each class stands for one exit code of the command line; each *problem* carries its own stable
``DS2TA-nnn`` code. An error may carry many problems, because a user with five wrong tensors wants
to hear of all five at once.

====  =========================================  =========
code  meaning                                    exit code
====  =========================================  =========
1xx   the input file is invalid or unsafe        4
2xx   the model, op or range is not supported    3
3xx   two engines computed different integers    1
4xx   an optional runtime is not installed       5
5xx   the command was used wrongly               2
6xx   an engine broke down or did not end        6
====  =========================================  =========
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

#: Characters of a place, and of a sentence, that are shown; the whole text stays in the :class:`Problem`.
_LONGEST_PLACE, _LONGEST_TEXT = 500, 2000


def printable(text: str, most: int = _LONGEST_TEXT) -> str:
    r"""Make a text from a file safe to show: one line, no terminal escapes, no reordered or invisible letters, no end in sight.

    Example:
        >>> printable("a\nb")
        'a\\nb'

    """
    shown = text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2) :]}"
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in shown)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        code: stable identifier, ``DS2TA-nnn``.
        what: the fact, one sentence.
        where: dotted name or path the fact belongs to; empty when the whole input is meant.
        mend: what to do about it; empty when nothing useful can be said.

    """

    code: str
    what: str
    where: str = ""
    mend: str = ""

    def __str__(self) -> str:
        """Return the problem as one line that is safe to show, whatever names a file put into it."""
        place = f" [{printable(self.where, _LONGEST_PLACE)}]" if self.where else ""
        advice = f" ({printable(self.mend)})" if self.mend else ""
        return f"{self.code}{place}: {printable(self.what)}{advice}"


class Ds2taError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code: ClassVar[int] = 3

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        """Hold one problem or several; at least one is required."""
        found = (problems,) if isinstance(problems, Problem) else tuple(problems)
        if not found:
            raise ValueError("an error needs at least one problem")
        self.problems: tuple[Problem, ...] = found
        super().__init__("\n".join(str(problem) for problem in found))

    def __reduce__(self) -> tuple[type["Ds2taError"], tuple[tuple[Problem, ...]]]:
        """Be pickled by the problems: an error of a worker on another machine is the same error here."""
        return type(self), (self.problems,)


class InputError(Ds2taError):
    """A file that was given is invalid, damaged, unsafe or not what it claims to be (1xx)."""

    exit_code = 4


class UnsupportedError(Ds2taError):
    """The model, an op, or a proven value range does not fit what was asked for (2xx)."""

    exit_code = 3


class ParityError(Ds2taError):
    """Two engines computed different integers (3xx)."""

    exit_code = 1


class MissingRuntimeError(Ds2taError):
    """An optional dependency is not installed (4xx); the message names the installing command."""

    exit_code = 5


class RuntimeFailedError(Ds2taError):
    """An engine of its own process broke down or did not end (6xx); it was cleared away."""

    exit_code = 6


class UsageError(Ds2taError):
    """The command or function was used wrongly, or cannot write where it was told to (5xx)."""

    exit_code = 2
