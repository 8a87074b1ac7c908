"""Blocks of ports: free when handed out, and never handed out twice."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.system.ports import HIGHEST_PORT, free_ports


@pytest.fixture
def first() -> int:
    """The first port of a range for this test alone: other tests and launchers start at the default."""
    with free_ports(52_000, 100) as start:
        return start + 10


def test_a_block_is_given_once_at_a_time(first: int) -> None:
    with ExitStack() as held:
        blocks = [held.enter_context(free_ports(first, 10)) for _ in range(3)]
        overlapping = held.enter_context(free_ports(first + 5, 10))
    assert blocks == [first, first + 10, first + 20]
    assert overlapping >= first + 35, "no part of it belongs to another block"
    with free_ports(first, 10) as again, free_ports(first, 10, preferred=first + 20) as preferred:
        assert (again, preferred) == (first, first + 20)


def test_another_process_gets_another_block(first: int) -> None:
    script = (
        f"from architect_parallel.system.ports import free_ports\nwith free_ports({first}, 10) as start: print(start)"
    )

    def other() -> int:
        return int(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)

    with free_ports(first, 10) as mine:
        assert (mine, other()) == (first, first + 10)
    assert other() == first, "the end of the block frees it"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_in_use_spoils_its_block(first: int, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as server:
        try:
            server.bind((address, first + 9))
        except OSError:
            pytest.skip(f"this machine has no {address}")
        server.listen()
        with free_ports(first, 10) as start:
            assert start == first + 10


def test_no_free_block_is_an_error() -> None:
    with (
        pytest.raises(EnvironmentProblem, match="no 10 ports in a row are free from 65530 on"),
        free_ports(HIGHEST_PORT - 5, 10),
    ):
        pass
