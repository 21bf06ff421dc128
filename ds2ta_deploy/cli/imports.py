"""The options that say of a checkpoint what its file does not, and the loading that every command shares."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ds2ta_deploy.cli.options import say
from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.importing.flags import ARCHES

if TYPE_CHECKING:
    from ds2ta_deploy.importing.loading import Imported

Function = TypeVar("Function", bound=Callable[..., Any])


def _read_size(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """``32x24`` is height by width, ``32`` a square."""
    if value is None:
        return None
    sides = value.lower().split("x")
    if not 1 <= len(sides) <= 2 or not all(side.isascii() and side.isdigit() and 0 < len(side) < 6 for side in sides):
        raise click.BadParameter("give height and width in pixels, as 32x32")
    return int(sides[0]), int(sides[-1])


def _read_numbers(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """``0.49,0.48,0.45`` is one number a channel."""
    if value is None:
        return None
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise click.BadParameter("give one number a channel, as 0.4914,0.4822,0.4465")
    return numbers


_OPTIONS = (
    click.option("--arch", type=click.Choice(ARCHES), default="auto", show_default=True, help="Family of a published checkpoint."),
    click.option("--time-steps", type=click.IntRange(1), help="Published checkpoint: time steps T."),
    click.option("--heads", "num_heads", type=click.IntRange(1), help="Published checkpoint: attention heads."),
    click.option("--image-size", metavar="HxW", callback=_read_size, help="Published checkpoint: height and width of its input."),
    click.option("--pool-stages", metavar="0011", help="Published checkpoint: 1 where one of its four patch stages pools."),
    click.option("--events/--images", "events", default=None, help="Published checkpoint: takes event frames, or pictures."),
    click.option("--pixel-scale", type=float, help="Factor on its uint8 pixels before the mean.  [default: 1/255; 1 for events]"),
    click.option("--pixel-mean", metavar="R,G,B", callback=_read_numbers, help="Published checkpoint: mean of its scaled pixels."),
    click.option("--pixel-std", metavar="R,G,B", callback=_read_numbers, help="Published checkpoint: deviation of its scaled pixels."),
    click.option("--chunk-steps", type=click.IntRange(1), help="STAtten: time steps that attend to each other."),
    click.option("--erode/--no-erode", default=None, help="SDT, STAtten: whether the event form's 3x3 maxima are taken (dvs_mode)."),
    click.option("--attention-scale", type=float, help="Factor on the attention's result.  [default: as published]"),
    click.option("--decay-input/--no-decay-input", default=None, help="Whether its neurons divide their input by tau, as SpikingJelly's."),
    click.option("--temporal-window", type=click.IntRange(1), help="DS2TA: time steps of its window.  [default: as published, 3]"),
    click.option("--dilation", type=click.IntRange(1), help="SNN-ViT: distance of the taps of its dilated convolutions."),
)

_NAMES = (
    *("arch", "time_steps", "num_heads", "image_size", "pool_stages", "events", "pixel_mean", "pixel_std"),
    *("pixel_scale", "chunk_steps", "erode", "attention_scale", "decay_input", "temporal_window", "dilation"),
)


def import_options(function: Function) -> Function:
    """Add the options to a command, which is given what was said in one argument, ``said``."""

    @functools.wraps(function)
    def command(**given: Any) -> Any:
        said = {name: given.pop(name) for name in _NAMES}
        events = said.pop("events")
        said["input_kind"] = None if events is None else "frames" if events else "images"
        return function(**given, said=said)

    decorated: Any = command
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    result: Function = decorated
    return result


def require_nothing_said(said: dict[str, Any], artifact: Path) -> None:
    """Refuse the options beside an artifact, whose manifest says everything.

    Raises:
        UsageError: DS2TA-504 when one of them was given.

    """
    if any(value is not None and (name, value) != ("arch", "auto") for name, value in said.items()):
        what = "--arch and its companions say what a checkpoint's file does not; this is an artifact"
        raise UsageError(Problem("DS2TA-504", what, str(artifact)))


def load(checkpoint: Path, said: dict[str, Any]) -> "Imported":
    """Load a checkpoint of any kind; says what was taken to be as published."""
    from ds2ta_deploy.importing.loading import read_model
    from ds2ta_deploy.importing.options import make_options

    imported = read_model(checkpoint, make_options(**said))
    for note in imported.notes:
        say(note)
    return imported
