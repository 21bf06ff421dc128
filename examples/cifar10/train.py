"""Train DS2TA or the Spikformer baseline on CIFAR-10: the paper's configuration, or a size for a CPU.

    python examples/cifar10/train.py --data cifar10.zip --preset ds2ta-4-384                       # a GPU
    python examples/cifar10/train.py --data cifar10.zip --preset ds2ta-2-64-cifar10 --augmentation light

The data are a zip archive or a directory of class folders under ``train`` and ``test``, or the directory of CIFAR-10's python
batches. Beside the checkpoint ``NAME.safetensors`` the whole state of the training is written to ``NAME.training.pt`` every
few steps, and one line an epoch to ``NAME.jsonl``. The same command with ``--resume`` goes on after any interruption, and
gives the same network as an uninterrupted run on the same machine.
"""

import sys
from pathlib import Path

import click
import torch

from ds2ta_deploy.datasets import read_data
from ds2ta_deploy.errors import Ds2taError
from ds2ta_deploy.models.build import build
from ds2ta_deploy.models.config import NetworkConfig
from ds2ta_deploy.models.presets import PRESETS

sys.path.insert(0, str(Path(__file__).parents[1]))

from training.data import Augmentation, light, to_split
from training.loop import Files, Settings, Training, console, train

NAMES = ("ds2ta-4-384", "spikformer-4-384", "ds2ta-2-128", "spikformer-2-128", "ds2ta-2-64-cifar10", "spikformer-2-64-cifar10")


def make_augmentation(name: str, config: NetworkConfig) -> Augmentation:
    """Return an augmentation by its name; timm is imported only for the one that needs it."""
    if name == "light":
        return light
    from training.timm_augmentation import TimmAugmentation

    return TimmAugmentation(config.num_classes, config.pixel_mean)


@click.command()
@click.option("--preset", type=click.Choice(NAMES), default=NAMES[0], show_default=True, help="Network.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Zip archive or directory of class folders, or of python batches.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Checkpoint to write; by default PRESET.safetensors.")
@click.option("--epochs", default=300, show_default=True, type=click.IntRange(1))
@click.option("--batch", default=256, show_default=True, type=click.IntRange(2), help="Pictures a step; even for timm's augmentation.")
@click.option("--peak-rate", default=1e-3, show_default=True, help="Peak learning rate.")
@click.option("--warmup", default=2000, show_default=True, help="Steps until it is reached.")
@click.option("--weight-decay", default=0.06, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--augmentation",
    type=click.Choice(["timm", "light"]),
    default="timm",
    show_default=True,
    help="timm: shifts, mirroring, RandAugment, mixup and cutmix. light: shifts and mirroring.",
)
@click.option(
    "--precision",
    type=click.Choice(["bf16", "float32"]),
    help="Of products in training; accuracy is measured in float32.  [default: bf16 on a GPU, float32 elsewhere]",
)
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--save-every", default=200, show_default=True, type=click.IntRange(1), help="Steps after which the state is written.")
@click.option("--evaluate-every", default=1, show_default=True, type=click.IntRange(1), help="Epochs after which the accuracy is measured.")
@click.option("--resume", is_flag=True, help="Go on from the state of an interrupted training; --epochs may be another number then.")
def main(
    preset: str,
    data: Path,
    output: Path | None,
    epochs: int,
    batch: int,
    peak_rate: float,
    warmup: int,
    weight_decay: float,
    seed: int,
    augmentation: str,
    precision: str | None,
    device: str,
    save_every: int,
    evaluate_every: int,
    resume: bool,
) -> None:
    """Train a network and write its checkpoint."""
    settings = Settings(
        preset=preset,
        epochs=epochs,
        batch=batch,
        peak_rate=peak_rate,
        warmup=warmup,
        weight_decay=weight_decay,
        seed=seed,
        precision=precision or ("bf16" if device.startswith("cuda") else "float32"),
        augmentation=augmentation,
    )
    augment = make_augmentation(augmentation, PRESETS[preset])
    torch.manual_seed(seed)
    training = Training.start(build(PRESETS[preset]).to(device), settings)
    files = Files(output or Path(f"{preset}.safetensors"))
    if resume and files.state.exists():
        training.resume(files.state)
        console.print(f"going on after step {training.step}")
    try:
        train_split, test_split = (to_split(read_data(data, split)) for split in ("train", "test"))
    except Ds2taError as error:
        raise click.ClickException(str(error)) from error
    if len(train_split.labels) < batch:
        raise click.ClickException(f"there are {len(train_split.labels)} pictures, which is no batch of {batch}")
    train(training, train_split, test_split, augment, files, save_every=save_every, evaluate_every=evaluate_every)
    console.print(f"wrote {files.checkpoint}")


if __name__ == "__main__":
    main()
