"""Weight formats by layer: which layers have a choice, what rounds to what, and every engine runs every format."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

import msgspec
from builders import assert_fires, pixels_for, tiny_config, trace_of
from family_configs import CONFIGS
from support import NATIVE, STEPPED

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.errors import InputError
from ds2ta_deploy.exporting import export
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph.formats import FORMATS, format_name
from ds2ta_deploy.grid import POWERS_OF_TWO, uniform_grid
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.quantizing.formats import choose_formats, formattable_layers
from ds2ta_deploy.quantizing.settings import settings_in

MIX = {"*": 6, "blocks.*.attn.*": 4, "blocks.0.attn.v": "power-of-two", "blocks.*.mlp.fc1": 8}

#: What can hold each format's integers.
FITS = {8: "int8", 6: "int6", 4: "int4", "power-of-two": "power-of-two"}


def weights_of(graph):
    """Weights by layer."""
    return {op.name.removesuffix(".weights"): op.weight for op in graph if hasattr(op, "weight")}


# --- rounding --------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-200, 200), min_size=1), st.integers(2, 12))
def test_uniform_weights_are_the_nearest_integers_that_there_are(numbers, bits):
    largest = 2 ** (bits - 1) - 1
    expected = [max(-largest, min(largest, round(number))) for number in numbers]
    assert uniform_grid(bits).round(torch.tensor(numbers, dtype=torch.float64)).tolist() == expected


@given(st.lists(st.floats(-200, 200) | st.integers(-400, 400).map(lambda number: number / 2), min_size=1))
def test_powers_of_two_are_the_nearest_ones_with_a_code(numbers):
    allowed = [value for value in FORMATS["power-of-two"].values if value is not None]
    expected = [min(allowed, key=lambda value: (abs(Fraction(number) - value), -abs(value))) for number in numbers]
    # Of two that are equally near, the larger magnitude; zero's neighbours +1 and -1 are told apart by the sign.
    found = POWERS_OF_TWO.round(torch.tensor(numbers, dtype=torch.float64)).tolist()
    assert found == expected


@pytest.mark.parametrize("grid", [uniform_grid(4), POWERS_OF_TWO], ids=lambda grid: grid.name)
def test_gradients_pass_within_the_grid_and_not_beyond_it(grid):
    scaled = torch.tensor([0.4, -3.0, grid.largest - 0.4, -grid.largest - 2.0, 1000.0], requires_grad=True)
    grid.round(scaled).sum().backward()
    assert scaled.grad.tolist() == [1, 1, 1, 0, 0]


# --- the choice ------------------------------------------------------------------------------------------------------


def test_every_layer_has_a_choice_but_the_first_and_those_of_a_stream(tiny_model):
    assert formattable_layers(tiny_model) == (
        *(f"patch.stages.{index}" for index in (1, 2, 3)),
        "patch.position",
        *(f"blocks.0.attn.{part}" for part in ("q", "k", "v", "proj")),
        *("blocks.0.mlp.fc1", "blocks.0.mlp.fc2"),
        "head",
    )
    streamed = formattable_layers(random_network(CONFIGS["sdt"], 3, batch=2))
    assert "blocks.0.mlp.fc1" in streamed
    assert not {"blocks.0.mlp.fc2", "blocks.0.attn.proj", "patch.position", "patch.feature"} & set(streamed)


def test_of_several_patterns_the_last_counts(tiny_model):
    chosen = choose_formats(tiny_model, Quantization(weights={"*": 4, "blocks.*": "power-of-two", "blocks.0.mlp.fc1": 8}))
    assert chosen["head"] == chosen["patch.stages.1"] == 4
    assert chosen["blocks.0.attn.q"] == chosen["blocks.0.mlp.fc2"] == "power-of-two"
    assert chosen["blocks.0.mlp.fc1"] == 8
    assert set(choose_formats(tiny_model, Quantization(weight_bits=5)).values()) == {5}


def test_every_unknown_layer_and_format_is_named_at_once(tiny_model):
    wrong = {"patch.stages.0": 8, "blocks.7.*": 4, "head": 5, "blocks.0.attn.q": "ternary", "nothing": 3, "*": 6}
    with pytest.raises(InputError) as caught:
        quantize(tiny_model, Quantization(weights=wrong))
    found = [(problem.code, problem.where) for problem in caught.value.problems]
    places = ["patch.stages.0", "blocks.7.*", "head", "blocks.0.attn.q", "nothing", "nothing"]
    assert found == [("DS2TA-112", place) for place in places]
    assert "blocks.0.mlp.fc1" in caught.value.problems[0].mend
    assert "power-of-two" in caught.value.problems[2].mend


# --- on the grid -----------------------------------------------------------------------------------------------------


def test_every_layer_has_the_format_that_was_chosen_and_no_other_layer_changes(tiny_model, tiny_graph):
    plain = weights_of(tiny_graph)
    graph = freeze(quantize(tiny_model, Quantization(weights=MIX)))
    mixed = weights_of(graph)
    chosen = choose_formats(tiny_model, Quantization(weights=MIX))
    assert {name: format_name(mixed[name]) for name in chosen} == {name: FITS[chosen[name]] for name in chosen}
    assert set(chosen.values()) == {8, 6, 4, "power-of-two"}
    same = {name for name in mixed if np.array_equal(mixed[name], plain[name])}
    assert same == {name for name in mixed if chosen.get(name, 8) == 8}
    assert all(weight.dtype == np.int8 for name, weight in mixed.items() if name in chosen)


def test_the_choice_is_a_fact_of_the_graph_that_settings_can_be_made_of_again(tiny_model):
    settings = Quantization(weights=MIX, profile="loihi")
    facts = freeze(quantize(tiny_model, settings)).facts
    assert msgspec.convert(settings_in(facts), Quantization) == settings
    assert list(settings_in(facts)["weights"]) == list(MIX)  # their order says which counts
    assert "weights" not in freeze(quantize(tiny_model)).facts


def test_facts_that_are_no_formats_are_refused():
    with pytest.raises(InputError, match=r"DS2TA-141 \[weights\]"):
        settings_in({"weights": "["})


# --- on every engine -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "weights"),
    [("ds2ta", {"*": 6}), ("ds2ta", {"*": 4}), ("ds2ta", {"*": "power-of-two"}), ("ds2ta", MIX), ("sdt", {"*": "power-of-two", "head": 4})],
    ids=str,
)
def test_every_engine_computes_the_same_integers_from_packed_weights(tmp_path, family, weights):
    config = tiny_config() if family == "ds2ta" else CONFIGS[family]
    model = quantize(random_network(config, 1), Quantization(weights=weights, profile="loihi"))  # as the target all needs it
    graph, pixels = freeze(model), pixels_for(config, 4, 2)
    assert_fires(trace_of(graph, pixels))
    engines = ["onnxruntime", *NATIVE, "c", "lava-stepper"]
    out = export(graph, "all", tmp_path / "out", model=model, inputs=pixels, runtimes=engines, values="all").path
    artifact = Artifact.open(out)
    assert [(entry.runtime, entry.different) for entry in artifact.manifest.parity] == [
        (name, 0) for name in ("reference", "onnxruntime", STEPPED, *engines[1:])
    ]
    assert all(entry.values == len(graph.observable) for entry in artifact.manifest.parity)
    assert artifact.check_certificate() > 50
    assert b"ds2ta-graph/3" in artifact.read("graph.safetensors")[:5000]
    read = weights_of(artifact.graph)
    assert all(np.array_equal(weight, read[name]) and weight.dtype == read[name].dtype for name, weight in weights_of(graph).items())
