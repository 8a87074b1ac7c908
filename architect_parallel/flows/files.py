"""The files of a flow: values that placeholders read, and outputs that states write."""

from __future__ import annotations

import os
from pathlib import Path

from architect_parallel.config.yaml_source import Faulty, read_bytes
from architect_parallel.flows.machine import Reader
from architect_parallel.flows.model import FlowFault
from architect_parallel.system.files import write_out

LARGEST_READ_BYTES = 2**20


def reader_in(directory: Path) -> Reader:
    """A reader of the placeholders `file(PATH)` and `path(PATH)` for a flow that runs in `directory`."""

    def read(function: str, path: str) -> str:
        place = directory / path
        if function == "path":
            return str(place)
        try:
            data = read_bytes(place, pipe_allowed=True, largest=LARGEST_READ_BYTES)
        except Faulty as error:
            raise FlowFault(f"{path} {error.faults[0].message}") from error
        if data is None:
            raise FlowFault(f"{path} cannot be read: there is no such file")
        return data.decode(errors="replace").replace("\0", "").strip()

    return read


class Outputs:
    """Writes the outputs of one state. Two outputs to one file are a fault, however its path is spelled."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._written: set[str] = set()

    def write(self, path: str, text: str) -> None:
        """Write `text` to the file at `path`. Raises `FlowFault`."""
        place = self._directory / path
        try:
            real = os.path.realpath(place)
            if real in self._written:
                raise FlowFault(f"two of its tasks write to {path}")
            self._written.add(real)
            place.parent.mkdir(parents=True, exist_ok=True)
            write_out(place, text.encode(errors="replace"))
        except OSError as error:
            raise FlowFault(f"its output cannot be written to {path}: {error.strerror}") from error
