"""An instance of a flow: its machine, the workers of its jobs, and the instances inside `parallel`.

Pure: it takes how workers ended, and returns the jobs that need workers. `snapshot()` is plain data from which
`Instance.restore` goes on. A flow that failed keeps the snapshot from before the failure. Whoever resumes it wants the
failed work repeated, and the successful work of the same state kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from architect_parallel.flows.machine import Machine, Reader, Writer
from architect_parallel.flows.model import OUTPUT, Demand, Done, Ended, Flow, Jobs, SubFlow, SubFlows

End = Callable[[int], Done | None]
"""The end of a worker, by its id. `None` means that it has not ended."""


class FlowChanged(Exception):
    """A state demands other work than in the recorded run. Holds the name of the state."""


class Instance:
    """A flow in progress. `demanded` is the work that must be done next."""

    demanded: Demand

    def __init__(self, machine: Machine, read: Reader, workers: Sequence[int] = ()) -> None:
        """Args:
        workers: Ids of the workers that do the demanded jobs. Empty means that the jobs have not begun.
        """
        self.machine = machine
        self._read = read
        self._workers: tuple[int, ...] = ()
        self._inner: list[Instance | Done | None] = []
        """By task of a `parallel` state with flows. `None` means that it has not begun. Only a success is `Done`."""
        self._at = machine.snapshot()
        self._look()
        if workers:
            self.begin(workers)

    @classmethod
    def restore(cls, flow: Flow, read: Reader, snapshot: Mapping[str, Any], within: str | None = None) -> Instance:
        """The instance at the time of `snapshot`.

        Raises:
            KeyError: The flow has not the state any more.
            FlowChanged: The state demands other work.
        """
        machine = Machine.restore(flow, read, snapshot, within)
        instance = cls(machine, read, snapshot.get("workers", ()))
        inner = snapshot.get("inner", ())
        if not inner:
            return instance
        if not isinstance(instance.demanded, SubFlows) or len(instance.demanded.flows) != len(inner):
            raise FlowChanged(machine.where)
        for index, (sub_flow, saved) in enumerate(zip(instance.demanded.flows, inner, strict=True)):
            if saved is None:
                continue
            if OUTPUT in saved:
                instance._inner[index] = Done(exit_code=0, output=saved[OUTPUT])
            else:
                instance._inner[index] = cls.restore(sub_flow.flow, read, saved, sub_flow.within)
        return instance

    def snapshot(self) -> dict[str, Any]:
        """The state of the instance as plain data for `json`."""
        inner = [{OUTPUT: item.output} if isinstance(item, Done) else item and item.snapshot() for item in self._inner]
        return {**self._at, "workers": list(self._workers), "inner": inner}

    def instances(self) -> Iterator[Instance]:
        """This instance and those inside it that have begun and not succeeded."""
        yield self
        for item in self._inner:
            if isinstance(item, Instance):
                yield from item.instances()

    @property
    def jobs(self) -> Jobs | None:
        """The demanded jobs. `None` means that it demands something else."""
        return self.demanded if isinstance(self.demanded, Jobs) else None

    @property
    def workers(self) -> tuple[int, ...]:
        """Ids of the workers of its jobs. Empty means that it demands no jobs, or that they have not begun."""
        return self._workers

    def begin(self, workers: Sequence[int]) -> None:
        """Take the ids of the workers of the demanded jobs, in their order. Raises `FlowChanged`."""
        if not isinstance(self.demanded, Jobs) or len(self.demanded.jobs) != len(workers):
            raise FlowChanged(self.machine.where)
        self._workers = tuple(workers)

    def refuse(self, why: str) -> None:
        """Fail the state, because its jobs cannot be started."""
        self.machine.refused(why)
        self._look()

    def answer(self, text: str) -> None:
        """Take the answer to a question, or the end of a `Wait`."""
        self.machine.answered(text)
        self._look()

    def go_on(self, end: End, writer: Callable[[], Writer]) -> None:
        """Go on as far as the ended workers allow.

        Args:
            writer: Makes what writes the outputs of one state.
        """
        while True:
            if isinstance(self.demanded, SubFlows):
                ends = self._go_on_inside(self.demanded, end, writer)
            else:
                ends = [end(worker_id) for worker_id in self._workers]
            outcomes = [item for item in ends if item is not None]
            if not ends or len(outcomes) < len(ends):
                return
            self.machine.finished(outcomes, writer())
            self._look()
            if isinstance(self.demanded, Ended):
                return

    def _look(self) -> None:
        """Take the next demand of the machine."""
        self.demanded = self.machine.demand()
        if isinstance(self.demanded, Ended):
            return
        self._at = self.machine.snapshot()
        self._workers = ()
        self._inner = [None] * (len(self.demanded.flows) if isinstance(self.demanded, SubFlows) else 0)

    def _go_on_inside(self, demanded: SubFlows, end: End, writer: Callable[[], Writer]) -> list[Done | None]:
        """Start the flows that may start, go on with each, and return their ends. `None` means not ended."""
        ends: list[Done | None] = []
        live = sum(isinstance(item, Instance) for item in self._inner)
        for index, sub_flow in enumerate(demanded.flows):
            inner = self._inner[index]
            if inner is None and (demanded.at_once is None or live < demanded.at_once):
                inner, live = self._begun(sub_flow), live + 1
            if isinstance(inner, Instance):
                inner.go_on(end, writer)
                ended = inner._end()
                live -= ended is not None
                ends.append(ended)
                self._inner[index] = ended if ended is not None and ended.exit_code == 0 else inner
            else:
                self._inner[index] = inner
                ends.append(inner)
        return ends

    def _begun(self, sub_flow: SubFlow) -> Instance:
        return Instance(Machine(sub_flow.flow, self._read, sub_flow.variables, sub_flow.within), self._read)

    def _end(self) -> Done | None:
        if not isinstance(self.demanded, Ended):
            return None
        message = f"{self.demanded.state}: {self.demanded.message}" if self.demanded.message else ""
        output = self.machine.variables.get(OUTPUT, "")
        return Done(exit_code=self.demanded.exit_code, output=output, message=message)
