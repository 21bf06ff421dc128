import importlib.util

from support import NATIVE, ONNX_NATIVE

from ds2ta_deploy.runtimes.table import RUNTIMES
from ds2ta_deploy.targets import TARGETS


def test_targets_and_runtimes_are_listed(cli):
    shown = cli("targets")
    assert (shown.code, shown.err) == (0, "")
    for name in (*TARGETS, *RUNTIMES):
        assert name in shown.out
    assert "yes" in shown.out


def test_json(cli):
    shown = cli("targets", "--json")
    assert (shown.code, shown.err) == (0, "")
    assert [(target["name"], target["about"]) for target in shown.data["targets"]] == [
        (target.name, target.about) for target in TARGETS.values()
    ]
    for target in shown.data["targets"]:
        assert target["missing"] == [name for name in TARGETS[target["name"]].verify_with if not RUNTIMES[name].available]
    assert [runtime["name"] for runtime in shown.data["runtimes"]] == list(RUNTIMES)
    for runtime in shown.data["runtimes"]:
        assert runtime["available"] == RUNTIMES[runtime["name"]].available
        assert runtime["about"] == RUNTIMES[runtime["name"]].about


def test_what_is_not_installed_comes_with_the_command(cli, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name in ("torch", "lava") else found(name, package))
    text = cli("targets").out
    assert "ds2ta-deploy[torch]" in text.replace("\n", "")
    available = {runtime["name"]: runtime["available"] for runtime in cli("targets", "--json").data["runtimes"]}
    assert available == {
        "reference": True,
        "torch": False,
        "onnxruntime": True,
        "onnx-reference": True,
        "native": bool(NATIVE),
        "onnxruntime-native": bool(ONNX_NATIVE),
        "c": True,
        "lava": False,
        "lava-stepper": True,
    }


def test_a_target_whose_runtime_is_missing_cannot_be_verified_here(cli, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name == "lava" else found(name, package))
    missing = {target["name"]: target["missing"] for target in cli("targets", "--json").data["targets"]}
    assert missing["onnx"] == []
    assert missing["lava"] == missing["all"] == ["lava"]
    monkeypatch.setenv("COLUMNS", "160")
    shown = cli("targets").out
    assert shown.count("no: needs lava, see below") == 2
    assert shown.index("no: needs lava") < shown.index("ds2ta lava install")


def test_a_narrow_terminal_is_no_error(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    assert cli("targets").code == 0
