import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import EVENTS, assert_fires, every_index, pixels_for, tiny_config

from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.ds2ta import Ds2ta
from ds2ta_deploy.models.encoder import IntegerPixelEncoder, PixelEncoder
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.models.probe import Probe, Watch
from ds2ta_deploy.models.readout import IntegerReadout, Readout

LINEAR = ("product", "current", "membrane", "spikes")


def counts(config):
    """Return the number of parameters of the backbone and of what DS2TA adds to its attention."""
    named = {name: parameter.numel() for name, parameter in Ds2ta(config).named_parameters()}
    added = sum(size for name, size in named.items() if ".denoiser." in name or name.endswith("window.decay"))
    return sum(named.values()) - added, added


@pytest.mark.parametrize(
    ("preset", "backbone", "added"),
    [
        ("ds2ta-4-384", 9_324_730, 6 * 12 * 4 + 4 * 4),  # the paper's 9.32 M; 6 denoiser parameters a head, 4 decays a block
        ("ds2ta-2-256", 2_566_666, 6 * 16 * 2 + 4 * 2),  # the paper's 2.58 M less an unused position embedding
    ],
)
def test_the_parameters_are_as_many_as_the_papers(preset, backbone, added):
    assert (added == 304) == (preset == "ds2ta-4-384")
    assert counts(PRESETS[preset]) == (backbone, added)


def test_the_decays_and_denoisers_start_as_the_config_says():
    model = Ds2ta(tiny_config(initial_decay=3, initial_denoise_threshold=1.5, temporal_window=5, depth=2))
    for block in model.blocks:
        for layer in (block.attn.q, block.attn.k, block.attn.v, block.attn.proj):
            assert (layer.window.taps, layer.window.integer_decay) == (5, 3)
        assert block.mlp.fc1.window is None
        assert block.mlp.fc2.window is None
        assert block.attn.denoiser.u.tolist() == [1.5] * 4


@pytest.mark.parametrize("bias", [True, False])
def test_the_bias_setting_is_that_of_q_k_and_v(bias):
    attention = Ds2ta(tiny_config(qkv_bias=bias)).blocks[0].attn
    assert [getattr(attention, part).bias is not None for part in ("q", "k", "v", "proj")] == [bias] * 3 + [True]


def test_every_neuron_has_the_configs_settings():
    model = Ds2ta(tiny_config(threshold=0.75, attention_threshold=0.6, membrane_time_constant=4.0, decay_input=True))
    neurons = {name: module for name, module in model.named_modules() if name.endswith("neuron")}
    assert len(neurons) == 12
    for name, neuron in neurons.items():
        assert neuron.threshold == (0.6 if name == "blocks.0.attn.neuron" else 0.75), name
        assert neuron.membrane_time_constant == 4.0
        assert neuron.decay_input


def test_a_bad_config_is_refused():
    from ds2ta_deploy.errors import InputError

    with pytest.raises(InputError, match="DS2TA-110"):
        Ds2ta(tiny_config(depth=0))


# --- shapes and names ------------------------------------------------------------------------------------------------


def observed(model, seed=9, batch=3):
    seen = {}
    with torch.no_grad(), Watch(model, seen.__setitem__):
        logits = model(torch.from_numpy(pixels_for(model.config, batch, seed).copy()))
    return logits, seen


def expected_shapes(config, batch, stage_sizes, tokens):
    """Return name and shape of every value of the tiny network."""
    steps, width, heads = config.time_steps, config.embed_dim, config.num_heads
    still = 1 if config.input_kind == "images" else steps
    shapes = {"input_values": (still, batch, config.image_height, config.image_width, config.in_channels)}
    names = [f"patch.stages.{index}" for index in range(4)] + ["patch.position"]
    widths = (*config.stage_widths, width)
    for index, (name, (size, pooled), channels) in enumerate(zip(names, stage_sizes, widths, strict=True)):
        for part in LINEAR:
            time = still if index == 0 and part in ("product", "current") else steps
            shapes[f"{name}.{part}"] = (time, batch, *size, channels)
        if pooled is not None:
            shapes[f"{name}.pooled"] = (steps, batch, *pooled, channels)
    shapes["patch.residual"] = (steps, batch, *stage_sizes[-1][0], width)
    shapes["patch.tokens"] = (steps, batch, tokens, width)
    for index in range(config.depth):
        prefix = f"blocks.{index}"
        for layer in ("attn.q", "attn.k", "attn.v", "attn.proj", "mlp.fc1", "mlp.fc2"):
            for part in LINEAR:
                hidden = width * config.mlp_ratio if layer == "mlp.fc1" else width
                shapes[f"{prefix}.{layer}.{part}"] = (steps, batch, tokens, hidden)
        for part in ("scores", "denoised"):
            shapes[f"{prefix}.attn.{part}"] = (steps, batch, heads, tokens, tokens)
        for part in ("attn.context", "attn.current", "attn.membrane", "attn.spikes", "attn_residual", "mlp_residual"):
            shapes[f"{prefix}.{part}"] = (steps, batch, tokens, width)
    shapes["head.logits"] = (batch, config.num_classes)
    return shapes


SIZES = [((12, 10), (6, 5)), ((6, 5), None), ((6, 5), (3, 3)), ((3, 3), None), ((3, 3), None)]


@pytest.mark.parametrize("changes", [{}, EVENTS, {"depth": 2, "mlp_ratio": 2, "time_steps": 1}], ids=str)
def test_every_value_has_its_name_and_shape(changes):
    config = tiny_config(**changes)
    logits, seen = observed(random_network(config))
    assert logits.shape == (3, 5)
    assert torch.equal(logits, seen["head.logits"])
    shapes = {name: tuple(value.shape) for name, value in seen.items()}
    assert shapes == expected_shapes(config, 3, SIZES, 9)


def test_the_patch_stages_pool_where_the_config_says():
    shapes = {
        name: tuple(value.shape[2:4])
        for name, value in observed(random_network(tiny_config(pool_stages="0110", image_height=9)))[1].items()
    }
    assert shapes["patch.stages.0.spikes"] == shapes["patch.stages.1.spikes"] == (9, 10)
    assert shapes["patch.stages.1.pooled"] == shapes["patch.stages.2.spikes"] == (5, 5)
    assert shapes["patch.stages.2.pooled"] == shapes["patch.stages.3.spikes"] == (3, 3)
    assert "patch.stages.0.pooled" not in shapes
    assert "patch.stages.3.pooled" not in shapes


def test_every_probe_is_used():
    model = random_network(tiny_config(depth=2))
    _, seen = observed(model)
    assert set(seen) == {name for name, module in model.named_modules() if isinstance(module, Probe)}


# --- what the blocks compute -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"depth": 2}, EVENTS], ids=["images", "frames"])
def test_residual_sums_are_counts_of_spikes(changes):
    config = tiny_config(**changes)
    _, seen = observed(random_network(config))
    assert_fires(seen)
    assert torch.equal(seen["patch.residual"], seen["patch.stages.3.spikes"] + seen["patch.position.spikes"])
    stream = seen["patch.tokens"]
    assert torch.equal(stream, seen["patch.residual"].flatten(2, 3))  # row by row
    for index in range(config.depth):
        stream = stream + seen[f"blocks.{index}.attn.proj.spikes"]
        assert torch.equal(seen[f"blocks.{index}.attn_residual"], stream)
        stream = stream + seen[f"blocks.{index}.mlp.fc2.spikes"]
        assert torch.equal(seen[f"blocks.{index}.mlp_residual"], stream)
    assert set(stream.unique().tolist()) <= set(range(3 + 2 * config.depth))
    assert stream.max() > 1  # counts, not bits


def test_the_layers_read_what_they_should():
    model = random_network(tiny_config(depth=2))
    _, seen = observed(model)
    for index, block in enumerate(model.blocks):
        tokens = seen["patch.tokens"] if index == 0 else seen[f"blocks.{index - 1}.mlp_residual"]
        sources = {
            "attn.q": (block.attn.q, tokens),
            "attn.k": (block.attn.k, tokens),
            "attn.v": (block.attn.v, tokens),
            "attn.proj": (block.attn.proj, seen[f"blocks.{index}.attn.spikes"]),
            "mlp.fc1": (block.mlp.fc1, seen[f"blocks.{index}.attn_residual"]),
            "mlp.fc2": (block.mlp.fc2, seen[f"blocks.{index}.mlp.fc1.spikes"]),
        }
        for name, (layer, source) in sources.items():
            with torch.no_grad():
                assert torch.equal(seen[f"blocks.{index}.{name}.spikes"], layer(source)), name


@pytest.mark.parametrize("changes", [{}, EVENTS], ids=["images", "frames"])
def test_samples_do_not_mix(changes):
    model = random_network(tiny_config(**changes)).double()
    pixels = torch.from_numpy(pixels_for(model.config, 3, 4).copy())
    axis = 0 if model.config.input_kind == "images" else 1
    with torch.no_grad():
        together, swapped = model(pixels), model(pixels.flip(axis))
    # float64 sums may come in another order; a spike flipped by a neighbour would change a logit by more than 1e-4.
    torch.testing.assert_close(swapped.flip(0), together, rtol=1e-9, atol=1e-9)
    assert (together[0] - together[1]).abs().max() > 1e-3


# --- input and readout -----------------------------------------------------------------------------------------------


def test_pixels_are_normalised_channel_by_channel():
    config = tiny_config(in_channels=2, pixel_scale=1 / 255, pixel_mean=(0.25, 0.5), pixel_std=(0.5, 0.125))
    encoder = PixelEncoder(config).double()
    pixels = torch.tensor([[0, 255], [51, 102]], dtype=torch.uint8).view(1, 1, 2, 2)
    expected = [[-0.5, 4.0], [(0.2 - 0.25) / 0.5, (0.4 - 0.5) / 0.125]]
    torch.testing.assert_close(encoder(pixels)[0, 0], torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_the_constants_of_the_encoder_are_not_part_of_a_checkpoint():
    assert not any(name.startswith("encoder") for name in Ds2ta(tiny_config()).state_dict())


def test_a_baked_table_is_looked_up_channel_by_channel():
    table = torch.stack([torch.arange(256) * 2 - 100, 300 - torch.arange(256)])
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 4, 2), dtype=np.uint8))
    values = IntegerPixelEncoder(table)(pixels)
    assert values.dtype == torch.float64
    for index in every_index(pixels.shape):
        assert int(values[index]) == int(table[index[-1], int(pixels[index])])


def test_the_readout_is_linear_in_the_mean_over_tokens_and_time():
    readout = Readout(4, 3).double()
    readout.bias.data = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    tokens = torch.randint(0, 4, (2, 5, 8, 4), generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        logits = readout(tokens)
        for b, c in every_index((5, 3)):
            steps = [readout.weight[c] @ tokens[t, b, n] + readout.bias[c] for t in range(2) for n in range(8)]
            torch.testing.assert_close(logits[b, c], sum(steps) / 16, rtol=1e-12, atol=1e-12)


def test_the_integer_readout_is_a_sum_and_the_bias_enters_once():
    weight = torch.tensor([[3, -2], [0, 5], [-7, 1]])
    readout = IntegerReadout(weight, torch.tensor([10, -20, 30]), 0.25)
    tokens = torch.randint(0, 4, (2, 5, 3, 2), generator=torch.Generator().manual_seed(0)).double()
    logits = readout(tokens)
    assert readout.scale == 0.25
    for b, c in every_index((5, 3)):
        total = sum(int(weight[c, k]) * int(tokens[t, b, n, k]) for t in range(2) for n in range(3) for k in range(2))
        assert int(logits[b, c]) == total + (10, -20, 30)[c]


def test_a_training_step_reaches_every_parameter():
    config = tiny_config()
    model = random_network(config).train()
    logits = model(torch.from_numpy(pixels_for(config, 6, 3).copy()))
    torch.nn.functional.cross_entropy(logits, torch.arange(6) % 5).backward()
    # A bias before a batch norm is taken away with the mean: its gradient is zero but for rounding.
    idle = tuple(f"{layer}.bias" for layer in ("q", "k", "v", "proj", "fc1", "fc2"))
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if not name.endswith(idle)}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.abs().max() > 0] == []
