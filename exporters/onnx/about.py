"""What viewers of the file show of a function: the equations of its ops, in the words of their classes."""

import inspect
import re
import sys
from collections.abc import Iterable
from itertools import takewhile

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops

#: What a function's attributes hold, next to the names that the ops' equations use.
_ATTRIBUTES = {
    "leak_divisor": "2^leak_shift",
    "leak_numerator": "the leak's numerator",
    "multipliers": "2^max(0, g - tau m) for every lag m",
    "divisors": "2^max(0, tau m - g) for every lag m",
    "guard_multiplier": "2^g",
    "heads": "number of heads",
    "trained_steps": "T of the sequence, which the bias was made for",
    "repeats": "how often the one current of a still picture is shown, one number an axis: T, then ones",
}

#: Docstring markup: roles and code quotes.
_MARKUP = re.compile(r":[a-z]+:`([^`]*)`|``")

#: What tells attributes of one name apart.
_NUMBER = re.compile(r"_[0-9]+$")

#: Optimisation level at which Python drops docstrings; the file would have other bytes.
_STRIPS_DOCSTRINGS = 2


def about(*kinds: type[ops.Op], attributes: Iterable[str] = (), fixed: str = "") -> str:
    """Return what each op computes, what the attributes hold, and what of the equations the body fixes."""
    parts = [_meaning(kind) for kind in dict.fromkeys(kinds)]
    parts += [f"{name}: {_ATTRIBUTES[stem(name)]}." for name in attributes]
    return "\n\n".join([*parts, *([fixed] if fixed else [])])


def stem(attribute: str) -> str:
    """Return an attribute's name without the number that it has where the ops of a body have two of one name."""
    return _NUMBER.sub("", attribute)


def _meaning(kind: type[ops.Op]) -> str:
    """Return the paragraphs of a class's docstring that precede its sections, as plain text."""
    if sys.flags.optimize >= _STRIPS_DOCSTRINGS:
        raise UnsupportedError(Problem("DS2TA-232", "python -OO strips the texts that the file carries", mend="run without it"))
    paragraphs = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
    told = "\n".join(takewhile(lambda paragraph: not paragraph.startswith(("Attributes:", "Shapes:")), paragraphs))
    plain = _MARKUP.sub(r"\1", told)
    return f"{kind.__name__}. {plain}"
