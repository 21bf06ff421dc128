import numpy as np
import pytest
from builders import assert_fires, trace_of
from support import assert_all_equal

from ds2ta_deploy.errors import InputError, UsageError
from ds2ta_deploy.runtimes.reference import ReferenceRuntime


def test_the_trace_is_the_graphs_own_execution(small_graph, small_inputs):
    expected = trace_of(small_graph, small_inputs)
    assert_fires(expected)
    assert_all_equal(expected, ReferenceRuntime(small_graph).trace(small_inputs, small_graph.observable))


def test_only_what_is_wanted_is_kept_and_always_the_output(small_graph, small_inputs):
    runtime = ReferenceRuntime(small_graph)
    assert set(runtime.trace(small_inputs, ())) == {"head.logits"}
    assert set(runtime.trace(small_inputs, ["blocks.0.attn.scores"])) == {"blocks.0.attn.scores", "head.logits"}


def test_values_have_their_storage_types(small_graph, small_inputs):
    trace = ReferenceRuntime(small_graph).trace(small_inputs, small_graph.observable)
    for name, value in trace.items():
        kind = small_graph.types[name]
        assert value.dtype == kind.dtype
        assert value.shape == tuple(5 if size is None else size for size in kind.shape)


def test_an_unknown_value_is_refused(small_graph, small_inputs):
    with pytest.raises(UsageError, match=r"DS2TA-505 \[nothing\]"):
        ReferenceRuntime(small_graph).trace(small_inputs, ["nothing"])


def test_inputs_that_do_not_fit_are_refused(small_graph, small_inputs):
    runtime = ReferenceRuntime(small_graph)
    with pytest.raises(InputError, match="DS2TA-120"):
        runtime.trace(small_inputs.astype(np.float32), ())
    with pytest.raises(InputError, match="DS2TA-121"):
        runtime.trace(small_inputs[:, :-1], ())


def test_running_twice_gives_the_same(small_graph, small_inputs):
    runtime = ReferenceRuntime(small_graph)
    assert_all_equal(runtime.trace(small_inputs, small_graph.observable), runtime.trace(small_inputs, small_graph.observable))
