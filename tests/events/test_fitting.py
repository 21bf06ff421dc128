import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.events.batch import EventBatch, Sensor
from ds2ta_deploy.events.fitting import Fit, fit_sensor

SIZES = st.integers(1, 40)


def everywhere(sensor: Sensor) -> EventBatch:
    """Return one event in every pixel."""
    y, x = (part.ravel().astype(np.int16) for part in np.indices((sensor.height, sensor.width)))
    return EventBatch(np.zeros(len(x), np.int64), x, y, np.ones(len(x), np.uint8))


@pytest.mark.parametrize(
    ("sensor", "size", "rule", "expected"),
    [
        (Sensor(128, 128), (128, 128), "downsample", (1, 0, 0)),  # DVS128
        (Sensor(128, 128), (64, 64), "downsample", (2, 0, 0)),  # CIFAR10-DVS at half size
        (Sensor(120, 100), (128, 128), "downsample", (1, 14, 4)),  # N-Cars
        (Sensor(34, 34), (128, 128), "downsample", (1, 47, 47)),  # nothing is blown up
        (Sensor(320, 240), (128, 128), "downsample", (3, 24, 10)),
        (Sensor(320, 240), (128, 128), "crop", (1, -56, -96)),
        (Sensor(35, 34), (34, 34), "downsample", (2, 8, 8)),
    ],
)
def test_known_sensors(sensor, size, rule, expected):
    assert fit_sensor(sensor, *size, rule) == Fit(*size, *expected)


@given(SIZES, SIZES, SIZES, SIZES)
def test_downsampling_keeps_every_pixel_and_takes_the_smallest_factor(width, height, input_width, input_height):
    fit = fit_sensor(Sensor(width, height), input_height, input_width)
    events = everywhere(Sensor(width, height))
    places, inside = fit.places(events)
    assert inside.all()
    assert fit.factor == next(f for f in range(1, 100) if -(-width // f) <= input_width and -(-height // f) <= input_height)
    counts = np.bincount(places, minlength=input_width * input_height).reshape(input_height, input_width)
    wanted = np.zeros_like(counts)
    for x, y in zip(events.x.tolist(), events.y.tolist(), strict=True):
        wanted[y // fit.factor + fit.row_offset, x // fit.factor + fit.column_offset] += 1
    assert (counts == wanted).all()
    for filled, size in ((counts.any(axis=1), input_height), (counts.any(axis=0), input_width)):
        first, last = np.flatnonzero(filled)[[0, -1]]
        assert (size - 1 - last) - first in (0, 1)  # in the centre


@given(SIZES, SIZES, SIZES, SIZES)
def test_cropping_takes_the_centre_and_leaves_pixels_as_they_are(width, height, input_width, input_height):
    fit = fit_sensor(Sensor(width, height), input_height, input_width, "crop")
    events = everywhere(Sensor(width, height))
    places, inside = fit.places(events)
    assert inside.sum() == min(width, input_width) * min(height, input_height) == len(set(places[inside].tolist()))
    assert fit.factor == 1
    seen_x, seen_y = events.x[inside], events.y[inside]
    for seen, size in ((seen_x, width), (seen_y, height)):
        assert abs(int(seen.min()) - (size - 1 - int(seen.max()))) <= 1
