"""The configuration of a DS2TA network, and the three presets."""

import math
from typing import Literal

import msgspec

from ds2ta_deploy.errors import InputError, Problem

#: ``images``: one picture, shown at every time step. ``frames``: one frame of event counts a step.
InputKind = Literal["images", "frames"]

#: Largest sizes that a config may ask for; beyond them a file is damaged or hostile.
_SIZE_LIMITS = {
    "image_height": 4096,
    "image_width": 4096,
    "in_channels": 64,
    "time_steps": 1024,
    "num_classes": 100_000,
    "embed_dim": 8192,
    "depth": 128,
    "num_heads": 256,
    "mlp_ratio": 16,
    "temporal_window": 64,
}


class Ds2taConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a DS2TA checkpoint's tensors do not tell.

    Attributes:
        family: name of the model family.
        input_kind: ``images`` (uint8 ``[B, H, W, C]``) or ``frames`` (uint8 ``[T, B, H, W, C]``).
        image_height: pixels.
        image_width: pixels.
        in_channels: channels of the picture, or polarities of the event frames.
        time_steps: T, the number of steps the network runs.
        num_classes: number of logits.
        embed_dim: D, width of the token stream; divisible by 8 and by ``num_heads``.
        depth: number of encoder blocks.
        num_heads: attention heads; each has ``embed_dim / num_heads`` channels.
        mlp_ratio: hidden width of the MLP divided by D.
        pool_stages: four characters; ``1`` where a patch stage ends with a 3x3 max-pool of stride 2.
        qkv_bias: whether the q, k, v projections have a bias besides their batch norm.
        temporal_window: TAW of Eq. 1, number of time steps a query, key, value or output neuron sees.
        initial_decay: start value of the learned integer exponent tau of Eq. 5.
        initial_denoise_threshold: start value of u_h of Eq. 6.
        threshold: firing threshold theta of Eq. 3, all neurons but those of the attention map.
        membrane_time_constant: tau_m of Eq. 2 in time steps; 2 is exact in integers.
        decay_input: whether the input current is divided by tau_m as well (SpikingJelly's default).
        attention_scale: factor on A V before the attention neuron.
        attention_threshold: firing threshold of the attention neuron, in units of the scaled A V.
        pixel_scale: factor that turns a uint8 pixel into the unit of ``pixel_mean``.
        pixel_mean: mean of each channel.
        pixel_std: standard deviation of each channel.

    """

    family: Literal["ds2ta"] = "ds2ta"
    input_kind: InputKind = "images"
    image_height: int
    image_width: int
    in_channels: int
    time_steps: int
    num_classes: int
    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: int = 4
    pool_stages: str
    qkv_bias: bool = True
    temporal_window: int = 3
    initial_decay: int = 4
    initial_denoise_threshold: float = 3.0
    threshold: float = 1.0
    membrane_time_constant: float = 2.0
    decay_input: bool = False
    attention_scale: float = 0.125
    attention_threshold: float = 0.5
    pixel_scale: float = 1.0 / 255.0
    pixel_mean: tuple[float, ...]
    pixel_std: tuple[float, ...]

    @property
    def head_dim(self) -> int:
        """Channels of one head, d; the attention map holds integers in [0, d]."""
        return self.embed_dim // self.num_heads

    @property
    def stage_widths(self) -> tuple[int, int, int, int]:
        """Channels after each of the four patch stages: D/8, D/4, D/2, D."""
        return (self.embed_dim // 8, self.embed_dim // 4, self.embed_dim // 2, self.embed_dim)

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the network's input; ``None`` stands for the batch."""
        image = (None, self.image_height, self.image_width, self.in_channels)
        return image if self.input_kind == "images" else (self.time_steps, *image)

    def validate(self) -> None:
        """Check what the types do not say.

        Raises:
            InputError: naming every field that contradicts itself or another one.

        """
        wrong = [
            (name, f"must lie in 1..{most}")  # the value itself may be a number of a million digits
            for name, most in _SIZE_LIMITS.items()
            if not 1 <= getattr(self, name) <= most
        ]
        positive = ("threshold", "attention_scale", "attention_threshold", "pixel_scale")
        wrong += [(name, "must be a finite number greater than zero") for name in positive if not 0 < getattr(self, name) < math.inf]
        wrong += [(name, "must be finite") for name in ("initial_denoise_threshold",) if not math.isfinite(getattr(self, name))]
        if self.embed_dim % 8 or self.num_heads < 1 or self.embed_dim % self.num_heads:
            wrong.append(("embed_dim", "must be divisible by 8 and by num_heads"))
        if len(self.pool_stages) != 4 or set(self.pool_stages) - {"0", "1"}:
            wrong.append(("pool_stages", "must be four characters, each 0 or 1"))
        if not 1 < self.membrane_time_constant < math.inf:
            wrong.append(("membrane_time_constant", "must be a finite number greater than 1 time step"))
        if not 0 <= self.initial_decay <= 8:
            wrong.append(("initial_decay", "must lie in 0..8"))
        if len(self.pixel_mean) != self.in_channels or len(self.pixel_std) != self.in_channels:
            wrong.append(("pixel_mean, pixel_std", "need one value a channel"))
        if not all(math.isfinite(value) for value in self.pixel_mean) or not all(0 < value < math.inf for value in self.pixel_std):
            wrong.append(("pixel_mean, pixel_std", "must be finite, and the deviation greater than zero"))
        if wrong:
            raise InputError(Problem("DS2TA-110", reason, f"config.{name}", "correct the checkpoint's config") for name, reason in wrong)


PRESETS: dict[str, Ds2taConfig] = {
    "ds2ta-4-384": Ds2taConfig(
        image_height=32,
        image_width=32,
        in_channels=3,
        time_steps=4,
        num_classes=10,
        embed_dim=384,
        depth=4,
        num_heads=12,
        pool_stages="0011",
        pixel_mean=(0.4914, 0.4822, 0.4465),
        pixel_std=(0.2470, 0.2435, 0.2616),
    ),
    "ds2ta-2-256": Ds2taConfig(
        input_kind="frames",
        image_height=128,
        image_width=128,
        in_channels=2,
        time_steps=10,
        num_classes=10,
        embed_dim=256,
        depth=2,
        num_heads=16,
        pool_stages="1111",
        qkv_bias=False,
        initial_decay=2,
        initial_denoise_threshold=2.0,
        attention_scale=0.25,
        pixel_scale=1.0,
        pixel_mean=(0.0, 0.0),
        pixel_std=(1.0, 1.0),
    ),
    "ds2ta-2-64": Ds2taConfig(
        image_height=28,
        image_width=28,
        in_channels=1,
        time_steps=4,
        num_classes=10,
        embed_dim=64,
        depth=2,
        num_heads=4,
        pool_stages="1010",
        initial_decay=2,
        initial_denoise_threshold=1.0,
        pixel_mean=(0.2860,),
        pixel_std=(0.3530,),
    ),
}
