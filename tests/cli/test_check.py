import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from block_marks import blocks_for
from builders import tiny_config
from support import names_in

from ds2ta_deploy.checkpoints import save_checkpoint
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.report import memory


def test_a_checkpoint_that_can_be_exported(cli, tiny_checkpoint, tiny_model, tiny_graph):
    shown = cli("check", tiny_checkpoint)
    parameters = sum(parameter.numel() for parameter in tiny_model.parameters())
    size = sum(memory(tiny_graph).values())
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == f"{tiny_checkpoint}: can be exported (ds2ta, {parameters:,} parameters, {size:,} bytes of integers)\n"


def test_json(cli, tiny_checkpoint, tiny_model, tiny_graph):
    shown = cli("check", tiny_checkpoint, "--json")
    assert (shown.code, shown.err) == (0, "")
    assert shown.data == {
        "supported": True,
        "problems": [],
        "family": "ds2ta",
        "parameters": sum(parameter.numel() for parameter in tiny_model.parameters()),
        "integer_bytes": sum(memory(tiny_graph).values()),
        "ops": len(tiny_graph.ops),
        "notes": [],
    }


def test_nothing_is_written(cli, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = names_in(tiny_checkpoint.parent)
    assert cli("check", tiny_checkpoint).code == 0
    assert (names_in(tmp_path), names_in(tiny_checkpoint.parent)) == ([], before)


def test_every_problem_is_listed_with_its_place_at_once(cli, altered_checkpoint):
    def spoil(tensors):
        del tensors["head.weight"]
        tensors["stray"] = torch.zeros(1)
        tensors["blocks.0.attn.k.weight"] = torch.zeros(3, 3)
        tensors["blocks.0.mlp.fc1.weight"][0, 0] = float("inf")
        tensors["blocks.0.mlp.fc2.weight"][0, 0] = float("nan")

    shown = cli("check", altered_checkpoint(spoil))
    assert (shown.code, shown.out) == (4, "")
    found = {line.split("[")[1].split("]")[0].split(": ")[1]: line.split()[1] for line in shown.err.splitlines()}
    assert found == {
        "head.weight": "DS2TA-105",
        "stray": "DS2TA-106",
        "blocks.0.attn.k.weight": "DS2TA-107",
        "blocks.0.mlp.fc1.weight": "DS2TA-103",
        "blocks.0.mlp.fc2.weight": "DS2TA-103",
    }


def test_problems_are_data_with_json_and_still_fail(cli, altered_checkpoint):
    def spoil(tensors):
        del tensors["head.weight"]
        tensors["stray"] = torch.zeros(1)

    shown = cli("check", altered_checkpoint(spoil), "--json")
    assert shown.code == 4
    assert shown.data["supported"] is False
    assert [(problem["code"], problem["where"].rsplit(": ", 1)[1]) for problem in shown.data["problems"]] == [
        ("DS2TA-105", "head.weight"),
        ("DS2TA-106", "stray"),
    ]
    assert all(set(problem) == {"code", "what", "where", "mend"} for problem in shown.data["problems"])


def test_sums_that_could_overflow_are_listed_layer_by_layer(cli, tmp_path):
    save_checkpoint(random_network(tiny_config(), seed=1), tmp_path / "small.safetensors")
    assert cli("check", tmp_path / "small.safetensors", "--profile", "loihi").code == 0
    # the same weights on larger pictures and more steps: the readout sums 2^18 token-steps, more than 24 bits hold at its 4 bits
    model = random_network(tiny_config(num_heads=1), seed=1)
    model.config = tiny_config(num_heads=1, image_height=64, image_width=64, pool_stages="0000", time_steps=64)
    save_checkpoint(model, tmp_path / "large.safetensors")
    shown = cli("check", tmp_path / "large.safetensors", "--profile", "loihi")
    assert (shown.code, shown.out) == (3, "")
    problems = {line.split("[")[1].split("]")[0]: line for line in shown.err.splitlines()}
    assert all(line.startswith("error DS2TA-220 ") and "profile loihi grants 24" in line for line in problems.values())
    assert "head.logits" in problems
    assert cli("check", tmp_path / "large.safetensors").code == 0


def test_an_approximate_leak_is_noted(cli, tmp_path):
    save_checkpoint(random_network(tiny_config(membrane_time_constant=3.0), seed=1), tmp_path / "c.safetensors")
    shown = cli("check", tmp_path / "c.safetensors")
    assert shown.code == 0
    assert shown.err == "note: neurons: the leak of tau_m = 3 is approximated by 171 / 2^8\n"
    assert cli("check", tmp_path / "c.safetensors", "--json").data["notes"] == [shown.err.removeprefix("note: ").strip()]


def test_settings_are_checked_too(cli, tiny_checkpoint, tmp_path):
    (tmp_path / "config.toml").write_text('profile = "tpu"\nweight_bits = 99\n')
    assert cli("check", tiny_checkpoint, "--config", tmp_path / "config.toml").is_error(4, "DS2TA-111", "DS2TA-111")
    (tmp_path / "config.toml").write_text("nonsense")
    assert cli("check", tiny_checkpoint, "--config", tmp_path / "config.toml").is_error(4, "DS2TA-111")


def test_what_is_no_checkpoint(cli, tmp_path):
    (tmp_path / "text").write_text("text")
    assert cli("check", tmp_path / "text").is_error(4, "DS2TA-101")
    assert cli("check", tmp_path / "nothing").is_error(4, "DS2TA-101")
    assert cli("check", tmp_path).is_error(4, "DS2TA-101")
    shown = cli("check", tmp_path / "nothing", "--json")
    assert (shown.code, shown.data["supported"]) == (4, False)


def test_without_pytorch_it_says_the_command(cli, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    shown = cli("check", tiny_checkpoint)
    assert shown.is_error(5, "DS2TA-401")
    (block,) = blocks_for("docs/start.md", __file__)
    assert shown.err == block.text
