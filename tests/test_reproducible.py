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
        "graph.safetensors": "5bd8fb6582a4677f4f86c1e6f7b584666c248c2b4396ad61f755c81ee2b69e62",
        "manifest.json": "36bfde546b12aec552bc5282cbbd72428a9fec7e9a75cd3bba553f072c16cf4a",
        "model.onnx": "c17b8cb57fc1a24bc54ba3bce253506141528d1a791cef112abdd24a40f6aa3f",
        "report.json": "6ebd09b946a78f1579ba12ca44e1b2ea59cf39779783b7dacd22fd1d4d496f71",
        "vectors/expected.npz": "2bdd089ad37ff3496ff14ba67bf21e771a0b1e1f0c49d54f11debcbdd5346837",
        "vectors/hashes.json": "414a5f10cac9e756a0e4f49d025803531ac74e07d550a3a30a65eff2fb87d9cb",
        "vectors/inputs.npz": "2b7d5fbe75be7b4c58157d87a08384f7a604e0ee2f509a954ea67750753c71d8",
    },
    "frames, inlined": {
        "graph.safetensors": "8f307d4206d7fe3dfc0591297e6670a3e68baf9593ee3373fea879b0cfa87b22",
        "manifest.json": "57377631be8fd81b4e54b1ab3ac1c1b2f2309848352d49a4208e3fc03d0355e6",
        "model.onnx": "7316c72c571a0505335eb93bcff243daf7e724adb0a659a5b64cbc6f03dc1164",
        "report.json": "d719c9d88a5ee183d239b29a2d616d96e4c22dd90b9283a688831edf44d6885c",
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
