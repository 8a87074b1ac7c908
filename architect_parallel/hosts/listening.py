"""The launcher's ear at one host: it polls the host's journal, takes results over, and gives a silent host up.

Events come in the order of the host's journal, each with its position there. A result is in the launcher's repository
before `Collected` goes on. The host's own clock plays no part: it is lost after a time without an answer on the
launcher's monotonic clock, which stands still while the launcher sleeps.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from architect_parallel.domain import Reason, Status, WorkerSpec
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.event_json import decode
from architect_parallel.events import (
    AgentOutput,
    AgentStarted,
    Collected,
    Event,
    EventSource,
    StepTaken,
    UsageReported,
    Warned,
    WorkerFinished,
    WorkerPlaced,
)
from architect_parallel.hosts.base import Emit
from architect_parallel.hosts.link import Link, LinkBroken
from architect_parallel.hosts.taking_over import Brought, keep_file, take_over
from architect_parallel.hosts.wire import REFUSED
from architect_parallel.scheduling.retries import unstarted
from architect_parallel.system import clock
from architect_parallel.system.git import Repository
from architect_parallel.system.own_files import make_own_dir

WAIT_S = 1.0
"""Seconds that a host waits for an event before it answers a poll."""
ANSWER_S = 10.0
"""Seconds that a host has to answer."""
AGAIN_S = 0.2
LOG_BYTES = 1 << 20
"""Most bytes of the end of a log that are fetched."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Lane:
    """One attempt on its way."""

    spec: WorkerSpec
    place_key: str
    placed: WorkerPlaced | None = None
    refusals: dict[str, str] = field(default_factory=dict)
    """Address → the reason why the host does not take it."""
    stop: tuple[Reason, str] | None = None
    is_killed: bool = False
    is_resolved: bool = False
    is_durable: bool = False
    """Its place is recorded."""
    was_sent: bool = False
    """A host may have its order."""
    is_ordered: bool = False
    """A host has its order."""
    is_ended: bool = False
    is_lost: bool = False
    has_started: bool = False
    """An agent may have run."""
    cost: float | None = None
    """USD as last reported. `None` means unknown."""
    line: str = ""
    """The newest line of its agent."""
    problem: str | None = None
    """The reason why its result could not be taken over."""

    @property
    def key(self) -> str:
        return f"{self.spec.worker_id}-{self.spec.attempt}"

    @property
    def stopped(self) -> tuple[Status, Reason, str | None]:
        """The end of an attempt that was stopped before it began."""
        reason, detail = self.stop or (Reason.CANCELED, "")
        status = Status.TIMEOUT if reason is Reason.RUN_TIMEOUT else Status.CANCELED
        return status, reason, detail or None


@dataclass(slots=True)
class Listener:
    """Polls one host in a thread, from `start` to `close`."""

    link: Link
    launch_id: tuple[str, str, int]
    """Origin, run id and epoch."""
    repository: Repository
    run_dir: Path
    timeout_s: float
    emit: Emit
    on_end: Callable[[Lane], None]
    placed: WorkerPlaced
    after: int
    lanes: dict[str, Lane] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _closing: threading.Event = field(default_factory=threading.Event)
    _heard_s: float = 0.0

    def add(self, lane: Lane) -> None:
        """Take the events of an attempt from now on."""
        with self._lock:
            if not any(not lane.is_ended for lane in self.lanes.values()):
                self._heard_s = clock.monotonic_s()
            self.lanes[lane.key] = lane

    def remove(self, lane: Lane) -> None:
        """Forget an attempt that the host refused."""
        with self._lock:
            self.lanes.pop(lane.key, None)

    def start(self) -> None:
        """Begin to poll. A second call does nothing."""
        with self._lock:
            if self._thread is None:
                self._heard_s = clock.monotonic_s()
                self._thread = threading.Thread(target=self._listen, name=f"host-{self.placed.host}", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop polling. The host may remove what it has of the run, unless something of it was lost."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        if not any(lane.is_lost or lane.problem for lane in self.lanes.values()):
            try:
                self._ask("finish", {})
            except LinkBroken:
                _log.info("host %s keeps the run", self.placed.host)

    def _ask(self, verb: str, message: dict[str, Any], timeout_s: float = ANSWER_S) -> Any:
        origin, run_id, epoch = self.launch_id
        whole = {"origin": origin, "run_id": run_id, "epoch": epoch, **message}
        return self.link.call(self.placed.address, verb, whole, timeout_s)

    def _listen(self) -> None:
        while not self._closing.is_set():
            busy = [lane for lane in list(self.lanes.values()) if not lane.is_ended]
            if not busy and not any(lane.is_lost for lane in list(self.lanes.values())):
                self._closing.wait(AGAIN_S)
                continue
            ordered = [lane for lane in busy if lane.is_ordered]  # one that is ordered meanwhile may be too new
            try:
                reply = self._ask("poll", {"after": self.after, "wait_s": WAIT_S}, WAIT_S + ANSWER_S)
                self._heard_s = clock.monotonic_s()
                if REFUSED in reply:
                    self._lose(busy, f"{self.placed.host}: {reply[REFUSED]}")
                elif reply["host_id"] != self.placed.host_id:
                    self._lose(busy, f"another host answers for {self.placed.host}")
                else:
                    self._take(reply)
                    self._lose(
                        [lane for lane in ordered if lane.key not in reply["orders"]],
                        f"{self.placed.host} does not know it any more",
                    )
            except LinkBroken:
                silent_s = clock.monotonic_s() - self._heard_s
                if silent_s > self.timeout_s:
                    self._lose(busy, f"host {self.placed.host} was silent for {silent_s:.0f} s")
                self._closing.wait(AGAIN_S)
            except Exception:  # a bug, or a host that sends nonsense: it counts as silent
                _log.exception("reply of host %s", self.placed.host)
                if clock.monotonic_s() - self._heard_s > self.timeout_s:
                    self._lose(busy, f"host {self.placed.host} sends what cannot be read")
                self._closing.wait(AGAIN_S)

    def _lose(self, lanes: Sequence[Lane], error: str) -> None:
        """Give attempts up. Late results of theirs are kept, and move nothing."""
        for lane in lanes:
            if lane.is_ended or lane.key not in self.lanes:
                continue
            lane.is_ended = lane.is_lost = True
            cost = lane.cost if lane.has_started or lane.was_sent else 0.0
            result = replace(
                unstarted(lane.spec, Status.FAILED, Reason.HOST_LOST), error=error, cost=cost, host=self.placed.host
            )
            self.emit(lane.spec.worker_id, WorkerFinished(result=result, retryable=False))
            self.on_end(lane)

    # Events

    def _take(self, reply: Any) -> None:
        events = [(seq, key, decode(name, data)) for seq, key, name, data in reply["events"] if seq > self.after]
        lanes = dict(self.lanes)
        self._bring(
            {
                key: (lanes[key], event.diff.head if isinstance(event, Collected) else None)
                for _, key, event in events
                if key in lanes and (isinstance(event, Collected) or _is_salvage(event))
            }
        )
        for seq, key, event in _newest(events):
            lane = lanes.get(key)
            if lane is not None and not isinstance(event, WorkerPlaced):
                self._take_event(lane, event, EventSource(self.placed.host_id, seq))
        self.after = max([self.after, *(seq for seq, _, _ in events)])
        for lane in lanes.values():
            line = reply["lines"].get(str(lane.spec.worker_id))
            if line is not None and not lane.is_ended and lane.line != line:
                lane.line = line
                self.emit(lane.spec.worker_id, AgentOutput(text=line))

    def _take_event(self, lane: Lane, event: Event, source: EventSource) -> None:
        worker_id = lane.spec.worker_id
        if lane.is_lost:
            self._take_late(lane, event)
            return
        if lane.is_ended:
            return
        match event:
            case AgentStarted():
                lane.has_started = True
                event = replace(event, supervisor_pid=0, agent_pid=0)  # never looked up here
            case UsageReported(cost=cost):
                lane.cost = cost
            case Collected() if lane.problem is not None:
                return
            case WorkerFinished():
                event = self._ended(lane, event)
                lane.is_ended = True
                self.emit(worker_id, event, source)
                self._ask_quietly("taken", {"keys": [lane.key]})
                self.on_end(lane)
                return
        self.emit(worker_id, event, source)

    def _ended(self, lane: Lane, event: WorkerFinished) -> WorkerFinished:
        log_path = self._fetch_log(lane)
        result = replace(event.result, host=self.placed.host, log_path=None if log_path is None else str(log_path))
        if lane.problem is not None:
            result = replace(
                result,
                status=Status.FAILED,
                reason=Reason.COLLECT_FAILED,
                error=lane.problem,
                diff=None,
                files_modified=[],
            )
        return replace(event, result=result)

    def _take_late(self, lane: Lane, event: Event) -> None:
        """An attempt that was given up goes on: stop it, and say what became of it."""
        if isinstance(event, WorkerFinished):
            cost = "unknown" if event.result.cost is None else f"${event.result.cost:.4f}"
            text = f"worker {lane.spec.worker_id} ended late on the lost {self.placed.host} ({event.result.status})"
            self.emit(None, Warned(message=f"{text}; its work is kept, its branch was not moved; cost {cost}"))
            self._ask_quietly("taken", {"keys": [lane.key]})
            lane.is_lost = False
        else:
            stop = {"key": lane.key, "reason": Reason.CANCELED.value, "detail": "given up as lost", "kill": False}
            self._ask_quietly("stop", stop)

    def _ask_quietly(self, verb: str, message: dict[str, Any]) -> None:
        try:
            self._ask(verb, message)
        except LinkBroken:
            _log.info("%s did not reach %s", verb, self.placed.host)

    # Results

    def _bring(self, wanted: dict[str, tuple[Lane, str | None]]) -> None:
        """Fetch the bundles of attempts and take them over, all at once."""
        brought = []
        folder = make_own_dir(self.run_dir / "bundles")
        for lane, head in wanted.values():
            if lane.is_ended and not lane.is_lost:
                continue
            file = folder / f"{lane.key}.bundle"
            if self._fetch(lane, "bundle", file):
                brought.append(Brought(spec=lane.spec, file=file, head=head, is_late=lane.is_lost))
            elif head not in (None, lane.spec.base_commit):
                lane.problem = f"host {self.placed.host} has no bundle of its result"
        if not brought:
            return
        try:
            problems = take_over(self.repository, brought)
        except ArchitectParallelError as error:
            problems = {item.spec.worker_id: error.message for item in brought}
        for item in brought:
            problem = problems.get(item.spec.worker_id)
            if problem is None:
                item.file.unlink()
            else:
                kept = keep_file(item.file, self.run_dir / "refused")
                wanted[item.file.stem][0].problem = f"{problem}; the bundle is {kept}"

    def _fetch(self, lane: Lane, what: str, file: Path, most: int | None = None) -> bool:
        """Fetch a file of an attempt. Returns false if the host has none.

        Raises:
            LinkBroken: The host fell silent. Nothing of the poll was taken, so it is all asked for again.
        """
        reply = self._ask("read", {"key": lane.key, "what": what, "offset": 0 if most is None else 1 << 62})
        if reply.get("size") is None:
            return False
        offset = 0 if most is None else max(0, reply["size"] - most)
        with file.open("wb") as stream:
            while offset < reply["size"]:
                reply = self._ask("read", {"key": lane.key, "what": what, "offset": offset})
                if not reply.get("data"):
                    break
                stream.write(reply["data"])
                offset += len(reply["data"])
        return True

    def _fetch_log(self, lane: Lane) -> Path | None:
        logs = make_own_dir(self.run_dir / "logs")
        name = f"worker-{lane.spec.worker_id}" + (f"-{lane.spec.attempt}" if lane.spec.attempt > 1 else "")
        try:
            return logs / f"{name}.log" if self._fetch(lane, "log", logs / f"{name}.log", LOG_BYTES) else None
        except (LinkBroken, OSError):
            return None


def _is_salvage(event: Event) -> bool:
    return isinstance(event, WorkerFinished) and event.result.reason is Reason.HOST_LOST


def _newest(events: list[tuple[int, str, Event]]) -> list[tuple[int, str, Event]]:
    """The events without those that a later one of the same kind and worker replaces."""
    newest = {(key, type(event)): seq for seq, key, event in events}
    return [
        (seq, key, event)
        for seq, key, event in events
        if not isinstance(event, StepTaken | UsageReported) or newest[key, type(event)] == seq
    ]
