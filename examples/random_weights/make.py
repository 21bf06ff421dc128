"""Write a checkpoint of a preset with random weights whose every layer fires.

    python examples/random_weights/make.py --preset ds2ta-4-384 -o random.safetensors
    python examples/random_weights/make.py --preset ds2ta-2-256 --inputs recording.aedat4 -o random.safetensors

For trying a target, or measuring one, before there is a trained network of that size.
"""

from pathlib import Path

import click
import numpy as np

from ds2ta_deploy.checkpoints import save_checkpoint
from ds2ta_deploy.inputs import read_inputs
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.presets import PRESETS


@click.command()
@click.option("--preset", type=click.Choice(sorted(PRESETS)), default="ds2ta-4-384", show_default=True, help="Architecture.")
@click.option("--seed", default=0, show_default=True, help="Of weights and calibration.")
@click.option(
    "--inputs",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="Pictures or recordings of events on which every layer shall fire; may be repeated.  [default: synthetic ones]",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("random.safetensors"), show_default=True, help="Checkpoint to write."
)
def main(preset: str, seed: int, inputs: tuple[Path, ...], output: Path) -> None:
    """Write a checkpoint with calibrated random weights."""
    config = PRESETS[preset]
    shape = config.input_shape
    read = [read_inputs(path, shape).images for path in inputs]
    pixels = np.concatenate(read, axis=shape.index(None)) if read else None
    save_checkpoint(random_network(config, seed, pixels=pixels), output)
    click.echo(f"wrote {output}", err=True)


if __name__ == "__main__":
    main()
