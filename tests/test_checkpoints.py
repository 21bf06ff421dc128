import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

import msgspec
import numpy as np
import safetensors.torch

from ds2ta_deploy import checkpoints
from ds2ta_deploy.checkpoints import load_checkpoint, save_checkpoint
from ds2ta_deploy.errors import Ds2taError, InputError, UnsupportedError

WEIGHT = "blocks.0.mlp.fc1.weight"


@pytest.fixture(scope="module")
def fields(tiny_config):
    """Return the config as plain values."""
    return msgspec.to_builtins(tiny_config)


@pytest.fixture(scope="module")
def content(tiny_model, tmp_path_factory) -> bytes:
    """Return a good safetensors checkpoint."""
    path = tmp_path_factory.mktemp("good") / "good.safetensors"
    save_checkpoint(tiny_model, path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def torch_content(tiny_model, fields) -> bytes:
    """Return a good PyTorch checkpoint."""
    return torch_file({"config": fields, "state_dict": tiny_model.state_dict()})


def torch_file(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def write(folder: Path, content: bytes, name: str = "checkpoint") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def problems_of(path, kind=InputError):
    """Return the problems that loading raises, each one line that names the file."""
    with pytest.raises(kind) as caught:
        load_checkpoint(path)
    problems = caught.value.problems
    assert len(str(caught.value).splitlines()) == len(problems)
    return problems


def code_of(path, kind=InputError):
    """Return the code of the single problem, which names the file."""
    (problem,) = problems_of(path, kind)
    assert problem.where.startswith(str(path)) or problem.where.startswith("config")
    return problem.code


def changed(folder, model, fields, changes, config=None):
    """Write a PyTorch checkpoint some of whose tensors are replaced (None: left out)."""
    state = {**model.state_dict(), **changes}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    return write(folder, torch_file({"config": fields if config is None else config, "state_dict": state}))


def assert_same_model(loaded, model):
    assert loaded.config == model.config
    assert not loaded.training
    assert loaded.quantization is None
    expected, actual = model.state_dict(), loaded.state_dict()
    assert list(expected) == list(actual)
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype
        assert torch.equal(actual[name], tensor), name


# --- good files ------------------------------------------------------------------------------------------------------


def test_a_model_comes_back_as_it_was_saved(tmp_path, tiny_model, content, tiny_inputs):
    loaded = load_checkpoint(write(tmp_path, content))
    assert_same_model(loaded, tiny_model)
    pixels = torch.from_numpy(tiny_inputs.copy())
    with torch.no_grad():
        assert torch.equal(loaded(pixels), tiny_model(pixels))


def test_a_path_may_be_a_string(tmp_path, tiny_model, content):
    assert_same_model(load_checkpoint(str(write(tmp_path, content))), tiny_model)


def test_a_model_in_training_is_saved_all_the_same_and_loaded_for_evaluation(tmp_path, tiny_config):
    from ds2ta_deploy.models.ds2ta import Ds2ta

    model = Ds2ta(tiny_config).train()
    save_checkpoint(model, tmp_path / "checkpoint")
    assert model.training
    assert_same_model(load_checkpoint(tmp_path / "checkpoint"), model)


def test_the_same_model_gives_the_same_bytes(tmp_path, tiny_model, content):
    for _ in range(12):  # a header of two entries is written in random order: this passes once in 2,048 then
        save_checkpoint(tiny_model, tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == content


def test_another_process_gives_the_same_bytes(tmp_path, content):
    here = write(tmp_path, content)
    program = "import sys, pathlib; from ds2ta_deploy.checkpoints import load_checkpoint, save_checkpoint; "
    program += "save_checkpoint(load_checkpoint(sys.argv[1]), pathlib.Path(sys.argv[2]))"
    subprocess.run([sys.executable, "-c", program, here, tmp_path / "there"], check=True, cwd=Path(checkpoints.__file__).parents[1])
    assert (tmp_path / "there").read_bytes() == content


def test_another_weight_gives_other_bytes(tmp_path, tiny_model, content):
    model = load_checkpoint(write(tmp_path, content))
    with torch.no_grad():
        model.get_parameter(WEIGHT)[0, 0] += 1
    save_checkpoint(model, tmp_path / "other")
    assert (tmp_path / "other").read_bytes() != content


def test_the_format_and_the_config_stand_in_the_header(content, tiny_config):
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header["__metadata__"]) == ["ds2ta-checkpoint/1"]
    assert msgspec.json.decode(header["__metadata__"]["ds2ta-checkpoint/1"], type=type(tiny_config)) == tiny_config


def test_a_pytorch_file_of_tensors_and_plain_values(tmp_path, tiny_model, torch_content):
    assert_same_model(load_checkpoint(write(tmp_path, torch_content)), tiny_model)


@pytest.mark.parametrize("name", ["checkpoint.pt", "checkpoint.safetensors"])
def test_what_a_file_is_does_not_depend_on_its_name(tmp_path, tiny_model, content, torch_content, name):
    assert_same_model(load_checkpoint(write(tmp_path, content, name)), tiny_model)
    assert_same_model(load_checkpoint(write(tmp_path, torch_content, name)), tiny_model)


def test_other_floating_point_types_are_converted(tmp_path, tiny_model, fields):
    weight = tiny_model.state_dict()[WEIGHT]
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        loaded = load_checkpoint(changed(tmp_path, tiny_model, fields, {WEIGHT: weight.to(kind)}))
        assert loaded.state_dict()[WEIGHT].dtype == torch.float32
        assert torch.equal(loaded.state_dict()[WEIGHT], weight.to(kind).float())


# --- files that are no checkpoints -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"P",
        b"PK\x03\x04",
        b"PK\x03\x04" + bytes(100),
        bytes(100),
        b"\xff" * 100,
        b"not a checkpoint",
        b"{}",
        b"\x02" + bytes(7) + b"[]",
    ],
)
def test_garbage_is_refused(tmp_path, garbage):
    assert code_of(write(tmp_path, garbage)) == "DS2TA-101"


def test_a_safetensors_file_without_a_config_is_refused(tmp_path):
    path = tmp_path / "checkpoint"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path)
    assert code_of(path) == "DS2TA-102"
    assert code_of(write(tmp_path, b"\x02" + bytes(7) + b"{}")) == "DS2TA-102"


def test_a_directory_and_nothing_are_refused(tmp_path):
    assert code_of(tmp_path) == "DS2TA-101"
    assert code_of(tmp_path / "nothing") == "DS2TA-101"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.sampled_from([b"", b"PK\x03\x04", b"\x10" + bytes(7), b"\x80\x02", b"\x02" + bytes(7) + b"{}"]), st.binary(max_size=200))
def test_random_bytes_are_refused(tmp_path, start, rest):
    with pytest.raises(InputError) as caught:
        load_checkpoint(write(tmp_path, start + rest))
    assert [problem.code for problem in caught.value.problems] in (["DS2TA-101"], ["DS2TA-102"])


def lengths(total: int) -> list[int]:
    """Return many lengths to cut a file at: every one near its ends, some between."""
    return sorted({*range(24), *range(24, total, max(1, total // 60)), *range(total - 24, total)})


def test_a_safetensors_file_cut_anywhere_is_refused(tmp_path, content):
    for length in lengths(len(content)):
        assert code_of(write(tmp_path, content[:length])) == "DS2TA-101", length


def test_a_pytorch_file_cut_anywhere_is_refused(tmp_path, torch_content):
    for length in lengths(len(torch_content)):
        assert code_of(write(tmp_path, torch_content[:length])) == "DS2TA-101", length


def test_a_file_with_more_bytes_than_announced_is_refused(tmp_path, content):
    assert code_of(write(tmp_path, content + b"\0")) == "DS2TA-101"


def test_a_header_with_changed_bytes_is_read_or_refused_never_a_traceback(tmp_path, content, tiny_model):
    random = np.random.default_rng(1)
    end = 8 + int.from_bytes(content[:8], "little")
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        damaged[random.integers(0, end)] = random.integers(32, 127)
        try:
            load_checkpoint(write(tmp_path, bytes(damaged)))
        except Ds2taError as error:
            refused += 1
            assert str(error).startswith("DS2TA-")
    assert refused > 75


def test_a_zip_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "checkpoint"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1, 2]))
    assert code_of(path) == "DS2TA-101"


# --- wrong contents --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [[1, 2], {"config": {}}, {"state_dict": {}}, {"config": {}, "state_dict": [1]}, torch.zeros(2)],
    ids=lambda content: type(content).__name__,
)
def test_a_pytorch_file_of_something_else_is_refused(tmp_path, content):
    assert code_of(write(tmp_path, torch_file(content))) == "DS2TA-102"


def test_every_missing_unexpected_and_misshaped_tensor_is_named_at_once(tmp_path, tiny_model, fields):
    state = tiny_model.state_dict()
    changes = {
        "head.bias": None,
        "patch.stages.1.weight": None,
        "head.scale": torch.zeros(3),
        "blocks.9.attn.q.weight": torch.zeros(2, 2),
        "head.weight": state["head.weight"].T.contiguous(),
        "blocks.0.attn.denoiser.u": torch.zeros(1),
        "blocks.0.mlp.fc2.weight": state["blocks.0.mlp.fc2.weight"].to(torch.int32),
        "blocks.0.mlp.fc2.norm.weight": state["blocks.0.mlp.fc2.norm.weight"] * float("nan"),
    }
    path = changed(tmp_path, tiny_model, fields, changes)
    problems = problems_of(path)
    assert {(problem.code, problem.where) for problem in problems} == {
        ("DS2TA-105", f"{path}: head.bias"),
        ("DS2TA-105", f"{path}: patch.stages.1.weight"),
        ("DS2TA-106", f"{path}: head.scale"),
        ("DS2TA-106", f"{path}: blocks.9.attn.q.weight"),
        ("DS2TA-107", f"{path}: head.weight"),
        ("DS2TA-107", f"{path}: blocks.0.attn.denoiser.u"),
        ("DS2TA-107", f"{path}: blocks.0.mlp.fc2.weight"),
        ("DS2TA-103", f"{path}: blocks.0.mlp.fc2.norm.weight"),
    }
    assert len(problems) == len(changes)
    shape = next(problem.what for problem in problems if problem.where.endswith("head.weight"))
    assert "(32, 5)" in shape
    assert "(5, 32)" in shape


def test_every_tensor_of_an_empty_checkpoint_is_missing(tmp_path, tiny_model, fields):
    problems = problems_of(write(tmp_path, torch_file({"config": fields, "state_dict": {}})))
    assert [problem.code for problem in problems] == ["DS2TA-105"] * len(tiny_model.state_dict())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_value_that_is_not_finite_is_found(tmp_path, tiny_model, fields, value):
    weight = tiny_model.state_dict()[WEIGHT].clone()
    weight[-1, -1] = value
    path = changed(tmp_path, tiny_model, fields, {WEIGHT: weight})
    (problem,) = problems_of(path)
    assert problem.code == "DS2TA-103"
    assert WEIGHT in problem.where


def test_a_double_that_becomes_infinite_in_single_precision_is_found(tmp_path, tiny_model, fields):
    weight = tiny_model.state_dict()[WEIGHT].double()
    weight[0, 0] = 1e300
    assert code_of(changed(tmp_path, tiny_model, fields, {WEIGHT: weight})) == "DS2TA-103"


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.bool, torch.complex64])
def test_a_weight_of_another_kind_of_number_is_refused(tmp_path, tiny_model, fields, kind):
    weight = tiny_model.state_dict()[WEIGHT].to(kind)
    (problem,) = problems_of(changed(tmp_path, tiny_model, fields, {WEIGHT: weight}))
    assert problem.code == "DS2TA-107"
    assert str(kind) in problem.what


def test_a_float_where_an_integer_belongs_is_refused(tmp_path, tiny_model, fields):
    name = "patch.position.norm.num_batches_tracked"
    assert code_of(changed(tmp_path, tiny_model, fields, {name: torch.tensor(1.0)})) == "DS2TA-107"


@pytest.mark.parametrize("form", ["sparse", "meta", "number", "list"])
def test_what_is_no_dense_tensor_in_memory_is_refused(tmp_path, tiny_model, fields, form):
    weight = tiny_model.state_dict()[WEIGHT]
    value = {"sparse": weight.to_sparse(), "meta": weight.to("meta"), "number": 3, "list": [weight]}[form]
    (problem,) = problems_of(changed(tmp_path, tiny_model, fields, {WEIGHT: value}))
    assert problem.code == "DS2TA-106"
    assert WEIGHT in problem.where


# --- wrong configs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["spikeformer", "", None, 3, ["ds2ta"]])
def test_an_unknown_family_is_unsupported(tmp_path, tiny_model, fields, family):
    path = changed(tmp_path, tiny_model, fields, {}, {**fields, "family": family})
    (problem,) = problems_of(path, UnsupportedError)
    assert problem.code == "DS2TA-201"
    assert (repr(family) if isinstance(family, str) else type(family).__name__) in problem.what
    assert "ds2ta" in problem.mend


@pytest.mark.parametrize("config", [None, [], "ds2ta", 3])
def test_a_config_that_is_no_table_is_refused(tmp_path, tiny_model, fields, config):
    path = write(tmp_path, torch_file({"config": config, "state_dict": tiny_model.state_dict()}))
    assert code_of(path) == "DS2TA-102"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("embed_dim", "32"),
        ("embed_dim", 31),
        ("embed_dim", 2**40),
        ("embed_dim", 2**70),
        ("num_classes", 2**40),
        ("depth", 10**9),
        ("depth", 0),
        ("num_heads", 5),
        ("num_heads", -4),
        ("mlp_ratio", 1.5),
        ("pool_stages", "012"),
        ("pool_stages", 1010),
        ("input_kind", "video"),
        ("threshold", 0.0),
        ("threshold", float("nan")),
        ("threshold", float("inf")),
        ("attention_scale", float("inf")),
        ("membrane_time_constant", 1.0),
        ("membrane_time_constant", float("inf")),
        ("pixel_mean", [float("nan")]),
        ("pixel_std", [0.0]),
        ("pixel_std", [0.5, 0.5]),
        ("decay_input", 1),
        ("surprise", 1),
    ],
)
def test_a_bad_field_of_the_config_is_named(tmp_path, tiny_model, fields, field, value):
    path = changed(tmp_path, tiny_model, fields, {}, {**fields, field: value})
    problems = problems_of(path)
    assert {problem.code for problem in problems} == {"DS2TA-110"}
    assert any(field in f"{problem.where} {problem.what}" for problem in problems)


def test_a_missing_field_of_the_config_is_named(tmp_path, tiny_model, fields):
    config = {name: value for name, value in fields.items() if name != "time_steps"}
    (problem,) = problems_of(changed(tmp_path, tiny_model, fields, {}, config))
    assert problem.code == "DS2TA-110"
    assert "time_steps" in problem.what


def test_a_config_with_other_keys_than_names_is_refused(tmp_path, tiny_model, fields):
    assert code_of(changed(tmp_path, tiny_model, fields, {}, {**fields, 3: 4})) == "DS2TA-110"


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"family": "ds2ta"'])
def test_a_header_config_that_is_no_json_is_refused(tmp_path, tiny_model, text):
    path = tmp_path / "checkpoint"
    safetensors.torch.save_file(tiny_model.state_dict(), path, {"ds2ta-checkpoint/1": text})
    assert code_of(path) == "DS2TA-102"


def test_a_config_for_another_size_misses_and_misfits_tensors(tmp_path, tiny_model, fields):
    path = changed(tmp_path, tiny_model, fields, {}, {**fields, "depth": 2, "num_classes": 6})
    codes = [problem.code for problem in problems_of(path)]
    assert codes.count("DS2TA-107") == 2  # head.weight, head.bias
    assert codes.count("DS2TA-105") == sum(name.startswith("blocks.0.") for name in tiny_model.state_dict())
    assert len(codes) == codes.count("DS2TA-107") + codes.count("DS2TA-105")
