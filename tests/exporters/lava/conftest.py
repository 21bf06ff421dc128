"""Exports for Lava, written to disk as a user would find them."""

import builders
import pytest
from lava_support import write_export


@pytest.fixture(scope="session", params=[True, False], ids=["images", "frames"])
def exported(request, tmp_path_factory):
    """Return a graph with every op, inputs, the values they give, and the export's directory."""
    graph = builders.build_small_graph(still=request.param)
    inputs = builders.small_inputs(still=request.param)
    expected = builders.trace_of(graph, inputs)
    builders.assert_fires(expected)
    return graph, inputs, expected, write_export(graph, tmp_path_factory.mktemp("lava"))
