"""What can go wrong for the user, as one tree, and the exit codes of the program.

A worker's failure is data (`domain.WorkerResult`); an exception of this tree means that the tool itself
cannot do what was asked. Each carries what the one line on stderr needs: what is wrong with the thing
named, and what to type next.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; the table stands in the command reference."""

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
        message: What is wrong, with the thing named; one sentence without a full stop.
        hint: The next command to type, or what to change; `None` when there is nothing to add.
        exit_code: Overrides the class's own exit code.
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
    """What the user typed or wrote is wrong: flags, names, refs, files. Nothing was started."""

    exit_code = ExitCode.USAGE


class EnvironmentProblem(ArchitectParallelError):
    """The machine or the repository does not allow it: no git, no repository, no backend program, disk full."""

    exit_code = ExitCode.ENVIRONMENT


class NothingToDo(ArchitectParallelError):
    """There is no such run, or nothing left to merge, resume or undo."""

    exit_code = ExitCode.NOTHING_TO_DO


class ConflictLeftOut(ArchitectParallelError):
    """A merge conflict left something out; it is named in the message."""

    exit_code = ExitCode.CONFLICT


class InternalError(ArchitectParallelError):
    """Our own bug or a fact that cannot be (a broken journal); the message says where the details are."""

    exit_code = ExitCode.BUG
