"""Hosts of a test: host services in this process, behind a link that can lose, repeat and delay what it carries."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import pytest

from architect_parallel.domain import AgentProfile, RunPlan, RunResult, WorkerSpec
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.events import Event, Recorded, RunStarted, WorkerFinished, WorkerPlaced
from architect_parallel.hosts.base import Emit
from architect_parallel.hosts.link import HostPlace, LinkBroken, Placer
from architect_parallel.hosts.remote import RemoteHost, RemoteLaunch
from architect_parallel.hosts.service import HostService
from architect_parallel.hosts.wire import Message, pack, read_frame, unpack, write_frame
from architect_parallel.journal import Journal
from architect_parallel.system.git import Repository, open_repository
from support.repositories import commit_all, make_repository
from support.runners import make_runner

RUN = "20260101-000000-test"
Fault = Callable[[str, str, int], str]
"""From address, verb and the number of such requests so far to `ok`, `lost`, `no reply` or `twice`."""


class Service(Protocol):
    def handle(self, verb: str, message: Message) -> Message: ...

    def close(self) -> None: ...


class HostProcess:
    """A host service in a process of its own, which can be killed."""

    def __init__(self, root: Path, name: str) -> None:
        self._lock = threading.Lock()
        code = "import sys; from support.hosts import serve; serve(*sys.argv[1:])"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(root), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def handle(self, verb: str, message: Message) -> Message:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            try:
                write_frame(
                    cast(BinaryIO, self._process.stdin), pack({"verb": verb, "message": {**message, "wait_s": 0.01}})
                )
                data = read_frame(cast(BinaryIO, self._process.stdout))
            except (OSError, ValueError) as error:
                raise LinkBroken("the host process is gone") from error
        if data is None:
            raise LinkBroken("the host process has ended")
        return unpack(data)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def serve(root: str, name: str) -> None:
    """Be the process of a `HostProcess`."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    service = HostService(Path(root), 2, name, environ)
    while (data := read_frame(sys.stdin.buffer)) is not None:
        request = unpack(data)
        write_frame(sys.stdout.buffer, pack(service.handle(request["verb"], request["message"])))


class MemoryLink:
    """Calls services of this process. Everything goes through the encoding of the wire."""

    def __init__(self, services: Mapping[str, Service], fault: Fault = lambda address, verb, count: "ok") -> None:
        self.services = dict(services)
        self.silent: set[str] = set()
        """Addresses that answer nothing."""
        self.calls: Counter[str] = Counter()
        self.orders: list[Message] = []
        self._fault = fault
        self._lock = threading.Lock()
        self._placer = Placer(self.members, self.call, look_s=0.05)
        self.ask_place = self._placer.ask_place
        self.give_back = self._placer.give_back
        self.close = self._placer.close

    def members(self) -> Mapping[str, str]:
        return {address: address for address in self.services}

    def granted(self, wait_s: float) -> Sequence[HostPlace]:
        return self._placer.granted(min(wait_s, 0.05))

    def call(self, address: str, verb: str, message: Message, timeout_s: float) -> Message:
        with self._lock:
            self.calls[verb] += 1
            count = self.calls[verb]
            if verb == "start":
                self.orders.append(message)
        what = self._fault(address, verb, count)
        if address in self.silent or what == "lost":
            raise LinkBroken(f"{address}: request lost")
        service = self.services[address]
        reply = service.handle(verb, unpack(pack(message)))
        if what == "twice":
            reply = service.handle(verb, unpack(pack(message)))
        if what == "no reply" or address in self.silent:
            raise LinkBroken(f"{address}: reply lost")
        return unpack(pack(reply))


class Site:
    """A launcher's repository, its journal, and the count of agents that started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = make_repository(folder / "repo")
        (self.root / "file.txt").write_text("base\n")
        self.base = commit_all(self.root, "base")
        self.repository: Repository = open_repository(self.root)
        self.journal = Journal.of(self.repository)
        self.starts_file = folder / "starts"
        self.host: RemoteHost | None = None
        self.services: list[Service] = []

    def service(self, name: str, slots: int = 2, labels: Mapping[str, int] | None = None) -> HostService:
        environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
        service = HostService(self.folder / name, slots, name, environ, labels)
        self.services.append(service)
        return service

    def process(self, name: str) -> HostProcess:
        process = HostProcess(self.folder / name, name)
        self.services.append(process)
        return process

    def spec(self, worker_id: int, script: str = "true", **more: Any) -> WorkerSpec:
        """A worker that counts its start and runs `script`."""
        spec = WorkerSpec(
            run_id=RUN,
            worker_id=worker_id,
            index=worker_id - 1,
            number=worker_id,
            name=f"worker-{worker_id}",
            prompt=f"echo {worker_id} >> '{self.starts_file}'; {script}",
            backend="shell",
            model=None,
            agent=AgentProfile(name="build"),
            branch=f"architect/parallel-{worker_id}",
            worktree_path=str(self.root / f".architect-parallel-{worker_id}"),
            base_commit=self.base,
        )
        return replace(spec, **more)

    def plan(self, specs: Sequence[WorkerSpec]) -> RunPlan:
        plan = RunPlan(
            run_id=RUN,
            repository=str(self.root),
            base_commit=self.base,
            base_ref="HEAD",
            workers=tuple(specs),
            max_parallel=len(specs),
        )
        if RUN not in self.journal.run_ids():
            self.journal.append([(RUN, None, RunStarted(plan=plan, launcher_pid=0))])
        return plan

    def launch(self, **more: Any) -> RemoteLaunch:
        run_dir = self.journal.run_dir(RUN)
        run_dir.mkdir(parents=True, exist_ok=True)
        fields: dict[str, Any] = {"epoch": 1, "timeout_s": 30.0} | more
        return RemoteLaunch(repository=self.repository, run_dir=run_dir, run_id=RUN, **fields)

    def run(
        self,
        link: MemoryLink,
        specs: Sequence[WorkerSpec],
        launch: RemoteLaunch | None = None,
        *,
        listeners: Sequence[Callable[[Recorded], None]] = (),
        standing: Mapping[int, WorkerFinished] | None = None,
    ) -> RunResult:
        """Run workers on the hosts of a link to their end."""

        def make_host(emit: Emit) -> RemoteHost:
            self.host = RemoteHost(link, launch or self.launch(), emit)
            return self.host

        plan = self.plan(specs)
        todo = [spec for spec in specs if spec.worker_id not in (standing or {})]
        runner = make_runner(plan, self.journal, make_host, todo=todo, listeners=listeners, standing=standing)
        return runner.run()

    def sent(self, link: MemoryLink, specs: Sequence[WorkerSpec]) -> int:
        """Run workers, and return the bytes of the bases that were sent for them."""
        self.run(link, specs)
        assert self.host is not None
        return self.host.shipping.sent_bytes

    def die_at(self, link: MemoryLink, specs: Sequence[WorkerSpec], kind: type[Event]) -> None:
        """Run workers until the first event of a kind is recorded. From then on nothing of the launcher arrives
        anywhere: neither in its journal nor at a host."""
        append = self.journal.append

        def dead(*_: object) -> list[Recorded]:
            raise EnvironmentProblem("the launcher is dead")

        def listen(recorded: Recorded) -> None:
            if isinstance(recorded.event, kind):
                link.silent |= link.services.keys()
                self.journal.append = dead  # type: ignore[method-assign, assignment]

        try:
            with pytest.raises(EnvironmentProblem, match="the launcher is dead"):
                self.run(link, specs, self.launch(timeout_s=0.2), listeners=[listen])
        finally:
            self.journal.append = append  # type: ignore[method-assign]

    def ends(self) -> dict[int, WorkerFinished]:
        """The ends of workers that are recorded. Two of one worker fail the test."""
        ends: dict[int, WorkerFinished] = {}
        for entry in self.journal.recorded(RUN):
            if isinstance(entry.event, WorkerFinished) and entry.worker_id is not None:
                assert entry.worker_id not in ends
                ends[entry.worker_id] = entry.event
        return ends

    def placed(self) -> dict[int, WorkerPlaced]:
        """The newest place of each worker."""
        recorded = self.journal.recorded(RUN)
        return {entry.worker_id or 0: entry.event for entry in recorded if isinstance(entry.event, WorkerPlaced)}

    def wait_for(self, file: Path) -> None:
        """Wait for a file that an agent writes."""
        self.wait_until(file.exists)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait for a state that comes by itself."""
        until_s = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < until_s, "it never came"
            time.sleep(0.01)

    def close(self) -> None:
        """Stop all hosts."""
        for service in self.services:
            service.close()
        self.journal.close()

    def starts(self) -> list[int]:
        """The workers whose agents started, once for each start."""
        return sorted(map(int, self.starts_file.read_text().split())) if self.starts_file.exists() else []

    def tree(self, ref: str) -> str:
        return self.repository.store.text("ls-tree", "-r", ref)


def ids(results: RunResult) -> list[tuple[int, str, str | None]]:
    return [(item.worker_id, item.status.value, item.reason and item.reason.value) for item in results.results]
