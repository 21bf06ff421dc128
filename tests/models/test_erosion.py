import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import every_index

from ds2ta_deploy.models.erosion import Erosion, HeadErosion


@st.composite
def tokens(draw, heads=1):
    """Random spikes ``[T, B, N, D]``, sparse so that maxima are not all one, and the rows of their feature map."""
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 2)), rows * columns, heads * draw(st.integers(1, 3)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    return (torch.rand(shape, generator=generator) < 0.15).double(), rows


def near(index, size):
    return range(max(index - 1, 0), min(index + 2, size))


@given(tokens())
def test_the_maximum_over_neighbouring_pixels_of_the_same_channel(case):
    spikes, rows = case
    columns = spikes.shape[2] // rows
    pooled = Erosion(rows)(spikes)
    assert pooled.shape == spikes.shape
    for t, b, n, c in every_index(spikes.shape):
        row, column = divmod(n, columns)
        expected = max(float(spikes[t, b, r * columns + q, c]) for r in near(row, rows) for q in near(column, columns))
        assert float(pooled[t, b, n, c]) == expected


@given(tokens(heads=3))
def test_the_maximum_over_neighbouring_tokens_and_channels_of_the_same_head(case):
    spikes, _ = case
    count, width = spikes.shape[2], spikes.shape[3] // 3
    pooled = HeadErosion(3)(spikes)
    assert pooled.shape == spikes.shape
    for t, b, n, c in every_index(spikes.shape):
        head, channel = divmod(c, width)
        expected = max(float(spikes[t, b, m, head * width + d]) for m in near(n, count) for d in near(channel, width))
        assert float(pooled[t, b, n, c]) == expected


def test_one_spike_reaches_its_neighbours_only():
    spikes = torch.zeros(1, 1, 12, 6)  # 3 rows of 4 tokens, 2 heads of 3 channels
    spikes[0, 0, 7, 2] = 1.0  # the end of the second row, the end of the first head
    picture, head = Erosion(3)(spikes)[0, 0].nonzero().tolist(), HeadErosion(2)(spikes)[0, 0].nonzero().tolist()
    assert picture == [[2, 2], [3, 2], [6, 2], [7, 2], [10, 2], [11, 2]]
    assert head == [[6, 1], [6, 2], [7, 1], [7, 2], [8, 1], [8, 2]]
