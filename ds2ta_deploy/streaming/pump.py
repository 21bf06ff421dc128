"""Reading on one thread, computing on another, and a queue between them that cannot grow."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from ds2ta_deploy.streaming.decisions import Decider
from ds2ta_deploy.streaming.frames import Gap, StreamFrame

#: ``wait``: reading waits until there is room, and so does whoever writes into the pipe. ``skip``: the oldest frame that waits
#: is left out, and counted.
WhenLate = Literal["wait", "skip"]

#: What waits, and when it was complete; None at the end.
_Item = tuple[StreamFrame | Gap, float] | None
_Queue = queue.Queue[_Item]

#: Seconds between two looks at whether to stop.
_LOOK = 0.1


@dataclass(frozen=True)
class Decision:
    """What the network says behind a frame.

    Attributes:
        frame: number of the last frame it saw, on the grid of time.
        time: microseconds at which that frame ends.
        decision: the class of the largest logit; the first of several.
        logits: integers.
        steps: time steps they sum up.
        latency: microseconds from the frame being complete to the decision.
        backlog: frames that waited when the decision was made.

    """

    frame: int
    time: int
    decision: int
    logits: tuple[int, ...]
    steps: int
    latency: int
    backlog: int


@dataclass
class Totals:
    """What happened to all that came in; every event is in exactly one of ``seen``, ``outside``, ``clipped``, ``skipped_events``.

    Attributes:
        events: read, those before the beginning not counted.
        seen: counted in a frame that the network saw.
        outside: fell beside the network's input.
        clipped: came to a pixel whose count was full.
        skipped_events: were in frames that were left out.
        frames: that the network saw.
        empty: those of them without an event.
        skipped: frames that were left out because the queue was full.
        gaps: silences too long to be computed, behind which the run began anew.
        gap_frames: intervals that they lasted.
        waiting: frames at the end that a chunk still waited for.
        decisions: made.
        latency_sum: of all decisions, microseconds.
        latency_most: the largest.
        backlog: most frames that ever waited.

    """

    events: int = 0
    seen: int = 0
    outside: int = 0
    clipped: int = 0
    skipped_events: int = 0
    frames: int = 0
    empty: int = 0
    skipped: int = 0
    gaps: int = 0
    gap_frames: int = 0
    waiting: int = 0
    decisions: int = 0
    latency_sum: int = 0
    latency_most: int = 0
    backlog: int = 0


@dataclass
class Pump:
    """Moves frames from where they come to the network.

    Attributes:
        decider: the network.
        interval: microseconds of a frame.
        capacity: frames that may wait.
        when_late: what happens when as many wait.
        totals: what happened so far.
        next_frame: number of the frame behind the last one that the network saw; None before the first.

    """

    decider: Decider
    interval: int
    capacity: int = 64
    when_late: WhenLate = "wait"
    totals: Totals = field(default_factory=Totals)
    next_frame: int | None = None
    clock: Callable[[], float] = time.monotonic
    _anew: threading.Event = field(default_factory=threading.Event)

    def run(self, frames: Iterable[StreamFrame | Gap]) -> Iterator[Decision]:
        """Yield a decision behind every frame, or every chunk of frames.

        Whatever ``frames`` raises is raised here, behind the decisions on all that came before.
        """
        waiting: _Queue = queue.Queue(self.capacity)
        stop, failed = threading.Event(), list[BaseException]()
        reader = threading.Thread(target=self._read, args=(frames, waiting, stop, failed), daemon=True)  # may hang in a read
        reader.start()
        try:
            while (item := waiting.get()) is not None:
                made = self._take(*item, waiting.qsize())
                if made is not None:
                    yield made
        finally:
            stop.set()
            self.totals.waiting = self.decider.stepper.waiting
        if failed:
            raise failed[0]

    def _take(self, frame: StreamFrame | Gap, complete: float, backlog: int) -> Decision | None:
        totals = self.totals
        if isinstance(frame, Gap):
            self._count_gap(frame)
            self.decider.begin_anew()
            self.next_frame = frame.number
            return None
        if self._anew.is_set():
            self._anew.clear()
            self.decider.begin_anew()
        totals.frames += 1
        totals.empty += not frame.events
        totals.outside += frame.outside
        totals.clipped += frame.clipped
        totals.seen += frame.events - frame.outside - frame.clipped
        new = self.decider.take(frame.counts)
        self.next_frame = frame.number + 1
        if not new:
            return None
        logits = tuple(self.decider.logits[0].tolist())
        latency = int((self.clock() - complete) * 1e6)
        totals.decisions += 1
        totals.latency_sum += latency
        totals.latency_most = max(totals.latency_most, latency)
        totals.backlog = max(totals.backlog, backlog)
        end = (frame.number + 1) * self.interval
        return Decision(frame.number, end, logits.index(max(logits)), logits, self.decider.summed, latency, backlog)

    def _count_gap(self, gap: Gap) -> None:
        self.totals.gaps += 1
        self.totals.gap_frames += gap.frames

    def _read(self, frames: Iterable[StreamFrame | Gap], waiting: _Queue, stop: threading.Event, failed: list[BaseException]) -> None:
        """Put frames into the queue until they end; the reading thread's work."""
        try:
            for frame in frames:
                self.totals.events += frame.events if isinstance(frame, StreamFrame) else 0
                if self.when_late == "skip":
                    self._make_room(waiting)
                if not _put(waiting, (frame, self.clock()), stop):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by the other thread
            failed.append(error)
        _put(waiting, None, stop)

    def _make_room(self, waiting: _Queue) -> None:
        """Leave out what waits longest until there is room; that the run begins anew behind a gap is not forgotten."""
        while waiting.full():
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                return
            if item is not None and isinstance(item[0], StreamFrame):
                self.totals.skipped += 1
                self.totals.skipped_events += item[0].events
            elif item is not None and isinstance(item[0], Gap):
                self._count_gap(item[0])
                self._anew.set()


def _put(waiting: _Queue, item: tuple[StreamFrame | Gap, float] | None, stop: threading.Event) -> bool:
    """Wait for room; return False when nobody takes anything any more."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=_LOOK)
        except queue.Full:
            continue
        return True
    return False
