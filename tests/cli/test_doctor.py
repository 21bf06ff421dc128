import re
from importlib import metadata

import pytest

from ds2ta_deploy import lava_setup
from ds2ta_deploy.cli import doctor
from ds2ta_deploy.runtimes.native import library


def required(*, extras_only=False):
    """Return what the package's metadata require, or what the extras that users want do: name -> oldest version."""
    found = {}
    for requirement in metadata.requires("ds2ta-deploy"):
        if any(f'extra == "{extra}"' in requirement for extra in doctor._EXTRAS) or not (extras_only or ";" in requirement):
            oldest = re.search(r">=([0-9.]+)", requirement)
            found[re.match(r"[A-Za-z0-9._-]+", requirement)[0]] = oldest[1] if oldest else None
    return found


@pytest.fixture
def installed(monkeypatch):
    """Return a function that makes versions of distributions differ from what is installed; None is missing."""
    honest = metadata.version

    def pretend(**versions):
        def version(name):
            if name not in versions:
                return honest(name)
            if versions[name] is None:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(metadata, "version", version)
        monkeypatch.setattr(lava_setup, "status", lambda: (None, "not tried"))

    return pretend


def test_this_installation_is_sound(cli):
    shown = cli("doctor")
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert re.match(r"Python 3\.\d+\.\d+ on \S+, \d+ cores", lines[0])
    assert [line.split()[0] for line in lines[1:]] == [*required(), "native", "C", "lava-nc"]


def test_json(cli):
    data = cli("doctor", "--json").data
    assert [entry["name"] for entry in data["distributions"]] == list(required())
    assert {entry["name"] for entry in data["distributions"] if entry["optional"]} == set(required(extras_only=True)) >= {"torch"}
    numpy = next(entry for entry in data["distributions"] if entry["name"] == "numpy")
    assert (numpy["version"], numpy["remark"]) == (metadata.version("numpy"), "ok")


def test_a_missing_dependency_is_exit_code_five_with_the_command(cli, installed):
    installed(onnx=None, rich=None)
    shown = cli("doctor")
    assert shown.code == 5
    assert shown.err.splitlines() == [
        "error DS2TA-402 [onnx]: a required dependency is not installed (pip install onnx)",
        "error DS2TA-402 [rich]: a required dependency is not installed (pip install rich)",
    ]
    assert "not installed" in shown.out


def test_pytorch_is_optional(cli, installed):
    installed(torch=None)
    shown = cli("doctor")
    assert (shown.code, shown.err) == (0, "")
    assert "optional: pip install 'ds2ta-deploy[torch]'" in shown.out


@pytest.mark.parametrize("name", [name for name, oldest in required().items() if oldest])
def test_what_is_older_than_the_metadata_ask_for_is_told(cli, installed, name):
    oldest = required()[name]
    first, second = (*map(int, oldest.split(".")), 0)[:2]
    older = f"{first}.{second - 1}.9" if second else f"{first - 1}.99.9"
    for version, remark in ((older, f"older than {oldest}, the oldest supported"), (oldest, "ok"), (f"{first + 1}.0.0+cpu", "ok")):
        installed(**{name: version})
        entry = next(entry for entry in cli("doctor", "--json").data["distributions"] if entry["name"] == name)
        assert (entry["version"], entry["remark"]) == (version, remark)


@pytest.mark.parametrize(
    ("version", "numbers"), [("2.13.0+cpu", (2, 13, 0)), ("1.20.1", (1, 20, 1)), ("0.5", (0, 5)), ("9.0rc1", (9, 0, 1)), ("3.dev1", (3, 1))]
)
def test_versions_are_compared_by_their_numbers(version, numbers):
    assert doctor._release(version) == numbers


def test_without_the_native_library_it_is_said(cli, monkeypatch):
    monkeypatch.setattr(library, "library_path", lambda: None)
    library.load.cache_clear()
    data = cli("doctor", "--json").data
    library.load.cache_clear()
    assert data["native"]["instruction_set"] is None
    assert "was not built" in data["native"]["remark"]
    assert "C compiler" in data["native"]["remark"]


def test_the_compiler_is_named(cli, monkeypatch, tmp_path):
    path = tmp_path / "cc"
    path.write_text("#!/bin/sh\necho 'cc (Some System 9-3) 14.2.1 20260101'\n")
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))
    assert cli("doctor", "--json").data["compiler"] == {"path": str(path), "version": "14.2.1", "remark": str(path)}
    assert f"C compiler    14.2.1          {path}\n" in cli("doctor").out


@pytest.mark.parametrize(("text", "said"), [(None, "apt-get install gcc"), ("#!/bin/sh\nexit 1\n", "does not say its version")])
def test_a_compiler_that_is_not_there_or_does_not_work_is_said(cli, monkeypatch, tmp_path, text, said):
    path = tmp_path / "cc"
    if text is not None:
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))
    compiler = cli("doctor", "--json").data["compiler"]
    assert compiler["version"] is None
    assert said in compiler["remark"]
    assert "C compiler    not found" in cli("doctor").out
