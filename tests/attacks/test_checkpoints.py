"""Checkpoints that want to run code, fill the memory, or never end."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import builders
import pytest
from attack_files import Bomb, Nested, zipped

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

import msgspec
import safetensors.torch

from ds2ta_deploy.checkpoints import HEADER_KEY
from ds2ta_deploy.models.ds2ta import Ds2ta

TENSOR = "blocks.0.mlp.fc1.weight"


@pytest.fixture
def content(good):
    """Return what a good PyTorch checkpoint holds."""
    return torch.load(good("checkpoint-torch"), weights_only=True)


# --- code ------------------------------------------------------------------------------------------------------------


def torch_file(value, **options) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def bombs(sign: Path, content) -> dict[str, bytes]:
    """Return files that create ``sign`` where code in them is run."""
    bomb = Bomb(sign)
    inside_zip = io.BytesIO()
    with zipfile.ZipFile(inside_zip, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(bomb, 2))
        archive.writestr("archive/version", "3\n")
    return {
        "pickle": pickle.dumps(bomb),
        "nested pickle": pickle.dumps(Nested(pickle.dumps(bomb))),
        "pickle in a zip": inside_zip.getvalue(),
        "beside the tensors": torch_file({**content, "more": bomb}),
        "nested beside the tensors": torch_file({**content, "more": Nested(pickle.dumps(bomb))}),
        "as a tensor": torch_file({**content, "state_dict": {**content["state_dict"], "head.weight": bomb}}),
        "as the config": torch_file({**content, "config": bomb}),
        "the whole": torch_file(bomb),
        "the old container": torch_file({**content, "more": bomb}, _use_new_zipfile_serialization=False),
    }


def test_pickled_code_never_runs(tmp_path, refused, content):
    sign = tmp_path / "ran"
    pickle.loads(pickle.dumps(Nested(pickle.dumps(Bomb(sign)))))  # noqa: S301 - shows that the bombs work
    assert sign.exists()
    sign.unlink()
    for name, bomb in bombs(sign, content).items():
        for suffix in (".pt", ".pth", ".safetensors"):
            path = tmp_path / f"{name}{suffix}"
            path.write_bytes(bomb)
            refused("checkpoint", path, "DS2TA-101")
    assert not sign.exists()


# --- memory and time -------------------------------------------------------------------------------------------------


def test_a_zip_bomb(tmp_path, refused, content):
    good = torch_file(content)
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(io.BytesIO(good)) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            if member.filename.endswith("data/0"):
                with target.open(member.filename, "w", force_zip64=True) as file:
                    for _ in range(256):
                        file.write(bytes(2**20))  # a gigabyte would do the same and take longer to make
            else:
                target.writestr(member.filename, source.read(member))
    assert path.stat().st_size < 2**20
    refused("checkpoint", path, "DS2TA-108")


def test_members_that_all_lie_in_the_same_place(tmp_path, refused):
    path = zipped(tmp_path / "overlap.pt", b"\x80\x02}.", data_0=bytes(2**20))
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entries = data[directory:end]
    kernel = entries[entries.rindex(b"PK\x01\x02") :]
    count = 2000
    copies = b"".join(bytes(kernel).replace(b"data_0", b"d%05d" % number) for number in range(count))
    size, total = len(entries) + len(copies), 4 + count
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, total, total, size, directory, 0)
    path.write_bytes(bytes(data[:end]) + copies + tail)
    assert len(zipfile.ZipFile(path).namelist()) == total
    refused("checkpoint", path, "DS2TA-108")


def test_a_pickle_of_a_few_hundred_bytes_whose_key_takes_years_to_hash(tmp_path, refused):
    depth = 30  # each tuple holds the one before ten times
    steps = b"".join((b"h" + bytes([number])) * 9 + b"tq" + bytes([number + 1]) for number in range(1, depth + 1))
    path = zipped(tmp_path / "laughs.pt", b"\x80\x02}" + b"(" * depth + b")q\x01" + steps + b"K\x01s.")
    assert path.stat().st_size < 2000
    refused("checkpoint", path, "DS2TA-108")


@pytest.mark.parametrize(("where", "code"), [("family", "DS2TA-201"), ("key", "DS2TA-106"), ("field", "DS2TA-110")])
def test_shared_lists_that_take_years_to_print(tmp_path, refused, content, where, code):
    laughs: list = ["ha"]
    for _ in range(40):
        laughs = [laughs] * 10
    changed = {
        "family": {**content, "config": {**content["config"], "family": laughs}},
        "field": {**content, "config": {**content["config"], "pixel_mean": laughs}},
        "key": {**content, "state_dict": {**content["state_dict"], "more": laughs}},
    }[where]
    path = tmp_path / "laughs.pt"
    torch.save(changed, path)
    refused("checkpoint", path, code)


def test_one_element_that_poses_as_a_huge_network(tmp_path, refused):
    config = builders.tiny_config(embed_dim=2048, depth=16)
    with torch.device("meta"):
        shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in Ds2ta(config).state_dict().items()}
    state = {name: torch.zeros((), dtype=kind).expand(shape) for name, (shape, kind) in shapes.items()}
    path = tmp_path / "expanded.pt"
    torch.save({"config": msgspec.to_builtins(config), "state_dict": state}, path)
    assert path.stat().st_size < 2**18
    refused("checkpoint", path, "DS2TA-108")


def test_a_config_that_asks_for_the_largest_network_there_is(tmp_path, refused, content):
    config = {**content["config"], "embed_dim": 8192, "depth": 128, "num_heads": 256, "mlp_ratio": 16, "image_height": 4096}
    path = tmp_path / "huge.pt"
    torch.save({**content, "config": config}, path)
    refused("checkpoint", path, "DS2TA-105", "DS2TA-107")


@pytest.mark.parametrize("field", ["time_steps", "threshold", "depth", "pixel_mean", "initial_decay", "membrane_time_constant"])
@pytest.mark.parametrize(("bits", "code"), [(2000, "DS2TA-110"), (3_300_000, "DS2TA-101")])  # PyTorch reads 255 bytes at most
def test_an_integer_of_up_to_a_million_digits(tmp_path, refused, content, field, bits, code):
    path = tmp_path / "digits.pt"
    torch.save({**content, "config": {**content["config"], field: (1 << bits)}}, path)
    refused("checkpoint", path, code)


@pytest.mark.parametrize("field", ["pool_stages", "input_kind", "surprise"])
def test_half_a_surrogate_pair_in_a_pickle(tmp_path, refused, content, field):
    path = tmp_path / "surrogate.pt"
    torch.save({**content, "config": {**content["config"], field: "\ud800"}}, path)
    refused("checkpoint", path, "DS2TA-110")


@pytest.mark.parametrize("text", ["1" * 1_000_000, "1e999999", "-1e999999", "NaN", "Infinity", '"\\ud800"', "[" * 100_000])
@pytest.mark.parametrize("field", ["time_steps", "threshold", "pool_stages"])
def test_json_that_python_chokes_on(tmp_path, good, refused, field, text):
    tensors = safetensors.torch.load_file(good("checkpoint"))
    fields = json.dumps(msgspec.to_builtins(builders.tiny_config()) | {field: "HERE"}).replace('"HERE"', text)
    path = tmp_path / "json.safetensors"
    safetensors.torch.save_file(tensors, path, {HEADER_KEY: fields})
    found = refused("checkpoint", path, "DS2TA-102")
    assert len(found.words) < 5_000


def header(path: Path, text: bytes, data: bytes = b"", length: int | None = None) -> Path:
    """Write a safetensors file from its raw parts."""
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


F32 = '"dtype":"F32","shape":[2],"data_offsets"'
LYING = {
    "huge length": (b"{}", b"", 2**63),
    "length of all memory": (b"{}", b"", 2**40),
    "length just beyond": (b"{}", b"", 3),
    "overlapping": (f'{{"a":{{{F32}:[0,8]}},"b":{{{F32}:[4,12]}}}}'.encode(), bytes(12), None),
    "same bytes twice": (f'{{"a":{{{F32}:[0,8]}},"b":{{{F32}:[0,8]}}}}'.encode(), bytes(8), None),
    "a hole": (f'{{"a":{{{F32}:[0,8]}},"b":{{{F32}:[16,24]}}}}'.encode(), bytes(24), None),
    "backwards": (f'{{"a":{{{F32}:[8,0]}}}}'.encode(), bytes(8), None),
    "negative": (f'{{"a":{{{F32}:[-8,0]}}}}'.encode(), bytes(8), None),
    "beyond the end": (f'{{"a":{{{F32}:[0,800]}}}}'.encode(), bytes(8), None),
    "shape and bytes disagree": (b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}', bytes(8), None),
    "shape overflows": (b'{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}}', bytes(8), None),
    "unknown type": (b'{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}', bytes(8), None),
    "deep JSON": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b"", None),
    "not UTF-8": (b'{"\xff\xfe":1}', b"", None),
    "metadata of another kind": (b'{"__metadata__":{"a":[1]}}', b"", None),
}


@pytest.mark.parametrize("how", LYING)
@pytest.mark.parametrize(("reader", "code"), [("checkpoint", "DS2TA-101"), ("graph", "DS2TA-140")])
def test_a_safetensors_header_that_lies(tmp_path, refused, how, reader, code):
    refused(reader, header(tmp_path / "lying.safetensors", *LYING[how]), code)


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_no_number(tmp_path, good, refused, value):
    source, path = good("checkpoint"), tmp_path / "nan.safetensors"
    tensors = safetensors.torch.load_file(source)
    tensors[TENSOR][0, 0] = value
    with safetensors.safe_open(source, framework="pt") as file:
        safetensors.torch.save_file(tensors, path, file.metadata())
    refused("checkpoint", path, "DS2TA-103")


@pytest.mark.parametrize("value", [1e-45, -1e-45, 3.4e38, -3.4e38, 1e-38])
@pytest.mark.parametrize("suffix", ["weight", "norm.weight", "norm.running_var", "norm.bias", "denoiser.a", "decay"])
def test_numbers_at_the_ends_of_their_type(tmp_path, good, contained, value, suffix):
    path = good("checkpoint")
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    hit = [name for name in tensors if name.endswith(suffix)]
    for name in hit:
        tensors[name] = torch.full_like(tensors[name], value)
    safetensors.torch.save_file(tensors, path, metadata)
    assert contained.read("checkpoint", path).kind in ("refused", "accepted")
