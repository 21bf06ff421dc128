"""The penalty on synaptic operations: what it counts, on networks and on their integers."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import pixels_for, tiny_config

from ds2ta_deploy.fine_tuning import qat
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.probe import Watch
from ds2ta_deploy.quantization import quantize

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from training.operations import watch_operations


def read_by(model):
    """What weights and attention read, and how many products each of its neurons is part of; channels last."""
    width, hidden = model.config.embed_dim, model.config.embed_dim * model.config.mlp_ratio
    widths, tokens = model.config.stage_widths, 9
    reads = {f"patch.stages.{i}": 9 * widths[i + 1] for i in range(3)} | {"patch.stages.3": 9 * width}
    reads = {f"{name}.{'pooled' if model.config.pool_stages[int(name[-1])] == '1' else 'spikes'}": fan for name, fan in reads.items()}
    reads |= {"patch.tokens": 3 * width, "blocks.0.attn_residual": hidden, "blocks.0.mlp.fc1.spikes": width}
    reads |= {"blocks.0.attn.q.spikes": tokens / 2, "blocks.0.attn.k.spikes": tokens / 2, "blocks.0.attn.v.spikes": tokens}
    return reads | {"blocks.0.attn.spikes": width}


def expected_share(model, pixels):
    values = {}
    with Watch(model, values.__setitem__), torch.no_grad():
        model(pixels)
    reads = read_by(model)
    assert all(values[name].sum() > 0 for name in reads)
    return sum(values[name].sum() * fan for name, fan in reads.items()) / sum(values[name].numel() * fan for name, fan in reads.items())


@pytest.mark.parametrize("grid", [False, True])
def test_the_share_is_that_of_what_fires(grid):
    model = random_network(tiny_config(), 0).eval()
    pixels = torch.from_numpy(pixels_for(model.config, 4, 2).copy())
    network = qat(model).train() if grid else model
    expected = expected_share(quantize(model) if grid else model, pixels)
    with watch_operations(network) as share:
        for _ in range(2):  # each counts one forward pass
            network(pixels)
            found = share()
            assert found.item() == pytest.approx(expected.item(), rel=1e-6)
            assert 0.01 < found.item() < 0.9
    found.backward()
    weights = dict((network.model if grid else model).named_parameters())
    assert weights["patch.stages.0.weight"].grad.abs().sum() > 0
    assert weights["head.weight"].grad is None  # the readout fires nobody


def test_nothing_is_watched_behind_the_context():
    model = random_network(tiny_config(), 0).eval()
    pixels = torch.from_numpy(pixels_for(model.config, 1, 2).copy())
    with watch_operations(model) as share:
        model(pixels)
        first = share()
    model(pixels)
    with pytest.raises(RuntimeError, match="empty"):  # of no pass there is no share
        share()
    assert first > 0
