"""Fine-tune a network on the integer grid, on a CPU, so that it keeps its accuracy with few bits, or with few spikes.

    python examples/fashion_mnist/finetune.py examples/fashion_mnist/ds2ta-2-64.safetensors --weight-bits 4 -o tuned.safetensors
    ds2ta-export tuned.safetensors --weight-bits 4 --target onnx -o tuned
    python examples/fashion_mnist/finetune.py examples/fashion_mnist/ds2ta-2-64.safetensors --operations-penalty 4 -o sparse.safetensors

Export with the settings that it was trained with: then the exported integers are those that were trained. The
checkpoint holds float16 parameters, which is what is scored after every epoch. The whole state of the
training is written beside the output as ``*.training.pt``; the same command with ``--resume`` goes on from there after an
interruption, and gives the same network as an uninterrupted run.
"""

import copy
import sys
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn import functional
from train import Split, augment, learning_rate, load, make_optimizer

from ds2ta_deploy.checkpoints import load_checkpoint, save_checkpoint
from ds2ta_deploy.cli.export import read_settings
from ds2ta_deploy.datasets import FASHION_MNIST
from ds2ta_deploy.fine_tuning import QuantizationAware, qat
from ds2ta_deploy.quantization import Quantization

sys.path.insert(0, str(Path(__file__).parents[1]))

from training.operations import watch_operations

console = Console(stderr=True)

#: Steps over which the learning rate rises.
WARMUP = 20


def train_epoch(
    tuned: QuantizationAware,
    optimizer: torch.optim.Optimizer,
    data: Split,
    epoch: int,
    *,
    epochs: int,
    batch: int,
    images: int,
    peak: float,
    penalty: float,
    seed: int,
) -> tuple[float, float]:
    """Train one pass over some of the images; which ones, and their order, depends on seed and epoch only.

    Returns:
        Means of the cross entropy, and of the share of the dense operations that are done.

    """
    tuned.train()
    generator = torch.Generator().manual_seed(seed * 1000 + epoch)
    batches = torch.randperm(len(data.labels), generator=generator)[:images].split(batch)
    losses, shares = [], []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, watch_operations(tuned) as share_of_dense:
        task = progress.add_task(f"epoch {epoch + 1}/{epochs}", total=len(batches))
        for number, index in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(epoch * len(batches) + number, epochs * len(batches), peak, WARMUP)
            loss = functional.cross_entropy(tuned(augment(data.images[index], generator)), data.labels[index])
            share = share_of_dense()
            optimizer.zero_grad()
            (loss + penalty * share).backward()
            optimizer.step()
            losses.append(loss.item())
            shares.append(share.item())
            recent = f"loss {np.mean(losses[-50:]):.3f}, operations {np.mean(shares[-50:]):.1%}"
            progress.update(task, advance=1, description=f"epoch {epoch + 1}/{epochs} {recent}")
    return float(np.mean(losses)), float(np.mean(shares))


def write(tuned: QuantizationAware, output: Path) -> None:
    """Write the checkpoint, in float16."""
    save_checkpoint(copy.deepcopy(tuned.model).half(), output)


@torch.no_grad()
def top1(checkpoint: Path, settings: Quantization, data: Split, batch: int = 500) -> float:
    """Return the top-1 of a checkpoint on the grid, in percent."""
    model = qat(load_checkpoint(checkpoint), settings).train()
    right = sum(
        int((model(images).argmax(1) == labels).sum())
        for images, labels in zip(data.images.split(batch), data.labels.split(batch), strict=True)
    )
    return 100.0 * right / len(data.labels)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), help="TOML file that says how the network is put on the grid.")
@click.option("--weight-bits", type=click.IntRange(2, 8), help="Bits of the weights behind the first layer.  [default: 8]")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=FASHION_MNIST,
    show_default=True,
    help="Directory with the four idx files.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Checkpoint to write.")
@click.option("--epochs", default=2, show_default=True)
@click.option("--batch", default=128, show_default=True)
@click.option("--images", default=60_000, show_default=True, help="Images of an epoch.")
@click.option("--peak-rate", default=5e-4, show_default=True, help="Peak learning rate.")
@click.option(
    "--operations-penalty",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Add so many times the share of the dense operations that are done to the loss, for a network that fires less.",
)
@click.option("--seed", default=1, show_default=True)
@click.option("--resume", is_flag=True, help="Go on from the state of an interrupted training.")
def main(
    checkpoint: Path,
    config: Path | None,
    weight_bits: int | None,
    data: Path,
    output: Path,
    epochs: int,
    batch: int,
    images: int,
    peak_rate: float,
    operations_penalty: float,
    seed: int,
    resume: bool,
) -> None:
    """Train CHECKPOINT on as the integers that it will be frozen into."""
    settings = read_settings(config, {"weight_bits": weight_bits})
    tuned = qat(load_checkpoint(checkpoint), settings)
    optimizer = make_optimizer(tuned, 0.0)
    state_path = output.with_suffix(".training.pt")
    start = 0
    if resume and state_path.exists():
        state = torch.load(state_path, weights_only=True)
        tuned.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["epochs"]
        console.print(f"going on after epoch {start}")
    train, test = load(data, "train"), load(data, "test")
    for epoch in range(start, epochs):
        loss, share = train_epoch(
            tuned, optimizer, train, epoch, epochs=epochs, batch=batch, images=images, peak=peak_rate, penalty=operations_penalty, seed=seed
        )
        write(tuned, output)
        accuracy = top1(output, settings, test)
        console.print(
            f"epoch {epoch + 1}: loss {loss:.4f}, operations {share:.1%} of the dense ones, top-1 on the test images {accuracy:.2f} %"
        )
        partial = state_path.with_suffix(".partial")
        torch.save({"model": tuned.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epoch + 1}, partial)
        partial.replace(state_path)
    console.print(f"wrote {output}")


if __name__ == "__main__":
    main()
