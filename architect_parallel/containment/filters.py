"""The seccomp filter of a contained program, as instructions of the kernel's filter machine.

It refuses calls that no build tool needs and that have led out of containers: io_uring, bpf, key rings, userfaultfd,
performance counters, kernel modules, files by handle, descriptors of other processes. `io_uring` fails with
ENOSYS, so that libraries fall back to ordinary calls.
"""

from __future__ import annotations

import errno
import struct

from architect_parallel.system.machine import machine_name

_EPERM, _ENOSYS = errno.EPERM, errno.ENOSYS
_X86_64 = {
    **dict.fromkeys((425, 426, 427), _ENOSYS),
    **dict.fromkeys((321, 248, 249, 250, 323, 298, 246, 320, 175, 313, 176, 304, 438), _EPERM),
}
_I386 = {
    **dict.fromkeys((425, 426, 427), _ENOSYS),
    **dict.fromkeys((357, 286, 287, 288, 374, 336, 283, 128, 350, 129, 342, 438), _EPERM),
}
_AARCH64 = {
    **dict.fromkeys((425, 426, 427), _ENOSYS),
    **dict.fromkeys((280, 217, 218, 219, 282, 241, 104, 294, 105, 273, 106, 265, 438), _EPERM),
}
"""Number of a system call → its error: bpf, add_key, request_key, keyctl, userfaultfd, perf_event_open, kexec_load,
kexec_file_load, init_module, finit_module, delete_module, open_by_handle_at, pidfd_getfd."""
_TABLES = {"x86_64": ((0xC000003E, _X86_64), (0x40000003, _I386)), "aarch64": ((0xC00000B7, _AARCH64),)}
_X32_BIT = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


def gaps() -> tuple[str, ...]:
    """The gap of a machine for which there is no filter."""
    return () if machine_name() in _TABLES else ("system calls are not filtered on this processor",)


def seccomp_filter() -> bytes | None:
    """The filter for this machine. `None` means that its system calls are not known here."""
    tables = _TABLES.get(machine_name())
    if tables is None:
        return None
    program: list[tuple[int, int, int, int]] = [(_LOAD, 0, 0, 4)]  # the architecture of the call
    for architecture, errors in tables:
        body: list[tuple[int, int, int, int]] = [(_LOAD, 0, 0, 0)]  # its number
        if architecture == 0xC000003E:
            body += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _ERROR | _ENOSYS)]
        for number, error in errors.items():
            body += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | error)]
        body.append((_RETURN, 0, 0, _ALLOW))
        program += [(_EQUAL, 0, len(body), architecture), *body]
    program.append((_RETURN, 0, 0, _ERROR | _ENOSYS))  # another architecture: its numbers mean other calls
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
