"""What the commands of our pages are given: the files that they name, made from the bundled networks and data.

A page says ``ckpt.safetensors``, ``pictures.npz`` or ``OUT``, as a reader would of his own; each of these names has a file or folder
here, small, so that every page is executed within seconds. What a page makes itself it is not given.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from block_marks import ROOT, Block
from event_files import dat_bytes, write_aedat4
from picture_files import archived, encoded
from support import one_more

from ds2ta_deploy.artifact import MODEL

EXAMPLES = ROOT / "examples"
BUNDLED = EXAMPLES / "fashion_mnist" / "ds2ta-2-64.safetensors"
PICTURES = EXAMPLES / "fashion_mnist" / "ds2ta-2-64.npz"
OF_EVENTS = EXAMPLES / "events" / "ds2ta-2-64-events.safetensors"
RECORDING = EXAMPLES / "events" / "recordings" / "9" / "00000.bin"

#: What else of a checkout is in a page's folder; the examples are a copy, which commands may write into.
OF_THE_PROJECT = (
    *("CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "README.md", "SECURITY.md", "constraints.txt", "mkdocs.yml", "pyproject.toml"),
    *("benchmarks", "docs", "ds2ta_deploy", "exporters", "runtimes", "tests"),
)

_SKIPPED = shutil.ignore_patterns("__pycache__")


class Shelf:
    """Makes each file once in a session, and copies it into the folders of the pages that name it."""

    def __init__(self, folder: Path) -> None:
        """Begin with nothing; what is made is kept in a folder."""
        self.folder = folder
        self.made = cache(self._made)

    def _made(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        MAKERS[name](path, self)
        return path

    def fill(self, folder: Path, blocks: list[Block]) -> None:
        """Put into a page's folder what its blocks name and do not make."""
        folder.mkdir(parents=True)
        (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
        for name in OF_THE_PROJECT:
            (folder / name).symlink_to(ROOT / name)
        copy(EXAMPLES, folder / "examples")
        text = "\n".join(block.executed if block.kind in {"run", "session"} else block.rest for block in blocks)
        for name, source in names_for(text).items():
            copy(self.made(source), folder / name)
        for block in blocks:
            if block.kind == "file":
                (folder / block.rest).write_text(block.text, encoding="utf-8")


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=_SKIPPED)
    else:
        shutil.copy(source, target)


def names_for(text: str) -> dict[str, str]:
    """Return the names that the commands of a page use before they make them, and what stands for each."""
    found = {}
    for name in MAKERS:
        mention = re.search(rf"(?P<made>-o |> )?(?<![\w./-]){re.escape(name)}(?![\w.-])", text)
        if mention and not mention["made"]:
            found[name] = name
    if "OUT" in found:
        found["OUT"] = "OUT of events" if "recording." in text else "OUT with a fault" if "wrong-op" in text else "OUT"
    return found


# --- what is made ----------------------------------------------------------------------------------------------------


def export(checkpoint: Path, target: str, path: Path) -> None:
    """Export a bundled network with a few of the samples beside it."""
    command = ["ds2ta_deploy.cli.main", "export", checkpoint, "--target", target, "--samples", "4", "-o", path]
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True, capture_output=True)


def small_npz(path: Path, _shelf: Shelf) -> None:
    """Write some of the bundled pictures, with their labels."""
    with np.load(PICTURES) as data:
        np.savez(path, images=data["images"][:8], labels=data["labels"][:8])


def small_idx(path: Path, _shelf: Shelf) -> None:
    """Write some of the bundled pictures as the four files of a data set."""
    path.mkdir()
    with np.load(PICTURES) as data:
        for stem, chosen in (("train", slice(0, 32)), ("t10k", slice(32, 48))):
            images, labels = data["images"][chosen, :, :, 0], data["labels"][chosen].astype(np.uint8)
            shape = np.array(images.shape, ">u4").tobytes()
            (path / f"{stem}-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + shape + images.tobytes())
            (path / f"{stem}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + shape[:4] + labels.tobytes())


def small_cifar10(path: Path, _shelf: Shelf) -> None:
    """Write an archive of class folders as CIFAR-10's, a random picture a class and split."""
    generator = np.random.default_rng(0)
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    names = [
        f"{split}/{label}/{number}.png" for split, count in (("train", 1), ("test", 1)) for label in classes for number in range(count)
    ]
    archived(path, {name: encoded(generator.integers(0, 256, (32, 32, 3), np.uint8)) for name in names})


def published(path: Path, _shelf: Shelf) -> None:
    """Write a checkpoint as STAtten's training script does, arguments and all, of a random network for 32x32 pictures."""
    import torch

    from ds2ta_deploy.importing.mapping import to_published
    from ds2ta_deploy.models.calibration import random_network
    from ds2ta_deploy.models.presets import PRESETS

    sizes: dict[str, Any] = {"in_channels": 3, "image_height": 32, "image_width": 32, "pixel_mean": (0.49, 0.48, 0.45)}
    config = msgspec.structs.replace(PRESETS["statten-2-64"], **sizes, pixel_std=(0.25, 0.24, 0.26))
    arguments = argparse.Namespace(
        time_steps=config.time_steps,
        num_heads=config.num_heads,
        img_size=[config.image_height, config.image_width],
        mean=list(config.pixel_mean),
        std=list(config.pixel_std),
        pooling_stat=config.pool_stages,
        chunk_size=config.chunk_steps,
        attention_mode="STAtten",
        dvs_mode=config.erode,
    )
    tensors = to_published(random_network(config, 3).state_dict(), "statten")
    torch.save({"state_dict": tensors, "args": arguments, "epoch": 3}, path)


def recording(path: Path, _shelf: Shelf) -> None:
    """Write the bundled recording in the format that the name says."""
    from ds2ta_deploy.events.recording import open_recording

    with open_recording(RECORDING) as opened:
        (events, sensor) = next(iter(opened.batches)), opened.sensor
    if path.suffix == ".dat":
        header = f"% Version 2\n% Width {sensor.width}\n% Height {sensor.height}\n".encode() + b"\x00\x08"
        path.write_bytes(dat_bytes(events, header))
    else:
        write_aedat4(path, events, sensor)


def with_a_fault(path: Path, shelf: Shelf) -> None:
    """Write an artifact in whose ONNX file one entry of a denoiser's table is one too large."""
    copy(shelf.made("OUT"), path)
    model = path / MODEL
    model.write_bytes(one_more(model.read_bytes(), "blocks.1.attn.table", 3))


def copy_of(source: Path) -> Callable[[Path, Shelf], None]:
    """Return a maker that copies what is in the project."""
    return lambda path, _shelf: copy(source, path)


def web_engine(path: Path, _shelf: Shelf) -> None:
    """Copy npm's folder of the engine that a live page carries."""
    source = ROOT / "tests" / "portability" / "node_modules" / "onnxruntime-web"
    if not source.is_dir():
        pytest.skip("onnxruntime-web is not installed: make browser, where there is npm")
    copy(source, path)


def part_of(whole: str, part: str) -> Callable[[Path, Shelf], None]:
    """Return a maker that copies a file of something that is made."""
    return lambda path, shelf: copy(shelf.made(whole) / part, path)


def page_of(artifact: str) -> Callable[[Path, Shelf], None]:
    """Return a maker that writes the HTML report of an artifact."""
    command = [sys.executable, "-m", "ds2ta_deploy.cli.main", "report", "--html"]
    return lambda path, shelf: subprocess.run([*command, shelf.made(artifact), "-o", path], check=True, capture_output=True) and None


#: Name on a page, or what :func:`names_for` says -> writes it to a path.
MAKERS: dict[str, Callable[[Path, Shelf], None]] = {
    "ckpt.safetensors": copy_of(BUNDLED),
    "pictures.npz": small_npz,
    "many.npz": small_npz,
    "fashion-mnist": small_idx,
    "cifar10.zip": small_cifar10,
    "model_best.pth.tar": published,
    "last.pth.tar": published,
    "recording.bin": copy_of(RECORDING),
    "recording.dat": recording,
    "recording.aedat4": recording,
    "N-MNIST": lambda path, _shelf: copy(EXAMPLES / "events" / "recordings", path / "Test"),
    "OUT": lambda path, _shelf: export(BUNDLED, "all", path),
    "OUT of events": lambda path, _shelf: export(OF_EVENTS, "onnx", path),
    "OUT with a fault": with_a_fault,
    "build/demo": lambda path, shelf: copy(shelf.made("OUT"), path),
    "build/demo.html": page_of("OUT"),
    "model.onnx": part_of("OUT", "model.onnx"),
    "model_step.onnx": part_of("OUT", "model_step.onnx"),
    "onnxruntime-web": web_engine,
}
