"""Checkpoints of the published networks, read by the importer: the same spikes in every population."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
pytest.importorskip("spikingjelly.activation_based.neuron", reason="needs SpikingJelly: make test installs it")

from builders import BUSIEST, QUIETEST, pixels_for
from published.cases import CASES, our_network
from published.compare import differences, our_values, published_spikes
from published.names import put_weights

from ds2ta_deploy.importing.loading import import_checkpoint

#: What a file with these small sizes does not tell.
SAID = ("time_steps", "num_heads", "pool_stages", "input_kind", "pixel_mean", "pixel_std", "chunk_steps", "erode", "attention_scale")


@pytest.mark.parametrize("name", CASES)
def test_an_imported_checkpoint_fires_as_the_network_that_wrote_it(tmp_path, name):
    case = CASES[name]
    config, model, path = case.config, our_network(case.config, 4), tmp_path / "model_best.pth.tar"
    network = case.published(config).eval()
    put_weights(network, model.state_dict(), membranes=case.membranes)
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, path)
    said = {field: getattr(config, field) for field in SAID if hasattr(config, field)}
    imported = import_checkpoint(path, config.family, image_size=(config.image_height, config.image_width), **said).double()
    imported.encoder = model.double().encoder  # the cases' pixels have a unit of their own
    network.double()
    pixels = pixels_for(config, 3, 54)
    ours = our_values(imported, pixels)
    rates = {key: spikes.mean().item() for key, spikes in ours.items() if key != "head.logits"}
    assert {key: rate for key, rate in rates.items() if not QUIETEST < rate < BUSIEST} == {}
    assert differences(published_spikes(network, model, pixels, membranes=case.membranes), ours, tokens_first=case.tokens_first) == {}
