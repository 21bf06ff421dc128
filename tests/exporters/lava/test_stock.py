"""The recipe: what Lava documents of its own processes, written down here again, gives the spikes of ``ops.Lif``."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lava_support import STOCK, stock_network, write_export

from ds2ta_deploy.exporters.lava.ds2ta_lava import stock
from ds2ta_deploy.exporters.lava.ds2ta_lava.cell import Step
from ds2ta_deploy.exporters.lava.ds2ta_lava.network import NetworkError, Process, read_network
from ds2ta_deploy.graph import ops


def population(weight, bias, threshold) -> Process:
    steps = (
        Step("Linear", ("x",), ("p",), {}, {"weight": weight}),
        Step("TemporalWindow", ("p",), ("c",), {"taps": 1, "decay": 0, "guard_bits": 0}, {"bias": bias}),
        Step("Lif", ("c",), ("s", "v"), {"leak_numerator": 1, "leak_shift": 1}, {"threshold": threshold}),
    )
    return Process("n", "SpikingLinear", "n", ("x",), "s", steps, "stock")


def sparse_and_lif_reset(recipe: stock.Recipe, arriving):
    """Run ``Sparse`` and ``LIFReset`` as Lava documents them, in Python integers; Lava's steps count from 1."""
    rows, columns = recipe.weights.shape
    held = [[(max(-256, min(255, int(w))) >> 1) << 1 for w in row] for row in recipe.weights]
    buffer, u, v, sent = [0] * rows, [0] * rows, [0] * rows, []
    for number, x in enumerate(arriving, 1):
        if number % recipe.reset_interval == recipe.reset_offset % recipe.reset_interval:
            u, v = [0] * rows, [0] * rows
        fired = []
        for row in range(rows):
            mantissa = int(recipe.bias_mant[row])
            assert -(2**12) <= mantissa < 2**12
            assert 0 <= recipe.bias_exp < 8
            assert 0 <= recipe.vth < 2**17
            u[row] = toward_zero(u[row] * (4096 - 4096), 4096) + (buffer[row] << 6)
            u[row] += 2**24 if u[row] <= -(2**23) else -(2**24) if u[row] > 2**23 else 0
            v[row] = toward_zero(v[row] * (4096 - 2048), 4096) + u[row] + (mantissa << recipe.bias_exp)
            v[row] = max(-(2**23) + 1, min(2**23 - 1, v[row]))
            fired.append(int(v[row] > recipe.vth << 6))
            v[row] = 0 if fired[-1] else v[row]
        sent.append(fired)
        total = [sum(held[row][column] * int(x[column]) for column in range(columns)) for row in range(rows)]
        buffer = [t << recipe.weight_exp if recipe.weight_exp > 0 else t >> -recipe.weight_exp for t in total]
    return np.array(sent)


def toward_zero(number: int, divisor: int) -> int:
    return abs(number) // divisor * (1 if number >= 0 else -1)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 7),
    st.integers(0, 5),
    st.sampled_from([(3, 3, 1), (127, 60, 1), (128, 63, 3), (2, 1, 255)]),
    st.integers(1, 3),
)
def test_the_recipe_fires_when_the_neuron_fires(seed, steps, start, sizes, samples):
    largest, most_bias, count = sizes
    random = np.random.default_rng(seed)
    weight = random.integers(-largest, largest, (3, 2), endpoint=True).clip(-128, 127).astype(np.int8)
    bias = random.integers(-most_bias, most_bias, 3, endpoint=True).astype(np.int32)
    threshold = np.full(3, random.integers(1, 2 * largest, endpoint=True), np.int32)
    x = random.integers(0, count, (steps, samples, 2), endpoint=True)
    current = ops.TemporalWindow("w", ("p",), ("c",), bias=bias, taps=1, decay=0, guard_bits=0).execute(
        *ops.Linear("l", ("x",), ("p",), weight=weight).execute(x[:, :, None])
    )
    expected, _ = ops.Lif("n", ("c",), ("s", "v"), threshold=threshold, leak_numerator=1, leak_shift=1).execute(*current)
    recipe = stock.recipe(population(weight, bias, threshold), steps, start)
    # Noise arrives before the first sample and behind the last one; the data of all samples one after the other.
    noise = random.integers(0, count, (start + 2, 2), endpoint=True)
    stream = np.concatenate([noise[:start], x.swapaxes(0, 1).reshape(-1, 2), noise[-2:]])
    sent = sparse_and_lif_reset(recipe, stream)[start + 1 : start + 1 + samples * steps]
    assert np.array_equal(sent.reshape(samples, steps, 3).swapaxes(0, 1), expected[:, :, 0])


def test_the_numbers_of_the_recipe():
    process = population(np.array([[3, -4]], np.int8), np.array([5], np.int32), np.array([7], np.int32))
    found = stock.recipe(process, 4, 2)
    assert (found.weights.tolist(), found.weight_exp) == ([[6, -8]], 2)
    assert int(found.bias_mant[0]) << found.bias_exp == 5 << (3 + 6)
    assert (found.vth, found.reset_interval, found.reset_offset) == ((7 << 3) - 1, 4, 0)
    assert (stock.recipe(process, 1, 0).weight_exp, stock.recipe(process, 1, 0).bias_exp) == (-1, 6)


def test_files_that_ask_stock_processes_for_more_than_they_can(tmp_path):
    process = population(np.ones((2, 2), np.int8), np.zeros(2, np.int32), np.array([3, 4], np.int32))
    with pytest.raises(NetworkError, match="several thresholds"):
        stock.recipe(process, 2, 0)
    with pytest.raises(NetworkError, match="not weights, bias and neuron"):
        stock.recipe(dataclasses.replace(process, steps=process.steps[:2]), 2, 0)
    directory = write_export(stock_network(2)[0], tmp_path, "stock")
    text = (directory / "graph.json").read_text()
    (directory / "graph.json").write_text(text.replace('"lowering": "stock"', '"lowering": "fpga"'))
    with pytest.raises(NetworkError, match=f"process '{STOCK[0]}' has a lowering that is neither custom nor stock"):
        read_network(directory)
