"""What an engine that skips zeros has to do, as the page shows it; the counting itself is tested with the energy."""

import numpy as np
import pytest
from builders import assert_fires, trace_of

from ds2ta_deploy.energy.synaptic import count_operations
from ds2ta_deploy.graph.operations import dense_operations
from ds2ta_deploy.pages.work import WORKING, Work, work_of


@pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
def test_every_op_that_multiplies_is_counted(name, request, small_inputs):
    graph = request.getfixturevalue(name)
    trace = {**trace_of(graph, small_inputs), graph.input_name: small_inputs}
    assert_fires(trace_of(graph, small_inputs))
    seen = 0
    for op in graph:
        if isinstance(op, WORKING) and all(read in trace for read in op.inputs):
            inputs = [trace[read] for read in op.inputs]
            found = work_of(graph, op, inputs, 5)
            counted = count_operations(graph, op, tuple(array.astype(np.int64) for array in inputs))
            assert (found.accumulates, found.multiplies) == (counted.effective_acs, counted.effective_macs)
            assert found.accumulates + found.multiplies > 0
            assert found.dense == 5 * dense_operations(graph, op)
            assert (found.zeros, found.elements) == (int((inputs[0] == 0).sum()), inputs[0].size)
            seen += 1
    assert seen > 5


def test_work_adds_up():
    total = Work()
    total.add(Work(10, 4, 1, 3, 6))
    total.add(Work(1, 1, 1, 1, 2))
    assert (total.dense, total.accumulates, total.multiplies, total.zeros, total.elements) == (11, 5, 2, 4, 8)
    assert total.sparsity == 0.5


def test_nothing_read_is_nothing_sparse():
    assert Work().sparsity == 0.0
