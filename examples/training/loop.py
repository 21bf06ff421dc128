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
        preset: name of the network's configuration.
        epochs: passes over the training pictures.
        batch: pictures a step; what does not fill the last batch of an epoch is left out.
        peak_rate: largest learning rate.
        warmup: steps until it is reached.
        weight_decay: of the weight matrices.
        seed: of the order and the augmentation.
        precision: ``bf16`` computes products in bfloat16 (autocast), ``float32`` everything in float32.
        augmentation: name of the augmentation, so that a resumed training cannot have another one.

    """

    preset: str
    epochs: int
    batch: int
    peak_rate: float
    warmup: int
    weight_decay: float
    seed: int
    precision: str
    augmentation: str


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
        """Take over a written state; the number of epochs may be another one, and the learning rate then goes by the new one.

        Raises:
            click.ClickException: when it is of a training with other settings besides.

        """
        state = torch.load(path, weights_only=True)
        mine = asdict(self.settings)
        others = state["settings"]
        other = [
            f"{name}: {others.get(name)!r} there, {mine[name]!r} here"
            for name in mine
            if name != "epochs" and others.get(name) != mine[name]
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


def train(
    training: Training,
    train_split: Split,
    test_split: Split,
    augment: Augmentation,
    files: Files,
    *,
    save_every: int = 200,
    evaluate_every: int = 1,
) -> None:
    """Train from where the state stands to the last step; after every epoch write the checkpoint, the state and a line of the log.

    The order of an epoch and the chance of a step depend on the seed and their number only, so that it does not matter
    how often the training was interrupted. The test pictures are looked at for the log only; nothing is chosen by them.

    Args:
        training: where to begin.
        train_split: what is trained on.
        test_split: what the log's accuracy is of.
        augment: what is done to a batch before it is trained on.
        files: what is written.
        save_every: steps after which the state is written.
        evaluate_every: epochs after which the accuracy is measured; after the last one it is always.

    """
    settings = training.settings
    steps = len(train_split.labels) // settings.batch
    total = settings.epochs * steps
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    files.write("resumed" if training.step else "started", step=training.step, total=total, settings=asdict(settings))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total, completed=training.step)
        while training.step < total:
            epoch, done = divmod(training.step, steps)
            order = torch.randperm(len(train_split.labels), generator=chance(settings.seed, 0, epoch))
            training.model.train()
            losses: list[float] = []
            began = time.monotonic()
            for index in order.split(settings.batch)[done:steps]:
                pictures, targets = augment(train_split.images[index], train_split.labels[index], chance(settings.seed, 1, training.step))
                losses.append(one_step(training, pictures, targets, total))
                if training.step % save_every == 0:
                    training.save(files.state)
                recent = losses[-50:]
                progress.update(task, advance=1, description=f"epoch {epoch + 1}/{settings.epochs} loss {sum(recent) / len(recent):.3f}")
            speed = len(losses) * settings.batch / (time.monotonic() - began)
            save_checkpoint(training.model, files.checkpoint)
            training.save(files.state)
            measured = (epoch + 1) % evaluate_every == 0 or training.step == total
            report(files, training, epoch, losses, speed, top1(training.model, test_split) if measured else None)


def report(files: Files, training: Training, epoch: int, losses: list[float], speed: float, accuracy: float | None) -> None:
    """Say and log how an epoch went; the loss is the mean of the steps since the last start or resume within it."""
    loss = sum(losses) / len(losses)
    figures = {"step": training.step, "steps_averaged": len(losses), "loss": loss, "images_per_second": speed, "top1_test": accuracy}
    files.write("epoch", epoch=epoch + 1, **figures)
    shown = "" if accuracy is None else f", top-1 on the test pictures {accuracy:.2f} %"
    console.print(f"epoch {epoch + 1}: loss {loss:.4f}{shown}")
