"""Whatever waits, and wherever: all that a process receives together is of one model step."""

from collections import deque
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ds2ta_deploy.exporters.lava.ds2ta_lava.schedule import Schedule, delay_of


@dataclass(frozen=True)
class Late:
    """A process as far as the schedule looks."""

    name: str
    inputs: tuple[str, ...]
    output: str
    delay: int


@st.composite
def networks(draw) -> list[Late]:
    """Draw processes, each of which reads one to three values that are there before it."""
    processes: list[Late] = []
    for index in range(draw(st.integers(1, 8))):
        made = st.sampled_from(["pixels", *(process.output for process in processes)])
        inputs = tuple(draw(st.lists(made, min_size=1, max_size=3)))
        processes.append(Late(f"p{index}", inputs, f"v{index}", draw(st.integers(0, 3))))
    return processes


@given(networks())
def test_ports_that_hold_back_deliver_one_model_step_together(processes):
    """Wires without delay, one value a step: what passes is the number of a model step."""
    schedule = Schedule.of(processes)
    queues = {process.name: [deque[int]() for _ in process.inputs] for process in processes}
    steps = 5
    computed: dict[str, list[int]] = {process.name: [] for process in processes}
    for now in range(steps + schedule.latency):
        wires = {"pixels": now}
        for process in processes:
            due = []
            for queue, name, lag in zip(queues[process.name], process.inputs, schedule.lags(process), strict=True):
                queue.append(wires[name])
                due.append(queue.popleft() if len(queue) > lag else -1)
            model_step = now - schedule.start[process.name]
            if 0 <= model_step < steps:
                assert due == [model_step] * len(due)
                computed[process.name].append(model_step)
            wires[process.output] = model_step - process.delay
    assert all(done == list(range(steps)) for done in computed.values())


@given(networks())
def test_nothing_waits_longer_than_it_must(processes):
    schedule = Schedule.of(processes)
    for process in processes:
        lags = schedule.lags(process)
        assert min(lags) == 0 or schedule.start[process.name] == 0
        assert schedule.ready[process.output] == schedule.start[process.name] + process.delay
    assert schedule.latency == max(schedule.ready.values())


def test_delays():
    assert [delay_of(stock=False, block=block) for block in (1, 2, 12)] == [0, 1, 11]
    assert delay_of(stock=True, block=1) == 1
