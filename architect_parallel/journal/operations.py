"""Operations of `landing` in the journal: the intent is written before the act, its end and its undo after it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from architect_parallel.domain import Landing
from architect_parallel.event_json import from_plain, to_plain
from architect_parallel.journal.paths import change_payload
from architect_parallel.journal.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One act of `landing` that `undo` can take back."""

    id: int
    kind: str
    """`cleanup` or `merge`."""
    run_id: str | None
    """`None` means that it concerns several runs."""
    time: datetime
    payload: Mapping[str, Any]
    """The intent, and the state before, as plain JSON data."""
    finished: bool
    """False means that the program died during the act. Parts of it may have happened."""
    undone: bool


class OperationLog(Store):
    """The operations of one repository."""

    def begin_operation(self, kind: str, run_id: str | None, payload: Mapping[str, Any]) -> int:
        """Record an act before it begins, durable on return. Returns the operation's id."""
        with self._transaction() as database:
            row = (kind, run_id, to_plain(self._now()), self._payload_text(payload))
            cursor = database.execute("INSERT INTO operations (kind, run_id, time, payload) VALUES (?, ?, ?, ?)", row)
            return int(cursor.lastrowid or 0)

    def finish_operation(self, operation_id: int, payload: Mapping[str, Any] | None = None) -> None:
        """Mark an operation as done. `payload` replaces the intent by what was done. `None` keeps it."""
        with self._transaction() as database:
            if payload is not None:
                text = self._payload_text(payload)
                database.execute("UPDATE operations SET payload = ? WHERE id = ?", (text, operation_id))
            database.execute("UPDATE operations SET finished = ? WHERE id = ?", (to_plain(self._now()), operation_id))

    def amend_operation(self, operation_id: int, payload: Mapping[str, Any]) -> None:
        """Replace the intent of an operation before its next part begins. Durable on return."""
        with self._transaction() as database:
            text = self._payload_text(payload)
            database.execute("UPDATE operations SET payload = ? WHERE id = ?", (text, operation_id))

    def withdraw_operation(self, operation_id: int) -> None:
        """Forget an operation that was refused before it changed anything. One that is finished stays."""
        with self._transaction() as database:
            database.execute("DELETE FROM operations WHERE id = ? AND finished IS NULL", (operation_id,))

    def operations(self, run_id: str | None = None) -> list[Operation]:
        """All operations, or those on one run, newest first and with the undone ones."""
        columns = "id, kind, run_id, time, payload, finished, undone"
        where, values = ("WHERE run_id = ?", (run_id,)) if run_id is not None else ("", ())
        return [
            Operation(
                id=row[0],
                kind=row[1],
                run_id=row[2],
                time=datetime.fromisoformat(row[3]),
                payload=self._payload(row[4], row[2]),
                finished=row[5] is not None,
                undone=row[6] is not None,
            )
            for row in self._rows(f"SELECT {columns} FROM operations {where} ORDER BY id DESC", values)
        ]

    def _landing(self, run_id: str) -> Landing | None:
        """The newest finished merge of the run that was not undone. `None` means that there is none."""
        rows = self._rows(
            "SELECT payload, time FROM operations WHERE run_id = ? AND kind = 'merge' AND finished IS NOT NULL"
            " AND undone IS NULL ORDER BY id DESC LIMIT 1",
            (run_id,),
        )
        if not rows:
            return None
        done = json.loads(rows[0][0])
        plain = {
            "merged": done["workers"],
            "left_out": done.get("left_out", []),
            "target": done["branch"],
            "commit": done["new"],
            "method": done["method"],
            "branch": done.get("integration"),
            "pull_request": bool(done.get("pull_request")),
            "time": rows[0][1],
        }
        landing: Landing = from_plain(Landing, plain)
        return landing

    def mark_undone(self, operation_id: int) -> None:
        """Record that an operation was undone."""
        with self._transaction() as database:
            database.execute("UPDATE operations SET undone = ? WHERE id = ?", (to_plain(self._now()), operation_id))

    def _payload_text(self, payload: Mapping[str, Any]) -> str:
        return json.dumps(change_payload(to_plain(payload), lambda path, _: self._anchor.stored(path)))

    def _payload(self, text: str, run_id: str | None) -> dict[str, Any]:
        def change(path: str, of_run: str | None) -> str:
            return self._anchor.read(path, self._recorded_root(of_run or run_id or ""))

        return change_payload(json.loads(text), change)
