"""Every family and form: its PyTorch model on the grid gives the graph's integers, all of them, and every layer fires."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import assert_fires, pixels_for, trace_of
from family_configs import CONFIGS, changed

from ds2ta_deploy.checkpoints import load_checkpoint, save_checkpoint
from ds2ta_deploy.errors import InputError, UnsupportedError
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph.ranges import PROFILES, prove
from ds2ta_deploy.models.build import build
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.runtimes.pytorch import FloatRuntime, PytorchRuntime


@pytest.mark.parametrize("name", CONFIGS)
def test_every_value_of_the_graph_is_the_models(name, family_models, family_graphs):
    graph, pixels = family_graphs[name], pixels_for(CONFIGS[name], 6, 11)
    given = PytorchRuntime(family_models[name], graph).trace(pixels, graph.observable)
    computed = trace_of(graph, pixels)
    assert list(computed) == list(graph.observable)
    assert [value for value in graph.observable if not np.array_equal(given[value], computed[value])] == []
    assert all(graph.ranges[value].contains(array.astype(np.int64)) for value, array in computed.items())
    assert_fires(computed)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("settings", [{"profile": "loihi"}, {"weight_bits": 6, "thresholds": "layer"}], ids=str)
def test_other_grids_give_the_same_integers_on_both_sides(name, settings):
    config = changed(CONFIGS[name], depth=1)
    model = quantize(random_network(config, 4), Quantization(**settings))
    graph, pixels = freeze(model), pixels_for(config, 3, 5)
    given = PytorchRuntime(model, graph).trace(pixels, graph.observable)
    computed = trace_of(graph, pixels)
    assert all(np.array_equal(given[value], array) for value, array in computed.items())
    assert_fires(computed)
    assert all(entry.margin >= 0 for entry in prove(graph, PROFILES[str(graph.facts["profile"])]))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_checkpoint_of_any_family_comes_back(tmp_path, name):
    model = random_network(CONFIGS[name], 2, batch=2)
    save_checkpoint(model, tmp_path / "ckpt.safetensors")
    loaded = load_checkpoint(tmp_path / "ckpt.safetensors")
    assert loaded.config == model.config
    pixels = pixels_for(CONFIGS[name], 2, 0)
    expected, found = (FloatRuntime(each).trace(pixels, ["head.logits"])["head.logits"] for each in (model, loaded))
    assert np.array_equal(expected, found)
    assert np.abs(expected).max() > 0


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_learns(name):
    torch.manual_seed(0)
    model = random_network(CONFIGS[name], 2).train()
    model(torch.from_numpy(pixels_for(CONFIGS[name], 4, 0).copy())).square().sum().backward()
    without = [key for key, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    assert [key for key in without if not key.endswith(".bias")] == []  # a bias before a batch norm cannot matter


@pytest.mark.parametrize(
    ("name", "fields", "where"),
    [
        ("statten", {"chunk_steps": 3}, "chunk_steps"),
        ("statten", {"attention_scale": 0.0}, "attention_scale"),
        ("spikformer-statten", {"attention_order": "map"}, "attention_order"),
        ("spikformer-cifar", {"attention_threshold": -1.0}, "attention_threshold"),
        ("sdt", {"attention_threshold": float("nan")}, "attention_threshold"),
        ("snn-vit-v1", {"dilation": 0}, "dilation"),
        ("snn-vit-v1", {"dilated_stages": "01"}, "dilated_stages"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(name, fields, where):
    with pytest.raises(InputError, match=rf"DS2TA-110 \[config.{where}\]"):
        build(changed(CONFIGS[name], **fields))


def test_a_part_that_has_no_rule_is_named():
    model = build(CONFIGS["sdt"])
    model.blocks[1].attn = torch.nn.Identity()
    with pytest.raises(UnsupportedError, match=r"DS2TA-202 \[blocks.1.attn\].*Identity"):
        quantize(model)


def test_the_order_of_attention_changes_no_spike():
    """(Q K^T) V and Q (K^T V) are the same integers: only the values between are others."""
    config = CONFIGS["spikformer-cifar"]
    model, other = random_network(config, 3), build(changed(config, attention_order="state"))
    other.load_state_dict(model.state_dict())
    pixels = pixels_for(config, 3, 1)
    one, two = (trace_of(freeze(quantize(each)), pixels) for each in (model, other))
    assert_fires(one)
    spikes = [value for value in one if value.endswith("spikes")]
    assert all(np.array_equal(one[value], two[value]) for value in (*spikes, "head.logits"))
    assert "blocks.0.attn.scores" in one
    assert "blocks.0.attn.key_value" in two
