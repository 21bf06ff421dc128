"""Malformed plans are refused with a reason, never with a crash."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from native_support import Recipe, build, needs_library

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native import plan as planning
from ds2ta_deploy.runtimes.native.plan import Plan

pytestmark = needs_library

LIES = Path(__file__).with_name("lies.py")

#: Hangs are failures too; honest runs take seconds.
SECONDS = 300


_STREAMS = [pytest.param(name, marks=pytest.mark.slow) for name in ("masked", "table", "saccadic")]


@pytest.mark.parametrize("how_many", ["one", "two"])
@pytest.mark.parametrize("network", ["spikes", *_STREAMS])
def test_no_lie_about_a_plan_crashes_the_library(how_many, network):
    told = subprocess.run([sys.executable, LIES, how_many, network], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (told.returncode, told.stdout) == (0, "held\n"), told.stderr[-2000:]


@pytest.fixture
def lie(monkeypatch):
    """Return a function that makes a plan of a small network with one number changed on the way to the library."""
    graph, _ = build(Recipe(doublings=1, pool=True, heads=2, picture=(3, 4, 2)))
    load = library.load

    def tell(change):
        class Changed:
            def __getattr__(self, name):
                return getattr(load(), name)

            def ds2ta_plan_new(self, *arguments):
                arguments = list(arguments)
                change(arguments, arguments[1], arguments[3])
                return load().ds2ta_plan_new(*arguments)

        monkeypatch.setattr(planning.library, "load", Changed)
        with pytest.raises(UnsupportedError) as caught:
            Plan(graph)
        (problem,) = caught.value.problems
        assert (problem.code, problem.where) == ("DS2TA-243", "extreme")
        return problem.what.removeprefix("the native library refuses it: ")

    return tell


def test_the_arena_is_too_small(lie):
    assert lie(lambda arguments, values, operations: arguments.__setitem__(5, 64)) == "value 0 lies outside the arena of 64 bytes"


def test_the_arena_is_larger_than_anything_could_need(lie):
    assert "an arena of 1099511627776 bytes for values of" in lie(lambda arguments, values, operations: arguments.__setitem__(5, 2**40))


def test_two_values_in_one_place(lie):
    told = lie(lambda arguments, values, operations: setattr(values[1], "offset", values[0].offset))
    assert told == "values 0 and 1 lie in the same place"


@pytest.mark.parametrize("offset", [-64, 1, 63, 2**62, -(2**63)])
def test_an_offset_that_is_none(lie, offset):
    assert "value 2 lies outside the arena" in lie(lambda arguments, values, operations: setattr(values[2], "offset", offset))


def test_a_value_that_is_read_before_it_is_made(lie):
    def exchange(arguments, values, operations):
        first = bytes(operations[0])
        operations[0] = type(operations[0]).from_buffer_copy(bytes(operations[1]))
        operations[1] = type(operations[1]).from_buffer_copy(first)

    assert lie(exchange) == "operation 0 reads value 0 before it is made"


def test_a_value_that_is_made_twice(lie):
    def again(arguments, values, operations):
        operations[5] = type(operations[0]).from_buffer_copy(bytes(operations[4]))

    assert lie(again) == "operation 5 makes value 4 again"


@pytest.mark.parametrize("planes", [9, -1, 2**31 - 1])
def test_counts_of_no_bits_or_too_many(lie, planes):
    assert lie(lambda arguments, values, operations: setattr(values[0], "planes", planes)) == f"value 0 has counts of {planes} bits"


@pytest.mark.parametrize("threshold", [0, -1, -(2**31)])
def test_a_threshold_that_silence_reaches(lie, threshold):
    made = np.full(64, threshold, np.int32)
    told = lie(lambda arguments, values, operations: setattr(operations[0], "threshold", made.ctypes.data))
    assert told == f"operation 0 has a threshold of {threshold}"


@pytest.mark.parametrize("kind", [-1, 18, 2**31 - 1])
def test_a_kind_that_there_is_not(lie, kind):
    assert lie(lambda arguments, values, operations: setattr(operations[1], "kind", kind)) == f"operation 1 is of kind {kind}"


def test_a_plan_that_was_refused_leaves_nothing_to_free(lie):
    for _ in range(100):
        lie(lambda arguments, values, operations: setattr(operations[3], "taps", 0))


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_the_memory_of_a_plan_does_not_depend_on_the_batch(batch):
    graph, inputs = build(Recipe(seed=1), batch=batch)
    plan = Plan(graph)
    before = plan.memory
    plan.run(inputs)
    assert plan.memory == before


def test_values_share_memory():
    graph, _ = build(Recipe(heads=2, channels=(64, 64), width=64))
    plan = Plan(graph)
    values, arena = plan._values()
    alone = sum(value.height * value.width * 64 * value.planes * 1 for value in values)
    assert arena < alone
