"""The filter of system calls, interpreted as the kernel does it."""

from __future__ import annotations

import errno
import struct

import pytest

from architect_parallel.containment import filters

X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
ALLOWED = 0
REFUSED = {
    "io_uring_setup": (425, 425, 425, errno.ENOSYS),
    "bpf": (321, 357, 280, errno.EPERM),
    "keyctl": (250, 288, 219, errno.EPERM),
    "userfaultfd": (323, 374, 282, errno.EPERM),
    "perf_event_open": (298, 336, 241, errno.EPERM),
    "kexec_load": (246, 283, 104, errno.EPERM),
    "finit_module": (313, 350, 273, errno.EPERM),
    "delete_module": (176, 129, 106, errno.EPERM),
    "open_by_handle_at": (304, 342, 265, errno.EPERM),
    "pidfd_getfd": (438, 438, 438, errno.EPERM),
}
"""Numbers on x86-64, i386 and arm64, and the error."""


def answer(program: bytes, architecture: int, number: int) -> int:
    """The error that a system call gets."""
    instructions = list(struct.iter_unpack("=HBBI", program))
    place, value = 0, 0
    while True:
        code, on_true, on_false, operand = instructions[place]
        place += 1
        if code == 0x20:
            value = architecture if operand == 4 else number
        elif code == 0x15:
            place += on_true if value == operand else on_false
        elif code == 0x35:
            place += on_true if value >= operand else on_false
        else:
            return operand & 0xFFFF if operand & 0xFFFF0000 == 0x00050000 else ALLOWED


@pytest.mark.parametrize("name", REFUSED)
def test_a_listed_call_is_refused_by_its_number_on_each_architecture(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x86_64, i386, aarch64, error = REFUSED[name]
    monkeypatch.setattr(filters, "machine_name", lambda: "x86_64")
    program = filters.seccomp_filter()
    assert program is not None
    assert (answer(program, X86_64, x86_64), answer(program, I386, i386)) == (error, error)
    monkeypatch.setattr(filters, "machine_name", lambda: "aarch64")
    program = filters.seccomp_filter()
    assert program is not None
    assert answer(program, AARCH64, aarch64) == error


def test_ordinary_calls_pass_and_foreign_numbers_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "machine_name", lambda: "x86_64")
    program = filters.seccomp_filter()
    assert program is not None
    openat, unshare, ptrace = 257, 272, 101
    assert [answer(program, X86_64, number) for number in (openat, unshare, ptrace)] == [ALLOWED] * 3
    assert answer(program, X86_64, 0x40000000 | openat) == errno.ENOSYS, "x32"
    assert answer(program, AARCH64, 56) == errno.ENOSYS, "another architecture"
