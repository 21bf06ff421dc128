"""What the tests of the Lava target share. Needs neither Lava nor PyTorch."""

import importlib.util
import time
from pathlib import Path

import builders
import numpy as np
import pytest
from numpy.typing import NDArray
from stream_graph import StreamDraft
from support import FACTS

from ds2ta_deploy.exporters.lava import to_lava
from ds2ta_deploy.exporters.lava.lowering import LoweringKind
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph


def write_export(graph: Graph, directory: Path, lowering: LoweringKind = "custom") -> Path:
    """Write the files of the export and return the directory that holds them."""
    for name, data in to_lava(graph, lowering).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory / "lava"


def stock_network(steps: int, seed: int = 1, *, scale: int = 1) -> tuple[Graph, NDArray[np.uint8]]:
    """Return a network with three populations that Lava's own processes express, and inputs for which all of them fire.

    Two of them follow each other, a residual goes around them and gives counts to the third, and one around that. Weights,
    biases and thresholds are small, so that membranes often meet a threshold exactly and often are negative.

    Args:
        steps: T.
        seed: of weights and inputs.
        scale: a factor of all numbers of the three, up to 25; the larger, the sooner a leak that is not 1/2 shows.

    """
    inputs = np.random.default_rng(seed).integers(0, 256, (steps, 5, 3, 4, 2), dtype=np.uint8)
    draft = builders.Draft(inputs, seed)
    value = draft.add(ops.InputTable, "encoder", ["images"], "input_values", table=draft.integers(500, (2, 256), np.int16), still=0)
    value = draft.add(ops.Tokens, "flatten", [draft.conv("conv", value, 6, first=True)], "tokens")
    hidden = _with_one_threshold(draft, "blocks.0.mlp.fc1", value, 8, scale)
    value = draft.residual("blocks.0.sum", value, _with_one_threshold(draft, "blocks.0.mlp.fc2", hidden, 6, scale))
    value = draft.residual("blocks.1.sum", value, _with_one_threshold(draft, "blocks.1.fc", value, 6, scale))
    weight = draft.integers(127, (3, 6), np.int8)
    draft.add(ops.Readout, "head", [value], "head.logits", weight=weight, bias=np.zeros(3, np.int32))
    kind = ops.ValueType((steps, None, 3, 4, 2), "uint8")
    return Graph("stock", "images", kind, tuple(draft.ops), "head.logits", 1.0, {**FACTS, "thresholds": "layer"}), inputs


#: Populations of :func:`stock_network` that Lava's own processes express.
STOCK = ("blocks.0.mlp.fc1", "blocks.0.mlp.fc2", "blocks.1.fc")


def _with_one_threshold(draft: builders.Draft, name: str, value: str, out: int, scale: int) -> str:
    """Append a spiking linear layer whose channels share a threshold, met exactly now and then; biases of both signs."""
    weight = draft.integers(5, (out, draft.values[value].shape[-1]), np.int8) * np.int8(scale)
    made = draft.add(ops.Linear, f"{name}.weights", [value], f"{name}.product", weight=weight)
    current = draft.window(name, made, np.resize(np.array([2, -3, 1, -1, 0], np.int32), out) * np.int32(scale))
    first = draft.values[current][0]
    threshold = np.full(out, max(int(np.quantile(first, 0.75, method="higher")), 1), np.int32)
    outputs = (f"{name}.spikes", f"{name}.membrane")
    return draft.add(ops.Lif, name, [current], *outputs, threshold=threshold, leak_numerator=1, leak_shift=1)


def chunked_network(chunks: tuple[int, ...], *, still: bool) -> tuple[Graph, NDArray[np.uint8]]:
    """Return a network with a block of Q (K^T V) for each chunk of time steps, T = 4, and inputs for which all of it fires.

    Around every block goes a stream. A chunk of 0 is attention in single steps; within a chunk keys are pooled. The two
    layers before add the products of two convolutions, one dilated, before their neuron; the layer behind, ``tail.fc``,
    Lava's own processes express.

    Args:
        chunks: time steps of each block's chunks.
        still: one picture shown at every step; False for event frames.

    """
    inputs = builders.small_inputs(still=still)
    draft = StreamDraft(inputs, 11)
    table = draft.integers(500, (builders.CHANNELS, 256), np.int16)
    value = draft.add(ops.InputTable, "encoder", ["images"], "input_values", table=table, still=int(still))
    value = _two_scales(draft, "patch.stages.0", value, repeat=still)
    value = _two_scales(draft, "patch.stages.1", value)
    stream = draft.add(ops.Tokens, "patch.flatten", [draft.synapses("patch.stages.2", value, builders.EMBED, size=3)], "patch.tokens")
    for index, chunk in enumerate(chunks):
        name = f"blocks.{index}.attn"
        stream = draft.residual(f"blocks.{index}.sum", stream, _chunked_attention(draft, name, stream, chunk, heads=index % 2 + 1))
    spikes = draft.neuron("tail.input", stream)
    value = draft.residual("tail.sum", spikes, _with_one_threshold(draft, "tail.fc", spikes, builders.EMBED, 1))
    weight = draft.integers(127, (builders.CLASSES, builders.EMBED), np.int8)
    draft.add(ops.Readout, "head", [value], "head.logits", weight=weight, bias=np.array([5, -60, 0], np.int32))
    shape: tuple[int | None, ...] = (None, *inputs.shape[-3:])
    kind = ops.ValueType(shape if still else (builders.STEPS, *shape), "uint8")
    return Graph("chunked", "images", kind, tuple(draft.ops), "head.logits", 1.0, dict(FACTS)), inputs


def _two_scales(draft: StreamDraft, name: str, value: str, *, repeat: bool = False) -> str:
    """Append a spiking layer that adds two convolutions' products, one of them dilated."""
    shape = (builders.EMBED, 3, 3, draft.values[value].shape[-1])
    products = [
        draft.add(
            *(ops.Conv2d, f"{name}.{part}", [value], f"{name}.{part}.product"),
            weight=draft.integers(120, shape, np.int16),
            dilation=dilation,
        )
        for part, dilation in (("near", 1), ("far", 2))
    ]
    summed = draft.add(ops.Add, f"{name}.add", products, f"{name}.product")
    current = draft.window(name, summed, draft.integers(200, (builders.EMBED,), np.int32))
    if repeat:
        current = draft.add(ops.Repeat, f"{name}.repeat", [current], f"{name}._repeated", time_steps=builders.STEPS)
    return draft.neuron(name, current)


def _chunked_attention(draft: StreamDraft, name: str, stream: str, chunk: int, heads: int) -> str:
    """Append Q (K^T V) over chunks of time steps and the synapses into the stream."""
    parts = {}
    for part, value in zip("qkv", draft.query_key_value(name, stream), strict=True):
        parts[part] = draft.add(ops.SplitHeads, f"{name}.{part}.split", [value], f"{name}.{part}._heads", heads=heads)
        if chunk:
            parts[part] = draft.add(ops.Chunk, f"{name}.{part}.chunk", [parts[part]], f"{name}.{part}._chunks", steps=chunk)
    parts["k"] = draft.add(ops.MaxPool2d, f"{name}.k.pool", [parts["k"]], f"{name}.k.pooled", stride=1, axis=3)
    state = draft.add(ops.MatMul, f"{name}.key_value", [parts["k"], parts["v"]], f"{name}.key_value", transpose_left=1)
    mixed = draft.add(ops.MatMul, f"{name}.query_state", [parts["q"], state], f"{name}._mixed")
    if chunk:
        mixed = draft.add(ops.Unchunk, f"{name}.unchunk", [mixed], f"{name}._steps", steps=chunk)
    context = draft.add(ops.MergeHeads, f"{name}.merge", [mixed], f"{name}.context")
    current = draft.window(name, context, np.zeros(builders.EMBED, np.int32))
    return draft.synapses(f"{name}.proj", draft.neuron(name, current), builders.EMBED)


#: Marks tests that need the real Lava.
needs_lava = pytest.mark.skipif(importlib.util.find_spec("lava") is None, reason="needs Lava: ds2ta lava install")


def processes_of(folder: Path) -> list[int]:
    """Return the living processes whose command line or working files lie in a folder, and their children."""
    living = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent, group = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:3]
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if state not in "ZX":
                living[int(entry.name)] = (int(parent), int(group), command)
    ours = {pid for pid, (_, _, command) in living.items() if str(folder).encode() in command}
    groups = {living[pid][1] for pid in ours}
    return sorted(pid for pid, (_, group, _) in living.items() if pid in ours or group in groups)


def worker_of(folder: Path, *, seconds: float = 120.0) -> list[int]:
    """Wait until a network runs in a folder; return its processes, the worker first, then those that it made."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        recorded = [path for path in folder.glob("ds2ta-lava-*/value-*.bin") if path.stat().st_size]
        if recorded:
            job = recorded[0].parent
            return [pid for pid in processes_of(job) if str(job).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]
        time.sleep(0.02)
    raise AssertionError("no network began to run")


def shared_memory() -> set[str]:
    """Return the names of Python's shared-memory segments."""
    directory = Path("/dev/shm")  # noqa: S108 - where Linux shows shared memory; only read
    return {path.name for path in directory.glob("psm_*")} if directory.is_dir() else set()


class Leftovers:
    """What must be gone when a run has ended: processes with files in a folder, and new shared memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = shared_memory()

    def assert_none(self) -> None:
        """Assert that nothing is left; the last ones may take a moment to end."""
        end = time.monotonic() + 5
        while time.monotonic() < end and (processes_of(self.folder) or shared_memory() - self.before):
            time.sleep(0.05)
        assert processes_of(self.folder) == []
        assert shared_memory() - self.before == set()
        assert [path.name for path in self.folder.glob("ds2ta-lava-*")] == []
