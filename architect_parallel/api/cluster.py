"""The hosts of `--hosts` as they describe themselves, and the reason why one cannot be used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from architect_parallel import __version__
from architect_parallel.api.doctor import Finding
from architect_parallel.backends.base import Backend
from architect_parallel.backends.environment import secret_values
from architect_parallel.backends.redaction import holds_secret
from architect_parallel.domain import Isolation, WorkerSpec
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.event_json import to_plain
from architect_parallel.hosts.link import HELLO_S, LinkBroken, LinkOptions, open_link
from architect_parallel.hosts.wire import AGENT, PROTOCOL, HostInfo, from_message

AT_ONCE = 64
"""Hosts that are asked at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """One host."""

    name: str
    """As the engine has it."""
    address: str
    engine: str
    """The scheme of the URL."""
    info: HostInfo | None
    """`None` means that it does not answer."""
    problem: str | None
    """The reason why it cannot be used. `None` means that it can."""

    @property
    def used(self) -> int:
        """Places that running agents hold."""
        return 0 if self.info is None else self.info.slots - self.info.free.get(AGENT, 0)


def examine_hosts(url: str, options: LinkOptions) -> list[HostReport]:
    """Ask every host of a cluster to describe itself, all at the same time.

    Raises:
        UsageError: The URL is wrong.
        EnvironmentProblem: The cluster cannot be reached, or has no host.
    """
    engine = url.partition("://")[0]
    link = open_link(url, options)
    try:
        members = link.members()

        def ask(address: str) -> HostReport:
            info, problem = None, None
            try:
                info = from_message(HostInfo, link.call(address, "hello", {}, HELLO_S))
                problem = problem_of(info)
            except LinkBroken as error:
                problem = str(error)
            except ValueError:
                problem = "it answers in another protocol: install the same version of architect-parallel there"
            return HostReport(name=members[address], address=address, engine=engine, info=info, problem=problem)

        with ThreadPoolExecutor(max(1, min(len(members), AT_ONCE))) as pool:
            reports = list(pool.map(ask, members))
    except LinkBroken as error:
        raise EnvironmentProblem(f"{url} cannot be reached: {error}") from error
    finally:
        link.close()
    if not reports:
        raise EnvironmentProblem(f"{url} has no host", hint=f"on each host: architect host join {url}")
    return reports


def problem_of(info: HostInfo) -> str | None:
    """The reason why a host cannot be used from here. `None` means that it can."""
    if info.protocol != PROTOCOL or info.version != __version__:
        return f"it has architect-parallel {info.version}, and {__version__} is here: install the same version"
    return None


def require_hosts(
    specs: Sequence[WorkerSpec],
    url: str,
    options: LinkOptions,
    backends: Mapping[str, Backend],
    environ: Mapping[str, str],
) -> None:
    """Find out before anything is recorded that each worker has a host that can run it.

    Raises:
        UsageError: The URL is wrong, or a task holds the value of a secret variable.
        EnvironmentProblem: There is no such host. The message has the reasons.
    """
    remote = [spec for spec in specs if spec.isolation is Isolation.WORKTREE]
    secrets = {value for backend in backends.values() for value in secret_values(backend, environ)}
    for spec in remote:
        if holds_secret(json.dumps(to_plain(spec), ensure_ascii=False).encode(errors="replace"), secrets):
            hint = "name the variable instead, and set it on the hosts"
            raise UsageError(f"task {spec.worker_id} holds the value of a secret variable", hint=hint)
    reports = examine_hosts(url, options)
    usable = [report.info for report in reports if report.info is not None and report.problem is None]
    hint = f"architect doctor --hosts {url}"
    if not usable:
        problems = "; ".join(f"{report.name}: {report.problem}" for report in reports)
        raise EnvironmentProblem(f"no host can be used: {problems}", hint=hint)
    for spec in remote:
        if not any(info.meets({f"backend-{spec.backend}": 1}) for info in usable):
            missing = "; ".join(f"{info.name}: {info.backends.get(spec.backend, 'unknown')}" for info in usable)
            raise EnvironmentProblem(f"backend {spec.backend} is on no host: {missing}", hint=hint)
        if not any(info.meets({f"backend-{spec.backend}": 1, **spec.needs}) for info in usable):
            needs = ", ".join(f"{name}={amount}" for name, amount in spec.needs.items())
            raise EnvironmentProblem(f"task {spec.worker_id} needs {needs}: no host has it", hint=hint)


def finding_of(report: HostReport) -> Finding:
    """A host as a finding of the doctor."""
    check, info = f"host {report.name}", report.info
    if info is None or report.problem is not None:
        return Finding(check=check, level="problem", text=report.problem or "it does not answer")
    ready = sorted(name for name, missing in info.backends.items() if not missing)
    labels = [f"{name}={amount}" for name, amount in info.resources.items() if name != AGENT and "backend-" not in name]
    parts = [f"{info.slots} places, {report.used} used", f"ready: {', '.join(ready) or 'none'}"]
    parts += [f"labels: {', '.join(labels)}"] if labels else []
    parts += [f"{info.free_memory_bytes / 2**30:.1f} GiB memory free"] if info.free_memory_bytes is not None else []
    parts += [f"{info.free_disk_bytes / 2**30:.1f} GiB disk free"] if info.free_disk_bytes is not None else []
    if info.undelivered:
        runs = sorted({run_id for run_id, _ in info.undelivered})
        parts.append(f"results to fetch: {len(info.undelivered)}")
        remedy = f"architect host collect {runs[0]}"
        return Finding(check=check, level="note", text="; ".join(parts), remedy=remedy)
    return Finding(check=check, level="ok", text="; ".join(parts))


def plain_report(report: HostReport) -> Mapping[str, Any]:
    """A host as `doctor --json` shows it."""
    info = report.info or HostInfo(name=report.name, host_id="", incarnation="", protocol=0, version="", slots=0)
    return {
        "name": report.name,
        "host_id": info.host_id,
        "address": report.address,
        "slots": info.slots,
        "used": report.used,
        "labels": {name: amount for name, amount in info.resources.items() if name != AGENT},
        "version": info.version,
        "protocol": info.protocol,
        "python": info.python,
        "git": info.git,
        "system": info.system,
        "engine": report.engine,
        "proves_emptiness": info.proves_emptiness,
        "sandbox_levels": list(info.sandbox_levels),
        "free_memory_bytes": info.free_memory_bytes,
        "free_disk_bytes": info.free_disk_bytes,
        "backends": dict(info.backends),
        "undelivered": [{"run_id": run_id, "worker_id": worker_id} for run_id, worker_id in info.undelivered],
        "problem": report.problem,
    }
