"""Train the bundled event network on moving Fashion-MNIST pictures seen by a simulated event camera, on a CPU.

    python examples/events/train.py --cache build/events -o ds2ta-2-64-events.safetensors

``simulate.py`` says what the camera does. The frames are made once and kept in the cache (490 MB). As in
``examples/fashion_mnist/train.py``, from which schedule and optimizer come, the whole state of the training is written after
every epoch, and ``--resume`` goes on from there to the same network.
"""

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional

from ds2ta_deploy.checkpoints import save_checkpoint
from ds2ta_deploy.datasets import FASHION_MNIST, read_idx_directory
from ds2ta_deploy.events.binning import count_frames
from ds2ta_deploy.events.fitting import fit_sensor
from ds2ta_deploy.events.nmnist import NMNIST_SENSOR
from ds2ta_deploy.models.build import build
from ds2ta_deploy.models.families import Ds2taConfig
from ds2ta_deploy.models.network import SpikingTransformer


def _script(path: Path) -> ModuleType:
    """Import another example's script; the folders of examples are no packages."""
    name = f"{path.parent.name}_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"there is no {path}")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


fashion = _script(Path(__file__).parents[1] / "fashion_mnist" / "train.py")
simulation = _script(Path(__file__).with_name("simulate.py"))

console = Console(stderr=True)

#: One frame for each of the three straight moves; 25 tokens.
CONFIG = Ds2taConfig(
    input_kind="frames",
    image_height=34,
    image_width=34,
    in_channels=2,
    time_steps=3,
    num_classes=10,
    embed_dim=64,
    depth=2,
    num_heads=4,
    pool_stages="1101",
    pixel_scale=1.0,
    pixel_mean=(0.0, 0.0),
    pixel_std=(1.0, 1.0),
    initial_decay=2,
    initial_denoise_threshold=1.0,
)

#: Of the simulated pixels' thresholds: no test recording comes from a camera that was trained with.
SEEDS = {"train": 1, "test": 0}


@dataclass
class Split:
    """Event frames uint8 ``[B, T, H, W, 2]``, read from the disk as they are needed, and classes int64 ``[B]``."""

    frames: NDArray[np.uint8]
    labels: Tensor

    def batch(self, index: Tensor) -> Tensor:
        """Return the frames of some recordings, ``[T, B, H, W, 2]``."""
        return torch.from_numpy(self.frames[index.numpy()]).transpose(0, 1)


def make_frames(images: NDArray[np.uint8], seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yield every picture's recording as frames ``[T, H, W, 2]``."""
    fit = fit_sensor(NMNIST_SENSOR, CONFIG.image_height, CONFIG.image_width)
    for events in simulation.simulate(images, seed=seed):
        yield count_frames(events, CONFIG.time_steps, fit)


def load(data: Path, split: Literal["train", "test"], cache: Path) -> Split:
    """Read a split's frames from the cache; make them first when they are not there."""
    pictures = read_idx_directory(data, split)
    if pictures.labels is None:
        raise click.ClickException(f"{data} has no labels")
    stored, partial = cache / f"{split}.npy", cache / f"{split}.partial"
    if not stored.exists():
        cache.mkdir(parents=True, exist_ok=True)
        shape = (len(pictures.labels), *(size or 1 for size in (CONFIG.time_steps, *CONFIG.input_shape[2:])))
        frames = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
        with Progress(TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), console=console) as progress:
            for number, made in enumerate(progress.track(make_frames(pictures.images[..., 0], seed=SEEDS[split]), total=shape[0])):
                frames[number] = made
        frames.flush()
        partial.replace(stored)
    return Split(np.load(stored, mmap_mode="r"), torch.from_numpy(pictures.labels))


def shifted(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Shift every recording ``[T, B, H, W, 2]`` by up to two pixels."""
    height, width = frames.shape[2:4]
    padded = functional.pad(frames, (0, 0, 2, 2, 2, 2))
    offsets = torch.randint(0, 5, (2, frames.shape[1]), generator=generator)
    rows = offsets[0][:, None] + torch.arange(height)
    columns = offsets[1][:, None] + torch.arange(width)
    recordings = torch.arange(frames.shape[1])[:, None, None]
    return padded[:, recordings, rows[:, :, None], columns[:, None, :]]


@torch.no_grad()
def top1(model: SpikingTransformer, data: Split, batch: int = 500) -> float:
    """Return the share of recordings whose largest logit is the right class, in percent."""
    model.eval()
    batches = torch.arange(len(data.labels)).split(batch)
    right = sum(int((model(data.batch(index)).argmax(1) == data.labels[index]).sum()) for index in batches)
    return 100.0 * right / len(data.labels)


def train_epoch(
    model: SpikingTransformer, optimizer: torch.optim.Optimizer, data: Split, epoch: int, *, epochs: int, batch: int, peak: float, seed: int
) -> float:
    """Train one pass over the data; the order depends on seed and epoch only. Returns the mean loss."""
    model.train()
    generator = torch.Generator().manual_seed(seed * 1000 + epoch)
    batches = torch.randperm(len(data.labels), generator=generator).split(batch)
    losses = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"epoch {epoch + 1}/{epochs}", total=len(batches))
        for number, index in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = fashion.learning_rate(epoch * len(batches) + number, epochs * len(batches), peak) * group["lr_factor"]
            loss = functional.cross_entropy(model(shifted(data.batch(index), generator)), data.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            progress.update(task, advance=1, description=f"epoch {epoch + 1}/{epochs} loss {np.mean(losses[-50:]):.3f}")
    return float(np.mean(losses))


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=FASHION_MNIST,
    show_default=True,
    help="Directory with the four idx files.",
)
@click.option("--cache", type=click.Path(path_type=Path), default=Path("build/events"), show_default=True, help="Directory of the frames.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("ds2ta-2-64-events.safetensors"),
    show_default=True,
    help="Checkpoint to write.",
)
@click.option("--epochs", default=4, show_default=True)
@click.option("--batch", default=128, show_default=True)
@click.option("--peak-rate", default=3e-3, show_default=True, help="Peak learning rate.")
@click.option("--weight-decay", default=0.02, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--resume", is_flag=True, help="Go on from the state of an interrupted training.")
def main(
    data: Path, cache: Path, output: Path, epochs: int, batch: int, peak_rate: float, weight_decay: float, seed: int, resume: bool
) -> None:
    """Train a network of two blocks and width 64 on event frames, and write its checkpoint."""
    torch.manual_seed(seed)
    model = build(CONFIG)
    optimizer = fashion.make_optimizer(model, weight_decay)
    state_path = output.with_suffix(".training.pt")
    start = 0
    if resume and state_path.exists():
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["epochs"]
        console.print(f"going on after epoch {start}")
    train, test = load(data, "train", cache), load(data, "test", cache)
    for epoch in range(start, epochs):
        loss = train_epoch(model, optimizer, train, epoch, epochs=epochs, batch=batch, peak=peak_rate, seed=seed)
        console.print(f"epoch {epoch + 1}: loss {loss:.4f}, top-1 on the test recordings {top1(model, test):.2f} %")
        partial = state_path.with_suffix(".partial")
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epoch + 1}, partial)
        partial.replace(state_path)
        save_checkpoint(model, output)
    console.print(f"wrote {output}")


if __name__ == "__main__":
    main()
