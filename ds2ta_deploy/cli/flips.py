"""``ds2ta flips``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ds2ta_deploy.cli.events import INPUTS, event_options
from ds2ta_deploy.cli.imports import import_options, load
from ds2ta_deploy.cli.options import checkpoint_argument, json_option, print_json, settings_options

if TYPE_CHECKING:
    from ds2ta_deploy.events.frames import EventReading


@click.command("flips", epilog="Example: ds2ta flips ckpt.safetensors --inputs pictures.npz --weight-bits 6")
@checkpoint_argument
@click.option("--inputs", type=click.Path(path_type=Path), required=True, help=f"{INPUTS}.")
@settings_options
@event_options
@import_options
@json_option
def command(
    checkpoint: Path, inputs: Path, config: Path | None, as_json: bool, reading: "EventReading", said: dict[str, Any], **settings: Any
) -> None:
    """Measure which share of each layer's spikes the integer grid of CHECKPOINT changes on the inputs.

    Compared are the trained network in float32 and the quantized one, each running on from its own spikes. Nothing is
    demanded of the figures: what rounding costs is a property of the checkpoint.
    """
    from ds2ta_deploy.runtimes.table import require_torch

    require_torch()
    import msgspec

    from ds2ta_deploy.cli.export import read_settings
    from ds2ta_deploy.flips import measure_flips
    from ds2ta_deploy.inputs import read_inputs

    model = load(checkpoint, said).model
    pixels = read_inputs(inputs, model.config.input_shape, reading).images
    measured = measure_flips(model, pixels, read_settings(config, settings))
    if as_json:
        print_json(msgspec.to_builtins(measured))
        return
    widest = max(len(layer.name) for layer in measured.layers)
    click.echo(f"{'layer':{widest}}    flips    fires in float    in integers")
    for layer in measured.layers:
        flips, before, after = (count / layer.compared for count in (layer.flips, layer.float_spikes, layer.integer_spikes))
        click.echo(f"{layer.name:{widest}}  {flips:7.3%}           {before:7.2%}        {after:7.2%}")
    share = measured.same_decisions / measured.samples
    click.echo(f"same decision for {measured.same_decisions} of {measured.samples} samples ({share:.1%})")
