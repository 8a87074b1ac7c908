"""An instance of a flow: its machine, the workers of the jobs that it demands, and the instances inside `parallel`.

Pure: how workers ended comes in, and which jobs want workers goes out. `snapshot()` is plain data from which
`Instance.restore` goes on. A flow that ended with a failure stays in its snapshot as it was before that failure: who
goes on with it wants the failure done again, and what ended well beside it not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from architect_parallel.flows.machine import Machine, Reader, Writer
from architect_parallel.flows.model import OUTPUT, Demand, Done, Ended, Flow, Jobs, SubFlow, SubFlows

End = Callable[[int], Done | None]
"""How the worker with an id ended. `None` means that it has not."""


class FlowChanged(Exception):
    """A state demands other work than when the flow came to it; holds its name."""


class Instance:
    """One flow at some point of its way. `demanded` is what has to be done there."""

    demanded: Demand

    def __init__(self, machine: Machine, read: Reader, workers: Sequence[int] = ()) -> None:
        """Args:
        workers: Ids of those that do the jobs which are demanded; empty means that the jobs have not begun.
        """
        self.machine = machine
        self._read = read
        self._workers: tuple[int, ...] = ()
        self._inner: list[Instance | Done | None] = []
        """By task of a `parallel` state with flows; `None` means that it has not begun. Only a success is `Done`."""
        self._at = machine.snapshot()
        self._look()
        if workers:
            self.begin(workers)

    @classmethod
    def restore(cls, flow: Flow, read: Reader, snapshot: Mapping[str, Any], within: str | None = None) -> Instance:
        """The instance as it was when `snapshot` was taken.

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
        """Where it is, as plain data for `json`."""
        inner = [{OUTPUT: each.output} if isinstance(each, Done) else each and each.snapshot() for each in self._inner]
        return {**self._at, "workers": list(self._workers), "inner": inner}

    def instances(self) -> Iterator[Instance]:
        """This one and those inside it that have begun and not ended well."""
        yield self
        for each in self._inner:
            if isinstance(each, Instance):
                yield from each.instances()

    @property
    def jobs(self) -> Jobs | None:
        """The jobs that it demands. `None` means that it demands something else."""
        return self.demanded if isinstance(self.demanded, Jobs) else None

    @property
    def workers(self) -> tuple[int, ...]:
        """Ids of the workers of its jobs; empty means that it demands none, or that they have not begun."""
        return self._workers

    def begin(self, workers: Sequence[int]) -> None:
        """Takes the ids of those that do the demanded jobs, in their order; raises `FlowChanged`."""
        if not isinstance(self.demanded, Jobs) or len(self.demanded.jobs) != len(workers):
            raise FlowChanged(self.machine.where)
        self._workers = tuple(workers)

    def refuse(self, why: str) -> None:
        """Takes that the demanded jobs cannot be done at all: a failure of their state."""
        self.machine.refused(why)
        self._look()

    def answer(self, text: str) -> None:
        """Takes the answer to a question; for a `Wait`, that it is over."""
        self.machine.answered(text)
        self._look()

    def go_on(self, end: End, writer: Callable[[], Writer]) -> None:
        """Goes on as far as the workers that have ended allow.

        Args:
            writer: Makes what writes the outputs of one state.
        """
        while True:
            if isinstance(self.demanded, SubFlows):
                ends = self._go_on_inside(self.demanded, end, writer)
            else:
                ends = [end(worker_id) for worker_id in self._workers]
            outcomes = [each for each in ends if each is not None]
            if not ends or len(outcomes) < len(ends):
                return
            self.machine.finished(outcomes, writer())
            self._look()
            if isinstance(self.demanded, Ended):
                return

    def _look(self) -> None:
        """Takes up what the machine demands now."""
        self.demanded = self.machine.demand()
        if isinstance(self.demanded, Ended):
            return
        self._at = self.machine.snapshot()
        self._workers = ()
        self._inner = [None] * (len(self.demanded.flows) if isinstance(self.demanded, SubFlows) else 0)

    def _go_on_inside(self, demanded: SubFlows, end: End, writer: Callable[[], Writer]) -> list[Done | None]:
        """Begins the flows that may begin and goes on with each; how they ended, `None` for those that have not."""
        ends: list[Done | None] = []
        live = sum(isinstance(each, Instance) for each in self._inner)
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
