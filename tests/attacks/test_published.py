"""Hostile checkpoints in the containers of other projects: the one class that is allowed in them gives nobody a way in."""

import argparse
import pickle

import pytest
from attack_files import Bomb, Nested, zipped

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

import collections
import types

import numpy as np
from published_files import arguments_of, state_of
from published_files import contained as in_container

READER = "checkpoint-published"


def saved(path, arguments, **more):
    """Write a container of timm's with these arguments."""
    torch.save(in_container("timm", state_of("statten"), arguments) | more, path)
    return path


def with_fields(**fields):
    return argparse.Namespace(**(vars(arguments_of("statten")) | fields))


class Fake(argparse.Namespace):
    """Looks like the class that is allowed."""


def test_what_is_allowed_is_read(tmp_path, contained):
    assert contained.read(READER, saved(tmp_path / "good", arguments_of("statten"))).kind == "accepted"
    nested = with_fields(inner=with_fields(inner=argparse.Namespace()), table={"a": [argparse.Namespace(b=1)]})
    assert contained.read(READER, saved(tmp_path / "nested", nested)).kind == "accepted"


@pytest.mark.parametrize("where", ["inside", "beside", "instead"])
def test_code_inside_the_namespace_never_runs(tmp_path, refused, where):
    for name, bomb in {"bomb": Bomb(tmp_path / "ran"), "nested": Nested(pickle.dumps(Bomb(tmp_path / "ran")))}.items():
        arguments = {"inside": with_fields(model=bomb), "beside": arguments_of("statten"), "instead": bomb}[where]
        refused(READER, saved(tmp_path / name, arguments, **({"metric": bomb} if where == "beside" else {})), "DS2TA-101")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "other",
    [
        Fake(a=1),
        types.SimpleNamespace(a=1),
        np.float64(91.5),
        np.zeros(2),
        collections.deque([1]),
        torch.nn.Linear(1, 1),
        print,
        argparse.ArgumentParser,
    ],
    ids=lambda other: type(other).__name__,
)
@pytest.mark.parametrize("inside", [True, False])
def test_no_other_class_is_allowed(tmp_path, refused, other, inside):
    arguments = with_fields(more=other) if inside else arguments_of("statten")
    refused(READER, saved(tmp_path / "file", arguments, **({} if inside else {"metric": other})), "DS2TA-101")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"time_steps": 1 << 2000}, "DS2TA-110"),
        ({"time_steps": 1 << 3_300_000}, "DS2TA-101"),  # PyTorch reads 255 bytes at most
        ({"img_size": [10**9] * 10**5}, "DS2TA-110"),
        ({"mean": [1e308 * 10]}, "DS2TA-110"),
        ({"mean": [[[[0.5]]]]}, "DS2TA-110"),
        ({"pooling_stat": "\ud8001"}, "DS2TA-110"),
        ({"pooling_stat": "\x1b[2J"}, "DS2TA-110"),
        ({"num_heads": 10**6}, "DS2TA-110"),
        ({"chunk_size": 0}, "DS2TA-110"),
        ({"chunk_size": 3}, "DS2TA-110"),
        ({"spike_mode": "\x1b[2J"}, "DS2TA-204"),
        ({"spike_mode": ["lif"] * 10}, "DS2TA-204"),
    ],
)
def test_values_that_cannot_be(tmp_path, refused, fields, code):
    found = refused(READER, saved(tmp_path / "file", with_fields(**fields)), code)
    assert len(found.words) < 2000


def test_a_namespace_whose_state_is_no_table(tmp_path, refused):
    """``BUILD`` with something else than a dictionary, a namespace called with arguments, a namespace as a key."""
    start, end = b"\x80\x02", b"."
    namespace = b"cargparse\nNamespace\n"
    for number, data in enumerate(
        [
            start + b"}X\x04\x00\x00\x00args" + namespace + b")\x81K\x01bs" + end,
            start + b"}X\x04\x00\x00\x00args" + namespace + b"K\x01\x85Rs" + end,
            start + b"}" + namespace + b")\x81K\x01s" + end,
            start + b"}X\x04\x00\x00\x00args" + namespace + b"s" + end,
        ]
    ):
        found = refused(READER, zipped(tmp_path / f"{number}.pt", data), *(["DS2TA-101"] if number < 3 else ["DS2TA-102"]))
        assert found.words


def test_a_namespace_that_holds_itself(tmp_path, contained):
    arguments = arguments_of("statten")
    arguments.time_steps, arguments.itself, arguments.mean = 4, arguments, [0.3]
    assert contained.read(READER, saved(tmp_path / "cycle", arguments)).kind == "accepted"
    arguments.mean = [arguments.mean]
    assert contained.read(READER, saved(tmp_path / "wrong", arguments)).codes == ("DS2TA-110",)


def test_attributes_that_shadow_methods_do_nothing(tmp_path, contained):
    arguments = arguments_of("statten")
    arguments.__dict__.update(__class__=1, __dict__={"time_steps": 9}, __eq__=2, __iter__=None, get=3, items=4)
    assert contained.read(READER, saved(tmp_path / "file", arguments)).kind == "accepted"


def test_tensors_for_names_without_end(tmp_path, refused):
    state = state_of("statten") | {f"block.{'9' * 4000}.attn.q_conv.weight": torch.zeros(1), "block.9999.x": torch.zeros(1)}
    torch.save(in_container("timm", state, arguments_of("statten")), tmp_path / "file")
    refused(READER, tmp_path / "file", "DS2TA-106")


def test_a_network_that_says_it_is_huge(tmp_path, refused):
    """Sizes are what tensors say; ones that cannot be are refused before anything is built."""
    state = state_of("statten")
    for name in state:
        if "_bn.weight" in name and ".attn." in name:
            state[name] = torch.zeros(60_000)
    torch.save(in_container("timm", state, arguments_of("statten")), tmp_path / "file")
    refused(READER, tmp_path / "file", "DS2TA-110")
