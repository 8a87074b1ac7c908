"""Ports and a name for the services of one worker: its test servers, databases and containers.

Agents, setup commands and checks get them as `ARCHITECT_PORT` and `ARCHITECT_NAME`, so that the services of several
workers do not meet. A further attempt gets the same name, and the same ports if they are still free.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from architect_parallel.domain import WorktreeSettings
from architect_parallel.system.files import make_private_dir, replace_file
from architect_parallel.system.ports import free_ports


@contextlib.contextmanager
def services(run_dir: Path, owner: str, settings: WorktreeSettings) -> Iterator[dict[str, str]]:
    """Yield the variables. The ports are kept from other launchers until the end of the block.

    Args:
        run_dir: The run's directory. Its name is the run's id.
        owner: `worker-<id>`, `base` or `merge`.

    Raises:
        EnvironmentProblem: No ports are free.
    """
    record, earlier = run_dir / "ports" / owner, None
    with contextlib.suppress(OSError, ValueError):
        earlier = int(record.read_text())
    with free_ports(settings.ports.first, settings.ports.count, preferred=earlier) as port:
        if port != earlier:
            make_private_dir(record.parent)
            replace_file(record, f"{port}\n".encode(), mode=0o600)
        yield {"ARCHITECT_PORT": str(port), "ARCHITECT_NAME": service_name(run_dir, owner)}


def service_name(run_dir: Path, owner: str) -> str:
    """The name: letters, digits and `_`, at most 63 characters, in lower case as containers want it.

    >>> service_name(Path("/repo/.git/architect/runs/20260304-050607-ab12"), "worker-3")
    'architect_20260304_050607_ab12_b5a4_3'
    """
    # Another repository of this machine may have a run with the same id, such as the original of a copy.
    repository = hashlib.sha256(os.fsencode(os.path.realpath(run_dir.parent))).hexdigest()[:4]
    text = f"architect_{run_dir.name}_{repository}_{owner.removeprefix('worker-')}"
    return re.sub(r"[^a-z0-9]+", "_", text.lower())
