"""Tells the native library lies, in a process of its own: a crash must be seen as a failure, not take the tests with it.

Every array is replaced by one that is longer than any plan can ask for, so that all fields may lie, those that say how long
an array is too. Whatever the library accepts must run.
"""

import ctypes
import sys
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[3]), str(Path(__file__).parents[2])]

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from native_support import Recipe, build
from stream_networks import StreamRecipe, build_streams

from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.plan import Plan

#: Bytes; all ones, so that every threshold is positive.
LONG = np.ones(96 << 20, np.uint8)
ARRAYS = ("table", "weight", "wide", "bias", "threshold")
NUMBERS = tuple(name for name, _ in library.Operation._fields_ if name not in (*ARRAYS, "inputs"))
ARGUMENTS = {"steps": 0, "value_count": 2, "op_count": 4, "arena": 5, "threads": 6}
INTEGERS = [-(2**31), -(2**31) + 64, -65, -64, -1, 0, 1, 2, 3, 5, 7, 8, 9, 16, 17, 63, 64, 65, 100, 255, 256, 4095, 4096, 4097]
INTEGERS += [2**14 + 1, 2**15, 2**16 - 1, 2**16, 2**16 + 1, 2**20, 2**24, 2**31 - 64, 2**31 - 1]
OFFSETS = [*INTEGERS, 2**32, 2**40, 2**62, 2**63 - 64, 2**63 - 1, -(2**63), -(2**63) + 64]


#: Arrays that a kind of operation cannot do without.
NEEDED = {
    library.ENCODE: ("table", "wide", "bias", "threshold"),
    library.LINEAR: ("weight", "bias", "threshold"),
    library.CONV: ("weight", "bias", "threshold"),
    library.ATTENTION: ("table", "bias", "threshold"),
    library.READOUT: ("weight", "bias"),
    library.NEURON: ("bias", "threshold"),
    library.LOOKUP: ("table",),
    library.TIME_MIX: ("table",),
    library.COMPARE: ("threshold",),
}


def arguments_of(graph):
    """Return what a plan of the network gives to ``ds2ta_plan_new``."""
    seen, honest, load = [], library.load(), library.load

    class Spy:
        def __getattr__(self, name):
            return getattr(honest, name)

        def ds2ta_plan_new(self, *arguments):
            seen.append(arguments)
            return honest.ds2ta_plan_new(*arguments)

    library.load = Spy
    try:
        Plan(graph, 1, library.instruction_sets()[-1])
    finally:
        library.load = load
    return list(seen[0])


#: Of spikes and counts, or with a membrane stream and one of its attentions.
NETWORKS = {
    "spikes": lambda: build(Recipe(doublings=1, pool=True, heads=2, picture=(3, 4, 2)))[0],
    **{
        name: partial(lambda name: build_streams(StreamRecipe(steps=2, picture=(2, 3, 1), attention=name, head_width=3))[0], name)
        for name in ("masked", "table", "saccadic")
    },
}
HONEST = arguments_of(NETWORKS[sys.argv[2]]())
VALUES, OPERATIONS = HONEST[2], HONEST[4]
PLACES = [("value", index, name) for index in range(VALUES) for name, _ in library.Value._fields_]
PLACES += [("op", index, name) for index in range(OPERATIONS) for name in (*NUMBERS, "inputs.0", "inputs.1", "inputs.2")]
PLACES += [("argument", 0, name) for name in ARGUMENTS]


def tell(*lies, nothing=()):
    """Make a plan with these lies, (place, number) each, and with these arrays missing; run it when it is accepted.

    Returns:
        The reason of the refusal, or None.

    """
    arguments = list(HONEST)
    arguments[1], arguments[3] = type(HONEST[1]).from_buffer_copy(HONEST[1]), type(HONEST[3]).from_buffer_copy(HONEST[3])
    for operation in arguments[3]:
        for name in ARRAYS:
            setattr(operation, name, LONG.ctypes.data)
    for index, name in nothing:
        setattr(arguments[3][index], name, None)
    for (what, index, name), number in lies:
        if what == "argument":
            arguments[ARGUMENTS[name]] = number
        elif name.startswith("inputs."):
            arguments[3][index].inputs[int(name[-1])] = number
        else:
            setattr(arguments[1 if what == "value" else 3][index], name, number)
    error = ctypes.create_string_buffer(400)
    arguments[-2:] = error, len(error)
    plan = library.load().ds2ta_plan_new(*arguments)
    if not plan:
        assert error.value, (lies, "refused without a reason")
        return error.value.decode()
    logits = np.zeros(2**16, np.int32)
    library.load().ds2ta_run(plan, LONG.ctypes.data, 1, logits.ctypes.data, None, None, None)
    room = np.zeros(library.load().ds2ta_state_size(plan) + 16, np.int32)
    state = room.ctypes.data + -room.ctypes.data % 64
    for taken in (0, arguments[ARGUMENTS["steps"]]):
        library.load().ds2ta_step(plan, taken, state, LONG.ctypes.data, 1, logits.ctypes.data, None, None, None)
    library.load().ds2ta_plan_free(plan)
    return None


def every_field_lies():
    """One lie at a time, everywhere."""
    assert tell() is None, "the truth is accepted"
    refused = accepted = 0
    for place in PLACES:
        for number in OFFSETS if place[2] in ("offset", "arena") else INTEGERS:
            if number > {"value_count": VALUES, "op_count": OPERATIONS}.get(place[2], number):
                continue  # the library has to believe how long an array is
            told = tell((place, number))
            refused, accepted = refused + (told is not None), accepted + (told is None)
    for index, operation in enumerate(HONEST[3]):
        arrays = NEEDED.get(operation.kind, ())
        if operation.output >= 0 and HONEST[1][operation.output].planes == 0:
            arrays = [name for name in arrays if name != "threshold"]  # what adds into a stream does not fire
        for name in ARRAYS:
            assert (tell(nothing=[(index, name)]) is not None) == (name in arrays), (index, name)
    for index in (1, 3):
        arguments = [*HONEST[:-2], ctypes.create_string_buffer(400), 400]
        arguments[index] = None
        assert not library.load().ds2ta_plan_new(*arguments)
        assert arguments[-2].value
        assert not library.load().ds2ta_plan_new(*arguments[:-2], None, 0)
    assert min(refused, accepted) > 500, (refused, accepted)


def few(place):
    """A place and a number for it."""
    return st.tuples(st.just(place), st.sampled_from(OFFSETS if place[2] in ("offset", "arena") else INTEGERS))


@given(st.sampled_from(PLACES[:-5]).flatmap(few), st.sampled_from(PLACES[:-5]).flatmap(few))
@settings(max_examples=1000, deadline=None, derandomize=True, database=None)
def two_fields_lie(one, other):
    """Two lies that may cover each other."""
    tell(one, other)


if __name__ == "__main__":
    every_field_lies() if sys.argv[1] == "one" else two_fields_lie()
    sys.stdout.write("held\n")
