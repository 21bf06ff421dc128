"""The flags that say of a checkpoint what its file does not, by the fields of the config. Needs nothing: ``--help`` reads it."""

from dataclasses import dataclass
from typing import Literal, get_args

#: Names for ``--arch``; ``auto`` looks at the file.
Arch = Literal["auto", "ds2ta", "spikformer", "sdt", "statten", "snn-vit"]

ARCHES: tuple[str, ...] = get_args(Arch)


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
