import hashlib

import numpy as np
import pytest

from ds2ta_deploy.synthetic import synthetic_pixels

SHAPES = {"images": (3, 9, 14, 2), "frames": (4, 3, 9, 14, 2)}


@pytest.mark.parametrize("kind", ["images", "frames"])
def test_pixels_have_the_shape_and_type_of_a_networks_input(kind):
    pixels = synthetic_pixels(kind, SHAPES[kind])
    assert pixels.dtype == np.uint8
    assert pixels.shape == SHAPES[kind]


@pytest.mark.parametrize("kind", ["images", "frames"])
def test_a_seed_always_gives_the_same_pixels_and_another_seed_others(kind):
    assert np.array_equal(synthetic_pixels(kind, SHAPES[kind], 5), synthetic_pixels(kind, SHAPES[kind], 5))
    assert not np.array_equal(synthetic_pixels(kind, SHAPES[kind], 5), synthetic_pixels(kind, SHAPES[kind], 6))


def test_pictures_are_the_ones_recorded_on_another_day():
    digest = hashlib.sha256(synthetic_pixels("images", SHAPES["images"], 5).tobytes()).hexdigest()
    assert digest.startswith("8f38a1b004277fe1")


def test_frames_are_the_ones_recorded_on_another_day():
    digest = hashlib.sha256(synthetic_pixels("frames", SHAPES["frames"], 5).tobytes()).hexdigest()
    assert digest.startswith("036d454d0e40ad32")


def test_pictures_are_smooth_and_use_the_whole_scale():
    pixels = synthetic_pixels("images", (4, 64, 64, 1)).astype(int)
    assert pixels.min() < 16
    assert pixels.max() > 239
    assert np.abs(np.diff(pixels, axis=2)).mean() < 32  # neighbours of pure noise differ by 85 on average


def test_samples_and_channels_differ():
    pixels = synthetic_pixels("images", (2, 16, 16, 2))
    assert not np.array_equal(pixels[0], pixels[1])
    assert not np.array_equal(pixels[..., 0], pixels[..., 1])


def test_frames_are_sparse_counts():
    frames = synthetic_pixels("frames", (5, 4, 32, 32, 2))
    assert 0.2 < frames.mean() < 0.3
    assert frames.max() > 1  # counts, not bits
    assert not np.array_equal(frames[0], frames[1])
