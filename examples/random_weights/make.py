"""Write a checkpoint of a preset with random weights whose every layer fires.

    python examples/random_weights/make.py --preset ds2ta-4-384 -o random.safetensors

For trying a target, or measuring one, before there is a trained network of that size.
"""

from pathlib import Path

import click

from ds2ta_deploy.checkpoints import save_checkpoint
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.presets import PRESETS


@click.command()
@click.option("--preset", type=click.Choice(sorted(PRESETS)), default="ds2ta-4-384", show_default=True, help="Architecture.")
@click.option("--seed", default=0, show_default=True, help="Of weights and calibration.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("random.safetensors"), show_default=True, help="Checkpoint to write."
)
def main(preset: str, seed: int, output: Path) -> None:
    """Write a checkpoint with calibrated random weights."""
    save_checkpoint(random_network(PRESETS[preset], seed), output)
    click.echo(f"wrote {output}", err=True)


if __name__ == "__main__":
    main()
