"""Train the bundled networks on Fashion-MNIST, on a CPU: ``ds2ta-2-64``, or another family of the same size.

    python examples/fashion_mnist/train.py --data /usr/share/datasets/fashion-mnist
    python examples/fashion_mnist/train.py --arch spikformer
    python examples/fashion_mnist/train.py --without nsad --epochs 2 -o no-nsad.safetensors

The data are Debian's package ``dataset-fashion-mnist`` or any directory with the four idx files. After
every epoch the whole state of the training is written beside the output as ``*.training.pt``; the same
command with ``--resume`` goes on from there after an interruption, and gives the same network as an
uninterrupted run.
"""

import sys
from pathlib import Path

import click
import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn import functional

from ds2ta_deploy.checkpoints import save_checkpoint
from ds2ta_deploy.datasets import FASHION_MNIST, read_idx_directory
from ds2ta_deploy.models.build import build
from ds2ta_deploy.models.families import FAMILIES
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.presets import PRESETS

sys.path.insert(0, str(Path(__file__).parents[1]))

from training.data import Split, to_split
from training.data import shift_and_mirror as augment
from training.schedule import learning_rate, make_optimizer, set_learning_rate

console = Console(stderr=True)


def load(directory: Path, split: str) -> Split:
    """Read one split of the data set."""
    return to_split(read_idx_directory(directory, "train" if split == "train" else "test"))


@torch.no_grad()
def top1(model: SpikingTransformer, data: Split, batch: int = 500) -> float:
    """Return the share of pictures whose largest logit is the right class, in percent."""
    model.eval()
    right = sum(
        int((model(images).argmax(1) == labels).sum())
        for images, labels in zip(data.images.split(batch), data.labels.split(batch), strict=True)
    )
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
            set_learning_rate(optimizer, learning_rate(epoch * len(batches) + number, epochs * len(batches), peak))
            loss = functional.cross_entropy(model(augment(data.images[index], generator)), data.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            progress.update(task, advance=1, description=f"epoch {epoch + 1}/{epochs} loss {np.mean(losses[-50:]):.3f}")
    return float(np.mean(losses))


@torch.no_grad()
def take_away(model: SpikingTransformer, parts: tuple[str, ...]) -> None:
    """Take parts of DS2TA out of an untrained network, for the ablation; what is left is an ordinary network of the family.

    Without ``nsad`` every table is the identity, ``AD_h[s] = s``, and stays so; a window without ``tasa`` is one time step long.
    """
    for name, parameter in model.named_parameters():
        if "nsad" in parts and ".denoiser." in name:
            parameter.fill_({"a": 1.0, "u": -1.0}.get(name.rsplit(".", 1)[-1], 0.0)).requires_grad_(requires_grad=False)


@click.command()
@click.option("--arch", type=click.Choice(sorted(FAMILIES)), default="ds2ta", show_default=True, help="Model family.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=FASHION_MNIST,
    show_default=True,
    help="Directory with the four idx files.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Checkpoint to write; by default ARCH-2-64.safetensors.",
)
@click.option("--epochs", default=10, show_default=True)
@click.option("--images", type=click.IntRange(1), help="Train on the first so many pictures only.  [default: all]")
@click.option("--batch", default=128, show_default=True)
@click.option("--peak-rate", default=3e-3, show_default=True, help="Peak learning rate.")
@click.option("--weight-decay", default=0.02, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--without",
    type=click.Choice(["nsad", "tasa"]),
    multiple=True,
    help="Leave a part of DS2TA out, for an ablation: its denoiser, its temporal windows; may be repeated.",
)
@click.option("--resume", is_flag=True, help="Go on from the state of an interrupted training.")
def main(
    arch: str,
    data: Path,
    output: Path | None,
    epochs: int,
    images: int | None,
    batch: int,
    peak_rate: float,
    weight_decay: float,
    seed: int,
    without: tuple[str, ...],
    resume: bool,
) -> None:
    """Train a network of two blocks and width 64, and write its checkpoint."""
    if without and arch != "ds2ta":
        raise click.UsageError("--without takes parts of ds2ta away; no other family has them")
    torch.manual_seed(seed)
    config = PRESETS[f"{arch}-2-64"]
    model = build(msgspec.structs.replace(config, temporal_window=1) if "tasa" in without else config)
    take_away(model, without)
    output = output or Path(f"{arch}-2-64.safetensors")
    optimizer = make_optimizer(model, weight_decay)
    state_path = output.with_suffix(".training.pt")
    start = 0
    if resume and state_path.exists():
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["epochs"]
        console.print(f"going on after epoch {start}")
    train, test = load(data, "train"), load(data, "test")
    train = Split(train.images[:images], train.labels[:images])
    for epoch in range(start, epochs):
        loss = train_epoch(model, optimizer, train, epoch, epochs=epochs, batch=batch, peak=peak_rate, seed=seed)
        console.print(f"epoch {epoch + 1}: loss {loss:.4f}, top-1 on the test images {top1(model, test):.2f} %")
        partial = state_path.with_suffix(".partial")
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epoch + 1}, partial)
        partial.replace(state_path)
        save_checkpoint(model, output)
    console.print(f"wrote {output}")


if __name__ == "__main__":
    main()
