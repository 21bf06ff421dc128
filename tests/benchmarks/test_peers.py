import dataclasses
import json

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import assert_fires, trace_of
from click.testing import CliRunner
from support import on_onnxruntime

from benchmarks import contestants, networks, peers
from benchmarks.float_model import float_model
from benchmarks.float_onnx import float_onnx
from benchmarks.networks import random_network_at
from benchmarks.outcome import Outcome
from benchmarks.peak import DensePeak
from ds2ta_deploy.errors import ParityError
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph.ranges import beyond_float32
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.quantization import quantize
from ds2ta_deploy.runtimes.native.library import library_path


@pytest.fixture(autouse=True)
def _threads():
    """A race says how many threads PyTorch may use, from then on; sums of floats elsewhere depend on it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network(tiny_config, tmp_path_factory):
    return random_network_at("tiny", tiny_config, lambda _name: 0.15, tmp_path_factory.mktemp("networks"), count=3)


# --- opponents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("still", [True, False])
def test_the_float_file_computes_the_same_logits(still):
    from builders import build_small_graph, small_inputs

    graph, inputs = build_small_graph(still=still), small_inputs(still=still)
    assert not beyond_float32(graph)
    assert_fires(trace_of(graph, inputs))
    found = on_onnxruntime(float_onnx(graph), {graph.input_name: inputs})[graph.output]
    assert found.dtype == np.float32
    assert np.array_equal(found, graph.execute(inputs))


def test_the_float_file_knows_windows_and_guard_bits(tiny_graph, tiny_inputs):
    assert any(op.guard_bits for op in tiny_graph if hasattr(op, "guard_bits"))
    assert_fires(trace_of(tiny_graph, tiny_inputs))
    found = on_onnxruntime(float_onnx(tiny_graph), {tiny_graph.input_name: tiny_inputs})[tiny_graph.output]
    assert np.array_equal(found, tiny_graph.execute(tiny_inputs))


@pytest.mark.parametrize("norms", [True, False])
@pytest.mark.parametrize("changes", [{}, {"attention_scale": 0.3}, {"membrane_time_constant": 4 / 3}], ids=str)
def test_the_float_model_computes_the_same_logits(norms, changes):
    from builders import pixels_for, tiny_config

    quantized = quantize(random_network(tiny_config(**changes), 1))
    graph, inputs = freeze(quantized), pixels_for(quantized.config, 4, 2)
    assert_fires(trace_of(graph, inputs))
    model = float_model(quantized, norms=norms)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules()) is norms
    with torch.inference_mode():
        found = model(torch.from_numpy(inputs.copy())).numpy()
    assert np.array_equal(found, graph.execute(inputs))


# --- networks, peak, race --------------------------------------------------------------------------------------------


def test_a_network_has_two_grids_and_fires_as_asked(network):
    assert {bits: np.abs(next(op.weight for op in grid.artifact.graph if op.name == "blocks.0.mlp.fc1.weights")).max()
            for bits, grid in network.grids.items()} == {8: 127, 6: 31}  # fmt: skip
    assert {name: rate for name, rate in network.rates.items() if not 0.1 < rate < 0.2} == {}
    assert network.grids[8].logits.shape == (3, 5)


def pools(network, name):
    return f"{name}.pooled" in network.grids[8].artifact.graph.types


@pytest.mark.parametrize("depth", [1, 2])
def test_rates_are_carried_over_by_kind(depth, monkeypatch, tiny_config, tmp_path):
    """To a network of three blocks: the last one's are those of the trained network's last block."""
    trained = random_network_at("small", msgspec.structs.replace(tiny_config, depth=depth), lambda _name: 0.15, tmp_path, count=3)
    wanted = {name: 0.05 + 0.01 * index for index, name in enumerate(sorted(trained.read_rates))}
    monkeypatch.setitem(PRESETS, "deeper", msgspec.structs.replace(tiny_config, depth=3))
    like = networks.network_like(dataclasses.replace(trained, read_rates=wanted), "deeper", tmp_path, count=3)
    place = {"blocks.0": "blocks.0", "blocks.1": "blocks.0", "blocks.2": f"blocks.{depth - 1}"}
    expected = {name: wanted[place.get(name[:8], name[:8]) + name[8:]] for name in like.read_rates}
    assert {name: (rate, expected[name]) for name, rate in like.read_rates.items() if abs(rate - expected[name]) > 0.04} == {}
    assert {name for name, rate in like.read_rates.items() if like.rates[name] < rate} == {name for name in like.rates if pools(like, name)}


def test_the_peak_is_a_speed_of_named_instructions():
    found = DensePeak().measure()
    assert found.products_a_second > 0
    assert found.instructions


def test_whoever_computes_something_else_is_named(network, monkeypatch):
    honest = contestants._onnxruntime
    monkeypatch.setattr(contestants, "_onnxruntime", lambda *arguments: lambda pictures: honest(*arguments)(pictures) + 1)
    with pytest.raises(ParityError, match=r"DS2TA-301 \[tiny\]: ONNX Runtime fp32: 5 of 5 logits differ$"):
        peers.race(network, 1, 1, 2, DensePeak(), compiled=False)


@pytest.mark.slow
def test_the_whole_program(tmp_path, monkeypatch, tiny_config):
    monkeypatch.setitem(PRESETS, "ds2ta-2-256", tiny_config)
    written = tmp_path / "peers.json"
    arguments = ["--preset", "ds2ta-2-256", "--rate", "15", "--rounds", "2", "--pictures", "2", "--batch", "1,3", "--threads", "1,2"]
    done = CliRunner().invoke(peers.main, [*arguments, "--json", str(written)], catch_exceptions=False)
    assert done.exit_code == 0
    outcome = msgspec.json.decode(written.read_bytes(), type=Outcome)
    assert [(result.network, result.batch, result.threads) for result in outcome.results] == [
        (name, batch, threads)
        for name in ("trained", "sparse", "ds2ta-2-256-15%", "ds2ta-2-256-trained", "ds2ta-2-256-sparse")
        for batch in (1, 3)
        for threads in (1, 2)
    ]
    for result in outcome.results:
        names = {timing.name for timing in result.timings}
        assert names >= {contestants.TORCH, contestants.TORCH_NORMS, contestants.ORT_FLOAT, contestants.ORT_INTEGER}
        assert (contestants.NATIVE in names) == (contestants.NATIVE_6 in names) == (library_path() is not None)
        assert all(0 < timing.best <= timing.low <= timing.median <= timing.high for timing in result.timings)
        assert result.dense_limit == result.operations * result.batch / result.peak * 1e3
        assert f"### {result.network}, batch {result.batch}, {result.threads} thread" in done.output
    heading = "| | " + " | ".join(result.network for result in outcome.results) + " |"
    assert heading in done.output
    assert "| **PyTorch eager / native** | " in done.output or library_path() is None
    assert json.loads(written.read_bytes())["schema"] == "ds2ta-peers/1"


def test_the_operations_are_those_of_every_product(network):
    config = network.grids[8].model.config
    steps, width, tokens = config.time_steps, config.embed_dim, 3 * 3
    patch = 9 * (120 * 1 * 4 + steps * (30 * 4 * 8 + 30 * 8 * 16 + 9 * 16 * 32 + 9 * 32 * 32))
    block = steps * tokens * (4 * width**2 + 2 * config.mlp_ratio * width**2 + 2 * tokens * width)
    assert network.operations in {patch + block + steps * tokens * width * config.num_classes}
