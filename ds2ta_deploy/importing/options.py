"""What a person may say of a checkpoint that its file does not. Needs no PyTorch."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec

from ds2ta_deploy.errors import Problem, UsageError

#: Names for ``--arch``; ``auto`` looks at the file.
Arch = Literal["auto", "ds2ta", "spikformer", "sdt", "statten", "snn-vit"]

ARCHES: tuple[str, ...] = get_args(Arch)


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


@dataclass(frozen=True)
class Flag:
    """How a field of the config is said on the command line.

    Attributes:
        name: of the flag.
        usage: the flag with its argument, or both forms of it.
        words: what the field is.

    """

    name: str
    usage: str
    words: str


_IMAGE_SIZE = Flag("--image-size", "--image-size HxW", "the size of its input")

#: Field of the config -> the flag that says it.
FLAGS = {
    "family": Flag("--arch", "--arch NAME", "the family"),
    "time_steps": Flag("--time-steps", "--time-steps N", "the number of time steps"),
    "num_heads": Flag("--heads", "--heads N", "the number of attention heads"),
    "image_height": _IMAGE_SIZE,
    "image_width": _IMAGE_SIZE,
    "pool_stages": Flag("--pool-stages", "--pool-stages 0011", "which patch stages pool"),
    "input_kind": Flag("--images", "--images or --events", "whether it takes pictures or event frames"),
    "pixel_scale": Flag("--pixel-scale", "--pixel-scale X", "the unit of its pixels"),
    "pixel_mean": Flag("--pixel-mean", "--pixel-mean R,G,B", "the mean of its pixels"),
    "pixel_std": Flag("--pixel-std", "--pixel-std R,G,B", "the deviation of its pixels"),
    "chunk_steps": Flag("--chunk-steps", "--chunk-steps N", "the time steps of a chunk"),
    "erode": Flag("--erode", "--erode or --no-erode", "whether it was trained in the event form (dvs_mode)"),
    "attention_scale": Flag("--attention-scale", "--attention-scale X", "the attention scale"),
    "decay_input": Flag("--decay-input", "--decay-input or --no-decay-input", "whether neurons divide their input by tau"),
    "temporal_window": Flag("--temporal-window", "--temporal-window N", "the temporal window"),
    "dilation": Flag("--dilation", "--dilation N", "the dilation of its second convolutions"),
}


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
