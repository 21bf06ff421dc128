"""The C code step by step: compiled once for each network, stepped by many runs."""

from functools import cache

import pytest
from builders import build_small_graph
from step_support import assert_resumes, assert_steps_are_the_sequence
from stream_graph import build_stream_graph

from ds2ta_deploy.runtimes.c_program import CRuntime
from ds2ta_deploy.runtimes.c_stepper import CStepper

BUILD = {"small": build_small_graph, "stream": build_stream_graph}


@cache
def compiled(name, still):
    return CRuntime(BUILD[name](still=still), flags=["-O0"])


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("name", BUILD)
def test_steps_are_the_sequence(name, still):
    code = compiled(name, still)
    assert_steps_are_the_sequence(lambda _form, batch, wanted: CStepper(code, batch, wanted), code.program.graph)


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("name", BUILD)
def test_a_run_goes_on_from_its_state(name, still):
    code = compiled(name, still)
    assert_resumes(lambda _form, batch, wanted: CStepper(code, batch, wanted), code.program.graph)
