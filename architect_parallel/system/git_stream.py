"""Read the output of a git command line by line, for output that may be larger than memory."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator

from architect_parallel.system.git_command import Git, GitError


def output_lines(git: Git, *words: str) -> Iterator[bytes]:
    """Yield the lines of `git <words…>` with their newlines.

    Raises:
        GitError: git failed. What was yielded before may be incomplete.
    """
    argv, environment = git.command(*words)
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            argv,
            cwd=git.cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            process_group=0,
        ) as process,
    ):
        assert process.stdout is not None
        yield from process.stdout
        if process.wait() != 0:
            errors.seek(0)
            raise GitError(words, process.returncode, os.fsdecode(errors.read()))
