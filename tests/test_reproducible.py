"""A graph and the versions in ``constraints.txt`` give the same artifact, byte for byte, on Python 3.11, 3.12 and 3.13."""

import hashlib

import pytest
from builders import build_small_graph, small_inputs
from support import files_of, frozen, read_manifest

from ds2ta_deploy.artifact import MANIFEST, encode_json
from ds2ta_deploy.exporting import export

#: SHA-256 of every file. They change when the exporter, the report or a writer's version does, and never with Python's.
EXPECTED: dict[str, dict[str, str]] = {
    "images": {
        "graph.safetensors": "59d8d64e9ba155122138c6a621cdddcfc722ad86822d918f1315663fcb6cc8b3",
        "manifest.json": "cd9d31a882fc338788b1408b5d7284c05b7a8a0242b7bb00491bf0c48ed31c7b",
        "model.onnx": "79995989c6c2eae05e210ba8eb85b7ba0b94b8d3287f80ac6d6ed645c2239493",
        "report.json": "ee85063936ee886387eaf7c94aa4996900f7e022152a37016e5397ddb6b72705",
        "vectors/expected.npz": "2bdd089ad37ff3496ff14ba67bf21e771a0b1e1f0c49d54f11debcbdd5346837",
        "vectors/hashes.json": "414a5f10cac9e756a0e4f49d025803531ac74e07d550a3a30a65eff2fb87d9cb",
        "vectors/inputs.npz": "2b7d5fbe75be7b4c58157d87a08384f7a604e0ee2f509a954ea67750753c71d8",
    },
    "frames, inlined": {
        "graph.safetensors": "a8879556013ecefded3f95a8ce09c7e324b4d3b577724d20b8a1473624c61874",
        "manifest.json": "3d156138870727bb509a9d5a5c486239878450f28ae8aabca7ce539ce7fc7c02",
        "model.onnx": "097120d3d17baaf75cf29b3ece2437da2813603507a038c0ceb7e85b37fc780f",
        "report.json": "f186b1b0f392d2bd52012d78dec90c911e8ea53a40d402163bbf229d6635da65",
        "vectors/expected.npz": "0d5ca4ca5dabc66881a546e571c6acd9312e7d1b10327e655dfeec058cf098db",
        "vectors/hashes.json": "91b5d20c6bdc1cdc466403a125bd0f68fc84316c6c31ab358bc08b99c56e7805",
        "vectors/inputs.npz": "f01eb21f57df5ec9bdd35dc788d0eeb2ed7a57b267d14568c76629744e796755",
    },
}


def hashes(out, *, still, inline) -> dict[str, str]:
    """Export a graph made by hand and return the hash of every file; of the manifest without what differs by installation."""
    export(frozen(build_small_graph(still=still)), "onnx", out, inputs=small_inputs(still=still), inline=inline)
    manifest = {name: value for name, value in read_manifest(out).items() if name not in ("versions", "seal")}
    files = files_of(out) | {MANIFEST: encode_json(manifest)}
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}


@pytest.mark.parametrize("form", ["images", "frames, inlined"])
def test_every_python_writes_the_same_bytes(tmp_path, form):
    assert hashes(tmp_path / "out", still=form == "images", inline=form != "images") == EXPECTED[form]
