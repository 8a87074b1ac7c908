"""The one way to import `distributed`: its loggers silenced, its settings ours, its connections encrypted.

Nothing here may be imported without `--hosts dask://` or `architect host`: distributed costs 0.4 s.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from architect_parallel.config.paths import home_dir, user_config_dir
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.hosts.certificates import CA_CERTIFICATE, CERTIFICATE, KEY, missing_extra
from architect_parallel.hosts.link import LinkOptions

SCHEME = "dask://"
CONNECT_S = 10.0
"""Seconds that a connection to the scheduler may take."""
VERB = "architect"
"""The name of our one handler in a Dask worker."""
BLOCKED_ON_HOSTS = (
    *("run", "run_coroutine", "upload_file", "update_data", "plugin-add", "plugin-remove"),
    *("actor_execute", "actor_attribute", "benchmark_disk", "benchmark_memory", "benchmark_network"),
)
"""Requests to a worker that would unpickle functions or data. Place tasks do not need them."""
BLOCKED_ON_SCHEDULER = (
    *("run_function", "feed", "broadcast", "scatter", "update_data", "benchmark_hardware", "restart"),
    *("register_scheduler_plugin", "unregister_scheduler_plugin", "register_worker_plugin"),
    *("unregister_worker_plugin", "register_nanny_plugin", "unregister_nanny_plugin"),
)
_QUIET = logging.CRITICAL + 1
_LOGGERS = ("distributed", "distributed.client", "distributed.worker", "distributed.scheduler", "tornado", "bokeh")
_SETTINGS: Mapping[str, Any] = {
    "logging": dict.fromkeys(_LOGGERS, "critical"),
    "distributed.scheduler.http.routes": [],
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-ttl": "60s",
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,
    "distributed.diagnostics.nvml": False,
    "distributed.comm.timeouts.connect": "10s",
    "distributed.comm.retry.count": 0,
}


def load_distributed(what: str) -> Any:
    """Import `distributed` and return it.

    Args:
        what: The option or command that needs it.

    Raises:
        EnvironmentProblem: The extra `[dask]` is not installed.
    """
    try:
        import dask.config
    except ImportError as error:
        raise missing_extra(what) from error
    dask.config.set(_SETTINGS)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(_QUIET)
    try:
        import distributed
    except ImportError as error:
        raise missing_extra(what) from error
    for name in (*_LOGGERS, "distributed.core", "distributed.comm", "distributed.nanny", "tornado.application"):
        logging.getLogger(name).setLevel(_QUIET)
    return distributed


def read_url(url: str, what: str = "--hosts") -> tuple[str, int]:
    """Host and port of a `dask://` URL.

    Raises:
        UsageError: It is no such URL.
    """
    host, _, port = url.removeprefix(SCHEME).rstrip("/").rpartition(":")
    if not url.startswith(SCHEME) or not host or not port.isdecimal() or not 0 <= int(port) < 65536:
        raise UsageError(f"{what} {url}: not dask://HOST:PORT", hint=f"{what} dask://head:8786")
    return host, int(port)


def security(options: LinkOptions, distributed: Any, role: str = "client") -> Any:
    """The TLS settings of a connection. `None` with `--insecure`.

    Args:
        role: One of `certificates.ROLES`, for the hint.

    Raises:
        EnvironmentProblem: A certificate is missing.
    """
    if options.insecure:
        return None
    directory = options.tls_dir or user_config_dir(os.environ, home_dir()) / "tls"
    files = {name: directory / name for name in (CA_CERTIFICATE, CERTIFICATE, KEY)}
    for path in files.values():
        if not os.access(path, os.R_OK):
            raise EnvironmentProblem(
                f"no certificate: {path} cannot be read",
                hint=f"architect host certs DIR, then --tls-dir DIR/{role}",
            )
    pair = {
        f"tls_{role}_{part}": str(files[name])
        for role in ("scheduler", "worker", "client")
        for part, name in (("cert", CERTIFICATE), ("key", KEY))
    }
    _require_pair(files[CA_CERTIFICATE], files[CERTIFICATE], files[KEY])
    return distributed.security.Security(require_encryption=True, tls_ca_file=str(files[CA_CERTIFICATE]), **pair)


def _require_pair(ca: Path, certificate: Path, key: Path) -> None:
    import ssl

    try:
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        why = getattr(error, "reason", None) or error.strerror or str(error)
        raise EnvironmentProblem(f"the certificates in {certificate.parent} cannot be used: {why}") from error


def engine_address(url: str, options: LinkOptions, what: str = "--hosts") -> str:
    """The address of a Dask scheduler."""
    host, port = read_url(url, what)
    return f"{'tcp' if options.insecure else 'tls'}://{host}:{port}"


def require_listener(address: str) -> None:
    """Fail at once if no program listens at an address. Dask would try until its time is over.

    Raises:
        OSError: Nobody does.
    """
    host, _, port = address.rpartition("//")[2].rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()


def cause_of(error: BaseException) -> BaseException:
    """The innermost cause of an error of Dask's."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def reason_of(error: BaseException) -> str:
    """The innermost cause of an error of Dask's, as one line."""
    error = cause_of(error)
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
