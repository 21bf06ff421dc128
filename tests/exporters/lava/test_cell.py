"""A cell takes time steps in blocks, as many as its chunks need, and forgets everything between samples."""

import numpy as np
import pytest

from ds2ta_deploy.exporters.lava.ds2ta_lava.arithmetic import NetworkError
from ds2ta_deploy.exporters.lava.ds2ta_lava.cell import Cell, Step, block_steps


def step(op: str, inputs: str, outputs: str, *, once: bool = False, tensors=None, **integers: int) -> Step:
    return Step(op, tuple(inputs), tuple(outputs), integers, tensors or {}, once)


def chunks(size: int, read: str, made: str) -> Step:
    return step("Chunk", read, made, steps=size)


NEURON = step("Lif", "z", "sv", tensors={"threshold": np.array([3])}, leak_numerator=1, leak_shift=1)


@pytest.mark.parametrize(
    ("steps", "block"),
    [
        ([], 1),
        ([step("Tokens", "x", "y")], 1),
        ([chunks(1, "x", "y")], 1),
        ([chunks(4, "x", "y")], 4),
        ([chunks(4, "x", "y"), chunks(6, "x", "z")], 12),
        ([chunks(2, "x", "y"), chunks(3, "y", "z")], 6),
        ([chunks(4, "x", "y"), step("Unchunk", "y", "z", steps=4), chunks(2, "z", "a")], 4),
        ([chunks(4, "x", "y"), step("Unchunk", "y", "z", steps=2), chunks(3, "z", "a")], 12),
        ([chunks(4, "x", "y"), step("Repeat", "y", "z", time_steps=4), step("Tokens", "z", "a")], 4),
    ],
    ids=str,
)
def test_a_block_is_whole_chunks_of_every_size(steps, block):
    assert block_steps(steps) == Cell(steps, frozenset(), 24).block == block


def test_nothing_is_known_before_a_block_is_whole_and_then_all_of_it():
    cell = Cell(
        [chunks(3, "x", "y"), step("ReduceSum", "y", "w", axis=3), step("Unchunk", "y", "z", steps=3), NEURON], frozenset(), 24, SHAPES
    )
    arriving = [np.full((1, 1, 1), 2 * t) for t in range(6)]
    made = [cell.advance({"x": x}) for x in arriving]
    assert [sorted(known) for known in made] == [[], [], ["s", "v", "w", "x", "y", "z"]] * 2
    assert [int(total[0, 0, 0]) for known in made for total in known.get("w", [])] == [0 + 2 + 4, 6 + 8 + 10]
    assert [int(v[0, 0, 0]) for known in made for v in known.get("v", [])] == [0, 2, 5, 6, 8, 10]
    assert [len(cell.sent(known, "s")) for known in made] == [0, 0, 3] * 2
    with pytest.raises(NetworkError, match="w is sent in every time step, and is there in 1 of 3"):
        cell.sent(made[-1], "w")


SHAPES = {"w": ((1, 1, 1), "int32")}


def test_a_reset_forgets_the_steps_that_wait():
    cell = Cell([chunks(2, "x", "y")], frozenset(), 24)
    assert cell.advance({"x": np.array([[7]])}) == {}
    cell.reset()
    assert cell.advance({"x": np.array([[1]])}) == {}
    assert cell.advance({"x": np.array([[2]])})["y"][0].tolist() == [[1], [2]]


@pytest.mark.parametrize("size", [1, 2])
def test_a_still_value_is_made_once_and_sent_in_every_step(size):
    steps = [step("Add", "xx", "a", once=True), step("Repeat", "a", "y", time_steps=4), chunks(size, "y", "z")]
    cell = Cell(steps, frozenset(), 24)
    made = [cell.advance({"x": np.array([[5]])}) for _ in range(4)]
    assert [int(value[0, 0]) for known in made for value in known.get("a", [])] == [10]
    assert [int(value[0, 0]) for known in made for value in known.get("y", [])] == [10] * 4
    assert [int(value[0, 0]) for known in made for value in cell.sent(known, "a")] == [10] * 4
    cell.reset()
    made = [cell.advance({"x": np.array([[6]])}) for _ in range(size)]
    assert [int(value[0, 0]) for value in made[-1]["a"]] == [12]


def test_values_of_different_blocks_do_not_go_together():
    cell = Cell([chunks(2, "x", "y"), step("Mul", "xy", "z")], frozenset(), 24)
    cell.advance({"x": np.ones((1, 1))})
    with pytest.raises(NetworkError, match="Mul cannot make z"):
        cell.advance({"x": np.ones((1, 1))})
