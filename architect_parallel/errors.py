"""The errors that a user can see, as one tree, and the exit codes of the program.

A worker's failure is data (`domain.WorkerResult`). An exception of this tree means that the program cannot do what was
asked. Each carries the parts of its one line on stderr: what is wrong, with the thing named, and what to type next.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command. The command reference has the table."""

    SUCCESS = 0
    NOT_ALL_SUCCEEDED = 1
    USAGE = 2
    ENVIRONMENT = 3
    NOTHING_TO_DO = 4
    CONFLICT = 5
    BUG = 70
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


class ArchitectParallelError(Exception):
    """Base of all errors shown to the user.

    Args:
        message: What is wrong, with the thing named. One sentence without a full stop.
        hint: The next command to type, or what to change. `None` means no hint.
        exit_code: Overrides the exit code of the class.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, *, hint: str | None = None, exit_code: ExitCode | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(ArchitectParallelError):
    """A flag, name, ref or file that the user gave is wrong. Nothing was started."""

    exit_code = ExitCode.USAGE


class EnvironmentProblem(ArchitectParallelError):
    """The machine or the repository does not allow it: no git, no repository, no backend program, a full disk."""

    exit_code = ExitCode.ENVIRONMENT


class NoBackendChosen(EnvironmentProblem):
    """No backend is named or configured, and not exactly one is ready.

    Args:
        ready: Names of the backends that are ready.
    """

    def __init__(self, ready: tuple[str, ...]) -> None:
        self.ready = ready
        if ready:
            hint = f"--backend {ready[0]}, or `architect init` for good"
            super().__init__(f"several agents are ready here, and none is chosen: {', '.join(ready)}", hint=hint)
        else:
            super().__init__("no agent is ready here", hint="architect backends")


class NothingToDo(ArchitectParallelError):
    """There is no such run, or nothing left to merge, resume or undo."""

    exit_code = ExitCode.NOTHING_TO_DO


class ConflictLeftOut(ArchitectParallelError):
    """A conflict left a result out of a merge. The message names it."""

    exit_code = ExitCode.CONFLICT


class InternalError(ArchitectParallelError):
    """A bug of this program, or an impossible fact (a broken journal). The message says where the details are."""

    exit_code = ExitCode.BUG
