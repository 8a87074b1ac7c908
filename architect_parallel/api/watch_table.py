"""The list of workers on the screen of `architect watch`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable

from architect_parallel.journal.worker_view import WorkerView
from architect_parallel.reports import progress_words as words
from architect_parallel.reports.worker_columns import GAP, STATE, LiveColumn, columns_for, padded, sizes_of

LEAST_WIDTH = 40


class WorkerTable(DataTable[Text]):
    """The list of workers, in columns for its width."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("g,home", "scroll_top", show=False),
        Binding("G,end", "scroll_bottom", show=False),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=GAP // 2)
        self._layout: object = None

    def show(
        self, run: Sequence[WorkerView], shown: Sequence[WorkerView], last_words: Callable[[int], str], now: datetime
    ) -> None:
        """Show some workers of a run. Only the cells that differ are drawn anew. The cursor stays on its worker.

        Args:
            run: All workers of the run.
            last_words: Worker id → the newest line of its agent.
        """
        width = max(LEAST_WIDTH, self.size.width - 2)
        columns = columns_for(run, width)
        sizes = sizes_of(columns, shown, now, width)
        sizes.append(max(10, width - sum(sizes) - GAP * (len(sizes) + 1)))
        fitted = (padded(column, column.heading, size) for column, size in zip(columns, sizes, strict=False))
        headings = [*fitted, "NOW"]
        ids = [worker.spec.worker_id for worker in shown]
        rows = [self._row(worker, columns, sizes, last_words, now) for worker in shown]
        layout = (headings, sizes, ids)
        if layout == self._layout:
            for place, row in enumerate(rows):
                for column, cell in enumerate(row):
                    if self.get_cell_at(Coordinate(place, column)) != cell:
                        self.update_cell_at(Coordinate(place, column), cell)
            return
        selected = self.selected
        self._layout = layout
        self.clear(columns=True)
        for heading, size in zip(headings, sizes, strict=True):
            self.add_column(heading, width=size)
        for worker_id, row in zip(ids, rows, strict=True):
            self.add_row(*row, key=str(worker_id))
        if selected in ids:
            self.move_cursor(row=ids.index(selected), animate=False)

    def forget(self) -> None:
        """Remove everything, the cursor's place too: the next workers are those of another run."""
        self._layout = None
        self.clear(columns=True)

    @property
    def selected(self) -> int | None:
        """The id of the worker at the cursor. `None` means that there is no worker."""
        if not self.is_valid_row_index(self.cursor_row):
            return None
        key = self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value
        return int(key) if key is not None else None

    @staticmethod
    def _row(
        worker: WorkerView,
        columns: Sequence[LiveColumn],
        sizes: Sequence[int],
        last_words: Callable[[int], str],
        now: datetime,
    ) -> list[Text]:
        cells = []
        for column, size in zip(columns, sizes, strict=False):
            style = words.STYLES.get(worker.state, "") if column is STATE else ""
            cells.append(Text(padded(column, column.cell(worker, now), size), style=style, no_wrap=True))
        doing = words.activity(worker, now, line=last_words(worker.spec.worker_id))
        return [*cells, Text(doing, style="dim" if worker.over else "", no_wrap=True, overflow="ellipsis")]
