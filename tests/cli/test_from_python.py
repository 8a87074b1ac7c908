"""Results as GitPython objects, from Python. `test_documents.py` runs the example of `docs/python.md`."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from support.console import Architect

from architect_parallel.domain import WorkerResult
from architect_parallel.event_json import from_plain, to_plain
from architect_parallel.journal import Journal
from architect_parallel.system.git import open_repository as find_repository


def test_the_result_of_a_worker_answers_with_gitpython_objects(checkout: Path, architect: Architect) -> None:
    task = "echo 1 > one.txt; git add .; git commit -qm one; rm README.md; git config filter.x.clean false"
    architect("parallel", task, "--task", "false", "--backend", "shell", "--quiet", "--json")
    with Journal.open(find_repository(checkout).state_dir) as journal:
        (run_id,) = journal.run_ids()
        worker, failed = journal.result(run_id).results
    assert worker.diff is not None
    assert worker.repo().working_dir == worker.worktree_path
    assert worker.commits()[0].message == "one\n"
    assert (worker.commits()[-1], worker.commit().hexsha) == (worker.commit(), worker.diff.head)
    assert worker.repo().head.commit == worker.commit()
    assert {(file.change_type, file.b_path) for file in worker.diff()} == {("A", "one.txt"), ("D", "README.md")}
    patches = {file.b_path: file.diff for file in worker.diff(create_patch=True)}
    assert patches["one.txt"] == b"@@ -0,0 +1 @@\n+1\n"
    assert from_plain(WorkerResult, to_plain(worker)) == worker
    shutil.rmtree(worker.worktree_path)
    assert worker.repo().working_dir == str(checkout)
    assert len(worker.diff()) == 2
    with pytest.raises(ValueError, match="worker 2 has no saved work"):
        dataclasses.replace(failed, diff=None).commit()
