"""Fixtures that many test modules share. PyTorch is imported inside the fixtures that need it, never here."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before PyTorch is loaded: threads that wait for work spin by default, and on busy cores tiny networks then take 15 times
# as long.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))  # `import builders`, whichever way pytest is started

import builders
import family_configs
import page_figures
import stream_graph as stream_builder
from figures import Figures
from lava_support import Leftovers

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.models.families import Ds2taConfig

# The same examples on every machine and in every run: a failure in CI can be repeated at the desk.
settings.register_profile("ds2ta", deadline=None, derandomize=True, database=None, max_examples=40)
settings.load_profile("ds2ta")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that brings the pages up to date."""
    parser.addoption("--write-figures", action="store_true", help="put measured figures into the pages instead of comparing them")


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Figures:
    """Return what compares measured numbers with those on the pages."""
    return Figures(page_figures.FIGURES, writing=request.config.getoption("--write-figures"))


@pytest.fixture(scope="session")
def small_graph() -> Graph:
    """Return an integer graph made by hand with the ops of DS2TA; all its neurons fire on :func:`small_inputs`."""
    return builders.build_small_graph()


@pytest.fixture(scope="session")
def stream_graph() -> Graph:
    """Return an integer graph made by hand with the ops of the other families; it takes :func:`small_inputs` and fires, too."""
    return stream_builder.build_stream_graph()


@pytest.fixture(scope="session")
def family_models() -> dict[str, Any]:
    """Return a random network of every family and form, quantized; they fire on :func:`builders.pixels_for`."""
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    from ds2ta_deploy.models.calibration import random_network
    from ds2ta_deploy.quantization import quantize

    return {name: quantize(random_network(config, 3)) for name, config in family_configs.CONFIGS.items()}


@pytest.fixture(scope="session")
def family_graphs(family_models: dict[str, Any]) -> dict[str, Graph]:
    """Return the integer graph of every network of :func:`family_models`."""
    from ds2ta_deploy.freezing import freeze

    return {name: freeze(model) for name, model in family_models.items()}


@pytest.fixture(scope="session")
def small_inputs() -> NDArray[np.uint8]:
    """Return uint8 pictures for :func:`small_graph`, read-only."""
    return builders.small_inputs()


@pytest.fixture(scope="session")
def tiny_config() -> Ds2taConfig:
    """Return the config of a network that runs in milliseconds."""
    return builders.tiny_config()


@pytest.fixture(scope="session")
def tiny_model(tiny_config):
    """Return a random network that fires, in evaluation mode. Shared: copy before changing it."""
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    from ds2ta_deploy.models.calibration import random_network

    return random_network(tiny_config, seed=1)


@pytest.fixture(scope="session")
def tiny_quantized(tiny_model):
    """Return :func:`tiny_model` on the integer grid. Shared: copy before changing it."""
    from ds2ta_deploy.quantization import quantize

    return quantize(tiny_model)


@pytest.fixture(scope="session")
def tiny_graph(tiny_quantized) -> Graph:
    """Return :func:`tiny_quantized` frozen."""
    from ds2ta_deploy.freezing import freeze

    return freeze(tiny_quantized)


@pytest.fixture(scope="session")
def tiny_inputs(tiny_config) -> NDArray[np.uint8]:
    """Return four uint8 pictures for the tiny networks, read-only."""
    return builders.pixels_for(tiny_config, 4, seed=2)


@pytest.fixture
def leftovers(tmp_path, monkeypatch) -> Iterator[Leftovers]:
    """Let everything that is started keep its files in one folder, and look there afterwards."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    found = Leftovers(folder)
    yield found
    found.assert_none()
