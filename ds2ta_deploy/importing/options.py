"""What a person may say of a checkpoint that its file does not. Needs no PyTorch."""

from typing import Any, Literal

import msgspec

from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.importing.flags import Arch


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said of a checkpoint; None leaves it to the file, or to the one value that was ever published.

    Attributes:
        arch: the model family.
        time_steps: T, number of steps the network runs.
        num_heads: attention heads.
        image_size: (height, width) of a picture or event frame, pixels.
        pool_stages: four characters, 1 where a patch stage pools.
        input_kind: ``images`` or ``frames``.
        pixel_scale: factor that turns a uint8 pixel into the unit of mean and deviation; 1/255 for pictures, 1 for events.
        pixel_mean: mean of each channel.
        pixel_std: standard deviation of each channel.
        chunk_steps: time steps that attend to each other (STAtten).
        erode: whether the event form's 3x3 maxima are taken (spike-driven transformer, STAtten).
        attention_scale: factor on the attention's result before its neuron.
        decay_input: whether neurons divide their input by tau_m, as SpikingJelly's do unless told otherwise.
        temporal_window: TAW of DS2TA's Eq. 1, time steps.
        dilation: distance of the taps of SNN-ViT's dilated convolutions, pixels.

    """

    arch: Arch = "auto"
    time_steps: int | None = None
    num_heads: int | None = None
    image_size: tuple[int, int] | None = None
    pool_stages: str | None = None
    input_kind: Literal["images", "frames"] | None = None
    pixel_scale: float | None = None
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None
    chunk_steps: int | None = None
    erode: bool | None = None
    attention_scale: float | None = None
    decay_input: bool | None = None
    temporal_window: int | None = None
    dilation: int | None = None

    def fields(self) -> dict[str, Any]:
        """Return what was said, by the names of the config's fields."""
        said = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None and name != "arch"}
        size = said.pop("image_size", None)
        return said if size is None else said | {"image_height": size[0], "image_width": size[1]}


def make_options(**said: Any) -> ImportOptions:
    """Return checked options.

    Raises:
        UsageError: DS2TA-514 for an unknown name or a value of another type.

    """
    try:
        return msgspec.convert({name: value for name, value in said.items() if value is not None}, ImportOptions)
    except msgspec.ValidationError as error:
        advice = f"known: {', '.join(ImportOptions.__struct_fields__)}"
        raise UsageError(Problem("DS2TA-514", str(error), "what is said of the checkpoint", advice)) from error
