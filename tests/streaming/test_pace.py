"""Playing a recording at its own speed, by a clock of the test's."""

import numpy as np
from event_support import cut, some_events

from ds2ta_deploy.streaming.pace import paced


def test_events_come_when_they_are_due():
    now, told = [100.0], []

    def sleep(seconds):
        now[0] += seconds

    events = some_events([7_000, 7_400, 9_500, 30_000, 30_900])
    for batch in paced(cut(events, [3]), lambda: now[0], sleep):
        told += [(time, now[0]) for time in batch.timestamps.tolist()]
    assert [time for time, _ in told] == events.timestamps.tolist()
    for time, clock in told:
        assert 0 <= clock - 100 - (time - 7000) / 1e6 + 1e-9 <= 0.001


def test_who_is_late_is_not_waited_for():
    now = [0.0]

    def sleep(seconds):
        raise AssertionError(f"slept {seconds}")

    def clock():
        now[0] += 10  # everything is overdue
        return now[0]

    batches = list(paced([some_events([0, 5_000, 90_000])], clock, sleep))
    assert np.concatenate([batch.timestamps for batch in batches]).tolist() == [0, 5_000, 90_000]
