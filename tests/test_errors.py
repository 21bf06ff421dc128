import dataclasses
import pickle

import pytest

from ds2ta_deploy import errors
from ds2ta_deploy.errors import (
    Ds2taError,
    InputError,
    MissingRuntimeError,
    ParityError,
    Problem,
    RuntimeFailedError,
    UnsupportedError,
    UsageError,
)


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("DS2TA-101", "is empty"), "DS2TA-101: is empty"),
        (Problem("DS2TA-101", "is empty", "a/b.pt"), "DS2TA-101 [a/b.pt]: is empty"),
        (Problem("DS2TA-101", "is empty", mend="train it"), "DS2TA-101: is empty (train it)"),
        (Problem("DS2TA-101", "is empty", "a/b.pt", "train it"), "DS2TA-101 [a/b.pt]: is empty (train it)"),
    ],
)
def test_a_problem_is_one_line(problem, line):
    assert str(problem) == line


def test_a_problem_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Problem("DS2TA-101", "is empty").code = "DS2TA-102"


def test_an_error_of_one_problem():
    error = InputError(Problem("DS2TA-101", "is empty"))
    assert error.problems == (Problem("DS2TA-101", "is empty"),)
    assert str(error) == "DS2TA-101: is empty"


def test_an_error_names_every_problem_in_order_one_a_line():
    problems = [Problem(f"DS2TA-{number}", "is wrong", f"layer.{number}") for number in (107, 103, 105)]
    error = InputError(problem for problem in problems)  # a generator, which can be read only once
    assert error.problems == tuple(problems)
    assert str(error).splitlines() == [str(problem) for problem in problems]


@pytest.mark.parametrize("nothing", [[], (), iter(())])
def test_an_error_needs_a_problem(nothing):
    with pytest.raises(ValueError, match="at least one problem"):
        InputError(nothing)


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [(ParityError, 1), (UsageError, 2), (UnsupportedError, 3), (InputError, 4), (MissingRuntimeError, 5), (RuntimeFailedError, 6)],
)
def test_exit_codes_are_those_of_the_architecture(kind, exit_code):
    assert kind.exit_code == exit_code
    with pytest.raises(Ds2taError) as caught:
        raise kind(Problem("DS2TA-000", "is wrong"))
    assert type(caught.value) is kind
    assert caught.value.exit_code == exit_code


def test_every_kind_of_error_has_its_own_exit_code():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Ds2taError) and kind is not Ds2taError]
    assert len(kinds) == 6
    assert len({kind.exit_code for kind in kinds}) == len(kinds)
    assert all(not issubclass(kind, other) for kind in kinds for other in kinds if kind is not other)


def test_an_error_of_another_process_is_the_same_error_here():
    sent = InputError([Problem("DS2TA-101", "is bad", "file", "mend it"), Problem("DS2TA-102", "is worse")])
    received = pickle.loads(pickle.dumps(sent))  # noqa: S301 - our own
    assert type(received) is InputError
    assert received.problems == sent.problems
    assert str(received) == str(sent)
