import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import BUSIEST, QUIETEST, pixels_for
from family_configs import CONFIGS

from ds2ta_deploy.analysis import measure
from ds2ta_deploy.analysis.measure import analyze
from ds2ta_deploy.analysis.results import Analysis, merge
from ds2ta_deploy.datasets import Labelled
from ds2ta_deploy.errors import InputError, UnsupportedError, UsageError
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.runtimes.pytorch import PytorchRuntime

COARSE = Quantization(weight_bits=4)


@pytest.fixture(scope="module")
def data(tiny_inputs):
    return Labelled(tiny_inputs, np.arange(4))


@pytest.fixture(scope="module")
def analysis(tiny_model, data):
    return analyze(tiny_model, data, COARSE)


def test_the_last_layer_cumulated_is_the_network_on_the_grid(analysis, tiny_model, data):
    quantized = quantize(tiny_model, COARSE)
    graph = freeze(quantized)
    integer = PytorchRuntime(quantized, graph).trace(data.images, [entry.name for entry in analysis.populations])
    with torch.inference_mode():
        trained = tiny_model.double()(torch.tensor(data.images)).argmax(1).numpy()
    tiny_model.float()
    decisions = integer[graph.output].argmax(1)
    last = analysis.layers[-1].cumulative
    assert (last.correct, last.same_decisions) == (int((decisions == data.labels).sum()), int((decisions == trained).sum()))
    assert last.all_spike_flips == sum(entry.flips for entry in analysis.populations) > 0
    for entry in analysis.populations:
        assert (entry.integer_spikes, entry.compared) == (int(integer[entry.name].sum()), integer[entry.name].size)
        assert QUIETEST < entry.float_spikes / entry.compared < BUSIEST
    assert analysis.correct == int((trained == data.labels).sum())


def test_the_first_layer_alone_is_the_first_layer_cumulated(analysis):
    assert analysis.layers[0].alone == analysis.layers[0].cumulative
    assert [layer.alone != layer.cumulative for layer in analysis.layers[1:]].count(True) > 8


def test_what_several_shards_give_adds_up(analysis, tiny_model, data, monkeypatch):
    monkeypatch.setattr(measure, "_BATCH", 1)
    told = []
    halves = [analyze(tiny_model, Labelled(data.images[rows], data.labels[rows]), COARSE, told.append) for rows in (slice(3), slice(3, 4))]
    assert merge(halves) == analysis
    assert told == [*range(1, len(analysis.layers) + 1)] * 2
    assert msgspec.json.decode(msgspec.json.encode(analysis), type=Analysis) == analysis


def test_without_labels_nothing_is_said_of_right_and_wrong():
    config = CONFIGS["statten"]
    found = analyze(random_network(config, 2), Labelled(pixels_for(config, 2, 1), None), COARSE)
    assert found.correct is None
    assert all(layer.alone.correct is None and layer.cumulative.correct is None for layer in found.layers)
    assert {layer.spikes for layer in found.layers} >= {"blocks.1.mlp.input.spikes", "head.input.spikes", None}


def test_what_cannot_be_analyzed_is_named(tiny_model, tiny_quantized, data):
    with pytest.raises(UsageError, match="DS2TA-507"):
        analyze(tiny_model, Labelled(data.images[:0], None))
    with pytest.raises(InputError, match="DS2TA-121"):
        analyze(tiny_model, Labelled(data.images[:, 1:], None))
    with pytest.raises(InputError, match="DS2TA-135"):
        analyze(tiny_model, Labelled(data.images, np.array([0, 1, 2, 5])))
    with pytest.raises(UnsupportedError, match="DS2TA-202"):
        analyze(tiny_quantized, data)
