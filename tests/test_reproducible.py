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
        "manifest.json": "f4d7b429887d9a16fd47f0e0343ddbd645700170965426f5073f0875e3efbeea",
        "model.onnx": "c17b8cb57fc1a24bc54ba3bce253506141528d1a791cef112abdd24a40f6aa3f",
        "model_step.onnx": "3b48f96421abbef25534057c0aec31dcdb0a9dc1adfa04d41efe8cb37444120e",
        "report.json": "ea12b6ba98b9200f84df7f931ca23e02be4a718415505af3d0ed3431e6a780f7",
        "vectors/expected.npz": "2bdd089ad37ff3496ff14ba67bf21e771a0b1e1f0c49d54f11debcbdd5346837",
        "vectors/hashes.json": "414a5f10cac9e756a0e4f49d025803531ac74e07d550a3a30a65eff2fb87d9cb",
        "vectors/inputs.npz": "2b7d5fbe75be7b4c58157d87a08384f7a604e0ee2f509a954ea67750753c71d8",
    },
    "frames, inlined": {
        "graph.safetensors": "8f307d4206d7fe3dfc0591297e6670a3e68baf9593ee3373fea879b0cfa87b22",
        "manifest.json": "57fd0f344e8dcbc537954b1ccbbed3c439676b57323acb905c22c0bff2110f0a",
        "model.onnx": "7316c72c571a0505335eb93bcff243daf7e724adb0a659a5b64cbc6f03dc1164",
        "model_step.onnx": "0d4bd608f4b8c9c78c2b9e142fc9ca813c621dc572c3c8220c099fe2a2e1eac9",
        "report.json": "80fa03f7a9e5e2f1ba6a1f460b8b47147072e05d6886fd4e41fd2d5d53e3270b",
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
