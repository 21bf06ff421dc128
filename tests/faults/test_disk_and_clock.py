"""A disk that is full, read-only or broken at any step of an export, and a clock that jumps."""

import errno
import io
import os
import time
from itertools import count
from pathlib import Path

import pytest
from support import files_of, frozen, names_in, some_manifest

from ds2ta_deploy import staging
from ds2ta_deploy.artifact import GRAPH, MODEL, Artifact
from ds2ta_deploy.errors import UsageError
from ds2ta_deploy.exporting import export

FILES = {GRAPH: b"a graph", MODEL: b"a model", "vectors/inputs.npz": b"inputs"}

#: Where each call that changes the disk is looked up.
CALLS = {"fsync": (os, "fsync"), "rename": (os, "rename"), "mkdir": (os, "mkdir"), "chmod": (os, "chmod"), "open": (io, "open")}


def write(out: Path, **options) -> None:
    with staging.stage(out) as staged:
        staged.write(FILES)
        staged.commit(some_manifest(), **options)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("call", CALLS)
def test_whichever_call_fails_it_is_one_error_and_leaves_nothing(tmp_path, monkeypatch, call, number):
    owner, name = CALLS[call]
    honest, refused = getattr(owner, name), 0
    for failing in count(1):
        made = [0]

        def spoiled(*arguments, failing=failing, made=made, **options):
            if call != "open" or "w" in str(arguments[1:2]):
                made[0] += 1
                if made[0] == failing:
                    raise OSError(number, os.strerror(number))
            return honest(*arguments, **options)

        out = tmp_path / str(failing) / "out"
        out.parent.mkdir()
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, spoiled)
            try:
                write(out)
            except UsageError as error:
                refused += 1
                assert error.problems[0].code == "DS2TA-502"
                assert os.strerror(number) in str(error)
        if out.exists():  # the call did not matter, or it was the last one: after the rename, to make the name last
            assert Artifact.open(out).read(GRAPH) == FILES[GRAPH]
            assert names_in(out.parent) == ["out"]
        else:
            assert names_in(out.parent) == []
        if made[0] < failing:
            break  # there are no more calls to fail
    assert refused >= 1


def test_a_directory_that_nobody_can_write_to():
    for folder in ("/proc/self", "/sys"):
        with pytest.raises(UsageError, match="DS2TA-502"):
            write(Path(folder) / "ds2ta" / "out")


def test_the_clock_may_jump_and_run_backwards(tmp_path, small_graph, small_inputs, monkeypatch):
    graph = frozen(small_graph)
    export(graph, "onnx", tmp_path / "honest", inputs=small_inputs)
    for name, start in (("past", 1.0), ("future", 7e9)):
        moments = count(start, -86_400.5)
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda moments=moments: abs(next(moments)))
            patched.setattr(time, "time_ns", lambda moments=moments: int(abs(next(moments)) * 1e9))
            patched.setattr(time, "localtime", lambda *_: time.gmtime(0))
            export(graph, "onnx", tmp_path / name, inputs=small_inputs)
        assert files_of(tmp_path / name) == files_of(tmp_path / "honest")
