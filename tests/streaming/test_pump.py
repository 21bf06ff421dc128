"""Between reading and computing nothing is lost, and nothing grows."""

import threading
import time

import numpy as np
import pytest
from builders import build_small_graph

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.graph.stepping import StepForm
from ds2ta_deploy.runtimes.reference import ReferenceStepper
from ds2ta_deploy.streaming.decisions import Decider
from ds2ta_deploy.streaming.frames import Gap, StreamFrame
from ds2ta_deploy.streaming.pump import Pump


@pytest.fixture(scope="module")
def graph():
    return build_small_graph(still=False)


def frame(number, events=6):
    counts = np.random.default_rng(number).integers(0, 256, (7, 5, 2), dtype=np.uint8)
    return StreamFrame(number, counts, events, 1, 2)


def pump(graph, **options):
    return Pump(Decider(ReferenceStepper(StepForm.of(graph), 1)), 1000, **options)


def test_every_frame_gives_a_decision(graph):
    moved = pump(graph, capacity=2)
    made = list(moved.run(map(frame, range(9))))
    expected = Decider(ReferenceStepper(StepForm.of(graph), 1))
    for number, decision in enumerate(made):
        expected.take(frame(number).counts)
        assert decision.logits == tuple(expected.logits[0].tolist())
        assert decision.decision == int(expected.logits[0].argmax())
        assert (decision.frame, decision.time) == (number, 1000 * (number + 1))
        assert decision.latency >= 0
    totals = moved.totals
    assert (totals.decisions, totals.frames, totals.skipped, moved.next_frame) == (9, 9, 0, 9)
    assert totals.events == totals.seen + totals.outside + totals.clipped == 54


def test_a_gap_makes_the_run_begin_anew(graph):
    moved = pump(graph)
    made = list(moved.run([frame(0), frame(1), Gap(50, 48), frame(50)]))
    fresh = list(pump(graph).run([frame(50)]))
    assert made[-1].logits == fresh[-1].logits
    assert (moved.totals.gaps, moved.totals.gap_frames) == (1, 48)


class Slow(Decider):
    """Waits at the first frame until everything was read."""

    read = threading.Event()

    def take(self, counts):
        assert self.read.wait(20)
        return super().take(counts)


@pytest.mark.parametrize("late", [["gap"], []])
def test_who_is_late_skips_the_oldest_frames_and_counts_them(graph, late):
    moved = Pump(Slow(ReferenceStepper(StepForm.of(graph), 1)), 1000, 4, "skip")
    Slow.read.clear()

    def source():
        yield frame(0)
        time.sleep(0.3)  # the first one is taken, and waits
        if late:
            yield Gap(1, 1)
        yield from map(frame, range(1, 11))
        Slow.read.set()

    made = list(moved.run(source()))
    assert [decision.frame for decision in made] == [0, 7, 8, 9, 10]
    totals = moved.totals
    assert (totals.frames, totals.skipped, totals.skipped_events) == (5, 6, 36)
    assert totals.events == totals.seen + totals.outside + totals.clipped + totals.skipped_events == 66
    assert (totals.gaps, made[1].steps) == ((1, 1) if late else (0, 2))
    assert totals.backlog <= 4


def test_who_waits_makes_the_reader_wait(graph):
    given = []

    def source():
        for number in range(30):
            given.append(number)
            yield frame(number)

    moved = pump(graph, capacity=3)
    decisions = moved.run(source())
    for done in range(30):
        next(decisions)
        time.sleep(0.01)
        assert len(given) <= done + 1 + 3 + 2  # waiting, in the reader's hand, and being asked for
    assert moved.totals.skipped == 0


def test_what_the_reader_raises_comes_behind_the_decisions_before_it(graph):
    def source():
        yield frame(0)
        raise InputError(Problem("DS2TA-183", "time runs backwards"))

    moved, made = pump(graph), []
    with pytest.raises(InputError, match="DS2TA-183"):
        made.extend(decision for decision in moved.run(source()))
    assert moved.totals.decisions == 1


def test_stopping_early_ends_the_reader(graph):
    ended = threading.Event()

    def source():
        try:
            for number in range(10**9):
                yield frame(number)
        finally:
            ended.set()

    decisions = pump(graph, capacity=2).run(source())
    next(decisions)
    decisions.close()
    assert ended.wait(20)
