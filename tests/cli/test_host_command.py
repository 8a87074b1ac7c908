"""`architect host` and `doctor --hosts`: refusals are one line, keys are private, Dask is not loaded in vain."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.console import Architect
from support.sshd import running_sshd

WORDS = """
import sys
from architect_parallel.cli.app import run
code = run(sys.argv[1:])
sys.stderr.write(f"{code} {sorted({'dask', 'distributed', 'cryptography', 'tornado'} & set(sys.modules))}\\n")
"""


@pytest.mark.parametrize(
    "words", [("--help",), ("host", "--help"), ("host", "join", "--help"), ("doctor", "--json"), ("status",)]
)
def test_no_command_without_hosts_loads_dask(checkout: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", WORDS, *words], cwd=checkout, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] in ("0 []", "4 []"), done.stderr


def test_a_host_that_joins_does_load_it(checkout: Path) -> None:
    """The control."""
    words = ("host", "join", "dask://127.0.0.1:1")
    done = subprocess.run([sys.executable, "-c", WORDS, *words], cwd=checkout, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "3 ['dask', 'distributed', 'tornado']", done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("host", "join", "box"), 2, "architect host join box: not dask://HOST:PORT"),
        (("host", "join", "dask://box"), 2, "architect host join dask://box: not dask://HOST:PORT"),
        (("host", "join", "dask://a:1", "--slots", "0"), 2, "--slots '0': must be a whole number of at least 1"),
        (("host", "join", "dask://a:1", "--label", "agent=1"), 2, "--label 'agent=1': must be the name of a label"),
        (("host", "join", "dask://a:1", "--name", "a/b"), 2, "--name 'a/b': must be text without '/'"),
        (("host", "join", "dask://a:1"), 3, "no certificate: "),
        (("host", "join", "dask://a:1", "--insecure", "--tls-dir", "x"), 2, "--insecure and --tls-dir exclude"),
        (("host", "serve", "--listen", "here"), 2, "--listen here: not HOST:PORT"),
        (("host", "serve"), 3, "no certificate: "),
        (("host", "serve", "--listen", "192.0.2.1:1", "--insecure"), 3, "--listen 192.0.2.1:1 cannot be used"),
        (("host", "certs", "."), 2, ". exists and is not an empty directory"),
        (("doctor", "--hosts", "box"), 2, "--hosts box: not dask://HOST:PORT or ssh://HOST,HOST"),
        (("doctor", "--hosts", "dask://127.0.0.1:1"), 3, "no certificate: "),
        (("doctor", "--hosts", "dask://127.0.0.1:1", "--insecure"), 3, "dask://127.0.0.1:1 cannot be reached"),
    ],
)
def test_a_refusal_is_one_line(architect: Architect, words: tuple[str, ...], code: int, message: str) -> None:
    done = architect(*words)
    first, *hint = [line for line in done.err.splitlines() if not line.startswith("warning: --insecure")]
    assert (done.code, first.startswith(f"architect: {message}"), len(hint) <= 1) == (code, True, True), done.err
    assert all(line.startswith("  try: ") for line in hint)
    assert done.out == ""


def test_without_the_extra_the_remedy_is_named(checkout: Path) -> None:
    code = f"import sys\nsys.modules['dask'] = None\n{WORDS}"
    words = ("doctor", "--hosts", "dask://127.0.0.1:1")
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=checkout, capture_output=True, text=True)
    assert done.stderr.splitlines()[0] == "architect: --hosts needs the extra [dask]"
    assert done.stderr.splitlines()[-1].startswith("3 ")


def test_only_the_owner_reads_the_keys_and_each_role_verifies(architect: Architect, tmp_path: Path) -> None:
    os.umask(0)
    try:
        assert architect("host", "certs", tmp_path / "tls").code == 0
    finally:
        os.umask(0o022)
    keys = sorted((tmp_path / "tls").rglob("*.key"))
    assert len(keys) == 4
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    for role in ("scheduler", "worker", "client"):
        purposes = {"sslclient"} if role == "client" else {"sslclient", "sslserver"}
        certificate = tmp_path / "tls" / role / "tls.crt"
        accepted = {
            purpose
            for purpose in ("sslclient", "sslserver")
            if subprocess.run(
                ["openssl", "verify", "-purpose", purpose, "-CAfile", tmp_path / "tls" / "ca.crt", certificate],
                capture_output=True,
            ).returncode
            == 0
        }
        assert accepted == purposes


def test_the_doctor_asks_the_hosts(architect: Architect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_sshd(tmp_path / "sshd", monkeypatch, count=1) as hosts:
        done = architect("doctor", "--hosts", f"{hosts.url},127.0.0.1:1", "--json", env={})
        good, bad = done.json["hosts"]
    assert (good["name"], good["slots"], good["used"], good["engine"]) == (hosts.names[0], 2, 0, "ssh")
    assert (good["problem"], "Connection refused" in bad["problem"]) == (None, True)
    assert done.code == 3


def test_a_scheduler_and_a_host_say_where_they_are_and_end_when_told(architect: Architect, tmp_path: Path) -> None:
    assert architect("host", "certs", tmp_path / "tls").code == 0
    scheduler = architect.begin("host", "serve", "--listen", "127.0.0.1:0", "--tls-dir", f"{tmp_path}/tls/scheduler")
    assert scheduler.stdout is not None
    line = scheduler.stdout.readline().decode().strip()
    url = line.removeprefix("listening on ")
    assert url.startswith("dask://127.0.0.1:")
    words = ("--tls-dir", f"{tmp_path}/tls/worker", "--root", f"{tmp_path}/root", "--slots", "3", "--name", "box")
    host = architect.begin("host", "join", url, *words)
    assert host.stdout is not None
    assert host.stdout.readline().decode() == f"joined {url} as box (3 places)\n"
    done = architect("doctor", "--hosts", url, "--tls-dir", tmp_path / "tls" / "client", "--json")
    assert [(report["name"], report["slots"], report["problem"]) for report in done.json["hosts"]] == [("box", 3, None)]
    for process in (host, scheduler):
        process.send_signal(signal.SIGTERM)
        assert architect.finish(process).code == 0
