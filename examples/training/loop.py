"""A training that any interruption may end at any step, and that goes on to the network it would have become."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional

from ds2ta_deploy.checkpoints import save_checkpoint
from ds2ta_deploy.models.network import SpikingTransformer
from training.data import Augmentation, Split
from training.schedule import learning_rate, make_optimizer, set_learning_rate

console = Console(stderr=True)


@dataclass(frozen=True)
class Settings:
    """What the trained network depends on, besides its start, the data and the augmentation.

    Attributes:
        epochs: passes over the training pictures.
        batch: pictures a step; what does not fill the last batch of an epoch is left out.
        peak_rate: largest learning rate.
        warmup: steps until it is reached.
        weight_decay: of the weight matrices.
        seed: of the order and the augmentation.
        precision: ``bf16`` computes products in bfloat16 (autocast), ``float32`` everything in float32.
        augmentation: name of the augmentation, so that a resumed training cannot have another one.

    """

    epochs: int
    batch: int = 256
    peak_rate: float = 3e-3
    warmup: int = 200
    weight_decay: float = 0.02
    seed: int = 1
    precision: str = "float32"
    augmentation: str = ""


@dataclass
class Training:
    """A network in training: what is written after every few steps, and read again by ``--resume``."""

    model: SpikingTransformer
    optimizer: torch.optim.Optimizer
    settings: Settings
    step: int = 0

    @classmethod
    def start(cls, model: SpikingTransformer, settings: Settings) -> "Training":
        """Begin with a fresh network."""
        return cls(model, make_optimizer(model, settings.weight_decay), settings)

    def save(self, path: Path) -> None:
        """Write the whole state; a kill while it is written leaves the previous one."""
        partial = path.with_suffix(".partial")
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}
        torch.save(state | {"settings": asdict(self.settings)}, partial)
        partial.replace(path)

    def resume(self, path: Path) -> None:
        """Take over a written state.

        Raises:
            click.ClickException: when it is of a training with other settings.

        """
        state = torch.load(path, weights_only=True)
        mine = asdict(self.settings)
        other = [
            f"{name}: {state['settings'].get(name)!r} there, {mine[name]!r} here"
            for name in mine
            if state["settings"].get(name) != mine[name]
        ]
        if other:
            raise click.ClickException(f"{path} is of a training with other settings ({'; '.join(other)})")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


@dataclass(frozen=True)
class Files:
    """What a training writes: ``NAME.safetensors``, and beside it ``NAME.training.pt`` and ``NAME.jsonl``."""

    checkpoint: Path

    @property
    def state(self) -> Path:
        """The state that ``--resume`` goes on from."""
        return self.checkpoint.with_suffix(".training.pt")

    @property
    def log(self) -> Path:
        """One JSON object a line: what was trained, and how far it came."""
        return self.checkpoint.with_suffix(".jsonl")

    def write(self, event: str, **facts: Any) -> None:
        """Append a line to the log."""
        with self.log.open("a") as file:
            file.write(json.dumps({"event": event, **facts}) + "\n")


@torch.no_grad()
def top1(model: SpikingTransformer, data: Split, batch: int = 250) -> float:
    """Return the share of pictures whose largest logit is the right class, in percent; computed in float32."""
    model.eval()
    device = next(model.parameters()).device
    right = 0
    for images, labels in zip(data.images.split(batch), data.labels.split(batch), strict=True):
        right += int((model(images.to(device)).argmax(1).cpu() == labels).sum())
    return 100.0 * right / len(data.labels)


def one_step(training: Training, images: Tensor, targets: Tensor, total: int) -> float:
    """Take one step of the optimizer and return the loss."""
    settings = training.settings
    device = next(training.model.parameters()).device
    rate = learning_rate(training.step, total, settings.peak_rate, settings.warmup)
    set_learning_rate(training.optimizer, rate)
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
        logits = training.model(images.to(device))
    loss = functional.cross_entropy(logits.float(), targets.to(device))
    training.optimizer.zero_grad()
    loss.backward()
    training.optimizer.step()
    training.step += 1
    return loss.item()


def chance(seed: int, *place: int) -> torch.Generator:
    """Return the source of chance of one place in the training: of an epoch's order, or of a step's augmentation."""
    for number in place:
        seed = (seed * 1_000_003 + number + 1) % 2**63
    return torch.Generator().manual_seed(seed)


def train(training: Training, train_split: Split, test_split: Split, augment: Augmentation, files: Files, *, save_every: int = 200) -> None:
    """Train from where the state stands to the last step, and write the checkpoint after every epoch.

    The order of an epoch and the chance of a step depend on the seed and their number only, so that it does not matter
    how often the training was interrupted.
    """
    settings = training.settings
    a_pass = len(train_split.labels) // settings.batch
    total = settings.epochs * a_pass
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total, completed=training.step)
        while training.step < total:
            epoch = training.step // a_pass
            order = torch.randperm(len(train_split.labels), generator=chance(settings.seed, 0, epoch))
            training.model.train()
            losses, began = [], time.monotonic()
            for index in order.split(settings.batch)[training.step % a_pass : a_pass]:
                pictures, targets = augment(train_split.images[index], train_split.labels[index], chance(settings.seed, 1, training.step))
                losses.append(one_step(training, pictures, targets, total))
                if training.step % save_every == 0:
                    training.save(files.state)
                progress.update(
                    task, advance=1, description=f"epoch {epoch + 1}/{settings.epochs} loss {sum(losses[-50:]) / len(losses[-50:]):.3f}"
                )
            seconds = time.monotonic() - began
            training.save(files.state)
            save_checkpoint(training.model, files.checkpoint)
            figures = {
                "epoch": epoch + 1,
                "step": training.step,
                "steps_since_start": len(losses),
                "loss": sum(losses) / len(losses),
                "images_per_second": len(losses) * settings.batch / seconds,
                "top1_test": top1(training.model, test_split),
            }
            files.write("epoch", **figures)
            console.print(f"epoch {epoch + 1}: loss {figures['loss']:.4f}, top-1 on the test pictures {figures['top1_test']:.2f} %")
