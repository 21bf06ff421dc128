"""Limits, defaults and versions that the pages name are those of the code."""

import json
import re
from pathlib import Path

import click
from fuzz.contained import MEMORY

from ds2ta_deploy.cli.jobs import AnalyzeJob, EvalJob, VerifyJob
from ds2ta_deploy.cli.main import group
from ds2ta_deploy.events import aedat4, aedat4_worker
from ds2ta_deploy.events.frames import MOST_EVENTS
from ds2ta_deploy.lava_setup import RELEASE
from ds2ta_deploy.reading import FREE_EXPANSION, MOST_EXPANSION
from ds2ta_deploy.runtimes.lava_process import START_SECONDS, STEP_SECONDS
from ds2ta_deploy.runtimes.onnx_structure import MOST_NODES

ROOT = Path(__file__).parents[2]


def test_limits(figures):
    assert (aedat4._BYTES_A_SECOND, aedat4_worker._SPACE_A_BYTE) == (2**20, 4)  # "1 s a MiB", "four times the file"
    figures.check(
        "limits",
        expansion=FREE_EXPANSION // 2**20,
        times=MOST_EXPANSION,
        nodes=MOST_NODES,
        events=MOST_EVENTS,
        unpacking=aedat4._SECONDS,
        space=aedat4_worker._SPACE // 2**30,
        start=START_SECONDS,
        step=STEP_SECONDS,
    )
    figures.check("limits of the fuzzer", memory=MEMORY // 2**30)


def default(command, option):
    """Return what an option is when nobody says it."""
    found = group.get_command(click.Context(group), command)
    return next(parameter.default for parameter in found.params if parameter.name == option)


def test_defaults(figures):
    figures.check(
        "defaults",
        bits=default("bits", "samples"),
        analyze=default("analyze", "samples"),
        evaluated=EvalJob.shard_samples,
        verified=VerifyJob.shard_samples,
        analyzed=AnalyzeJob.shard_samples,
    )


def test_versions(figures):
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    web = json.loads((ROOT / "tests" / "portability" / "package.json").read_text())["dependencies"]["onnxruntime-web"]
    assert f"lava-nc=={pins['lava-nc']}" == RELEASE
    figures.check("versions", ort=pins["onnxruntime"], onnx=pins["onnx"], openvino=pins["openvino"], lava=pins["lava-nc"], web=web)
