import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from builders import every_index
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

matplotlib = pytest.importorskip("matplotlib", reason="needs the extra 'report'")

from ds2ta_deploy.pages.figures.canvas import PREFIX, ROLES, draw
from ds2ta_deploy.pages.figures.curves import HeadCurve, denoiser_curve
from ds2ta_deploy.pages.figures.histograms import bins, histogram
from ds2ta_deploy.pages.figures.maps import enlarge, mosaic, overlay, show_input
from ds2ta_deploy.pages.figures.rasters import MOST_NEURONS, raster


def some(axes):
    axes.plot([1, 2], [3, 4], "o", color=ROLES["accent"])
    axes.set_xlabel("s")


def names(svg):
    return set(re.findall(r' id="([^"]*)"', svg))


def test_a_drawing_is_whole_and_follows_the_theme():
    svg = draw(3, 2, (0.4, 0.4, 0.1, 0.1), some)
    root = ET.fromstring(svg)  # noqa: S314 - drawn here
    assert root.tag.endswith("svg")
    assert "width" not in root.attrib
    assert {"var(--accent)", "var(--muted)"} <= set(re.findall(r"var\(--\w+\)", svg))
    assert not re.search(r"#[0-9a-f]{6}\b", svg)
    assert all(name.startswith(PREFIX) for name in names(svg))
    referred = set(re.findall(r'xlink:href="#([^"]*)"', svg)) | set(re.findall(r"url\(#([^)]*)\)", svg))
    assert referred == names(svg)
    assert "<metadata" not in svg
    assert "<style" not in svg
    assert any(element.text == "s" for element in root.iter("{http://www.w3.org/2000/svg}text"))


def test_a_users_settings_change_nothing():
    expected = draw(3, 2, (0.4, 0.4, 0.1, 0.1), some)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path", "lines.linewidth": 9}):
        assert draw(3, 2, (0.4, 0.4, 0.1, 0.1), some) == expected


@given(hnp.arrays(np.int16, st.integers(1, 60), elements=st.integers(-300, 300)))
def test_bars_count_every_integer_once(integers):
    counts, edges = bins(integers)
    assert len(counts) <= 64
    assert len(set(np.diff(edges).tolist())) == 1
    for bar, count in enumerate(counts):
        assert count == sum(edges[bar] <= value < edges[bar + 1] for value in integers.tolist())
    assert counts.sum() == integers.size


def test_a_histogram_has_its_numbers():
    picture = histogram("layer", np.array([[-3, 0], [0, 5]], np.int8), "weight")
    rows = dict(row[:2] for row in picture.numbers.rows)
    assert (rows["integers"], rows["smallest"], rows["largest"], rows["distinct"], rows["zero"]) == (4, -3, 5, 3, "50.0 %")
    assert (rows["-3"], rows["0"], rows["5"]) == (1, 2, 1)
    assert "4 integers (weight) between -3 and 5; 50.0 % are 0" in picture.alt


@pytest.mark.parametrize(("table", "last"), [([0, 0, 2, 0], 1), ([1, 0], None), ([0, 0], 1), ([0, -1], 0)])
def test_where_the_leading_zeros_end(table, last):
    assert HeadCurve(0, np.array(table), np.array([1] * len(table))).last_zero == last


def test_a_curve_shows_what_is_known():
    table, scores = np.array([0, 0, 3]), np.array([6, 3, 1])
    bare = denoiser_curve(HeadCurve(1, table, scores))
    assert [row[1] for row in bare.numbers.rows] == [0, 0, 3]
    assert [row[-1] for row in bare.numbers.rows] == ["60.0 %", "30.0 %", "10.0 %"]
    assert "0 up to s = 1" in bare.alt
    known = denoiser_curve(HeadCurve(1, table, scores, np.array([0.0, 0.25, 2.9]), 1.5))
    assert [row[2] for row in known.numbers.rows] == ["0.000", "0.250", "2.900"]
    assert "u is 1.500" in known.alt
    assert known.svg.count("var(--second)") > bare.svg.count("var(--second)") == 0


def test_a_raster_counts_all_and_draws_a_sample():
    spikes = np.random.default_rng(0).integers(0, 2, (4, 30, 40), dtype=np.uint8)
    picture = raster("layer", spikes)
    assert [row[1] for row in picture.numbers.rows] == spikes.sum(axis=(1, 2)).tolist()
    assert f"{MOST_NEURONS} of 1,200 neurons" in picture.svg
    assert f"{int(spikes.sum()):,} spikes of 1,200 neurons over 4 time steps" in picture.alt
    silent = raster("layer", np.zeros_like(spikes))
    assert silent.svg != picture.svg


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_every_kind_of_input_becomes_a_picture(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, channels), dtype=np.uint8)
    shown = show_input(pixels)
    assert (shown.shape, shown.dtype) == ((6, 4, 3), np.uint8)
    if channels == 3:
        assert np.array_equal(shown, pixels)
    if channels == 1:
        assert np.array_equal(shown, np.repeat(pixels, 3, axis=-1))


def test_events_are_summed_over_time():
    frames = np.zeros((3, 2, 2, 2), np.uint8)
    frames[:, 0, 0, 0], frames[1, 1, 1, 1] = 255, 255
    shown = show_input(frames)
    assert shown[0, 0, 0] == 255
    assert shown[1, 1, 2] == 85
    assert shown[0, 1].sum() == 0


def test_nothing_is_smoothed():
    array = np.arange(6).reshape(2, 3)
    large = enlarge(array, 4, 9)
    assert all(large[y, x] == array[y // 2, x // 3] for y, x in every_index(large.shape))


def test_attention_is_laid_over_the_picture():
    picture = np.full((8, 8, 3), 100, np.uint8)
    heat = np.zeros((2, 2))
    heat[0, 1], heat[1, 0] = 2.0, -2.0
    mixed = overlay(picture, heat, 2.0).astype(int)
    assert (mixed[:4, :4] == 62).all()
    warm, cold = mixed[0, 7], mixed[7, 0]
    assert warm[0] > 1.5 * warm[2]
    assert cold[2] > cold[0]
    assert (overlay(picture, np.zeros((2, 2)), 0.0) == 62).all()


def test_a_mosaic_names_heads_and_steps():
    svg = mosaic(np.full((30, 200, 3), 9, np.uint8), np.ones((2, 3, 2, 4)), [0, 7], ["t = 0", "t = 1", "t = 5"])
    root = ET.fromstring(svg)  # noqa: S314 - drawn here
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert texts == {"input", "head 0", "head 7", "t = 0", "t = 1", "t = 5"}
