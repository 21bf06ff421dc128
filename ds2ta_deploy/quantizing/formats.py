"""Which layers have a weight format of their own choosing, and which format the settings choose for each."""

from fnmatch import fnmatchcase

from torch import nn

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.grid import POWERS_OF_TWO, WeightGrid, uniform_grid
from ds2ta_deploy.models.layers import SpikingConv2d, SpikingLinear
from ds2ta_deploy.quantizing.settings import WEIGHT_FORMATS, Quantization, WeightFormat

#: The first layer, whose bits are a setting of their own.
_FIRST = "patch.stages.0"

#: The readout.
HEAD = "head"


def formattable_layers(model: nn.Module) -> tuple[str, ...]:
    """Dotted names of the layers whose weight format can be chosen: all but the first and those that add into a stream of currents.

    Example:
        >>> formattable_layers(model)[:2]  # doctest: +SKIP
        ('patch.stages.1', 'patch.stages.2')

    """
    spiking = [name for name, module in model.named_modules() if isinstance(module, SpikingLinear | SpikingConv2d) and name != _FIRST]
    return (*spiking, HEAD)


def choose_formats(model: nn.Module, settings: Quantization) -> dict[str, WeightFormat]:
    """Return the format of every layer that has a choice; of several patterns that match, the last counts.

    Raises:
        InputError: DS2TA-112 naming every pattern that matches no such layer and every format that there is not.

    """
    layers = formattable_layers(model)
    chosen: dict[str, WeightFormat] = dict.fromkeys(layers, settings.weight_bits)
    problems = []
    for pattern, wanted in settings.weights.items():
        matched = [name for name in layers if fnmatchcase(name, pattern)]
        if not matched:
            advice = f"layers whose format can be chosen: {', '.join(layers)}"
            problems.append(
                Problem("DS2TA-112", "is the name or the pattern of no layer whose weight format can be chosen", pattern, advice)
            )
        if wanted not in WEIGHT_FORMATS:
            advice = f"there are: {', '.join(map(str, WEIGHT_FORMATS))}"
            problems.append(Problem("DS2TA-112", f"the weight format {wanted!r} is not known", pattern, advice))
        chosen.update(dict.fromkeys(matched, wanted))
    if problems:
        raise InputError(problems)
    return chosen


def weight_grid(chosen: WeightFormat) -> WeightGrid:
    """Return the grid that a format stands for."""
    return uniform_grid(chosen) if isinstance(chosen, int) else POWERS_OF_TWO
