"""`--artifacts DIR` and `architect import DIR`: results that outlive their machine, and artifacts that lie."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from support.console import Answer, Architect, wait_until
from support.landing_runs import everything
from support.repositories import commit_all, git

TASKS = (
    "--task", "echo a > a.txt; echo done",
    "--task", "echo b > b.txt; git add b.txt; git commit -qm mine; echo c > c.txt; exit 3",
    "--task", "true",
)  # fmt: skip


@pytest.fixture
def artifacts(architect: Architect, tmp_path: Path) -> Path:
    """What a run of three workers left: two with changes, one of them failed."""
    answer = architect("parallel", "--backend", "shell", *TASKS, "--artifacts", tmp_path / "out", "--json")
    assert answer.code == 1, answer.err
    return tmp_path / "out"


@pytest.fixture
def elsewhere(checkout: Path, tmp_path: Path) -> Architect:
    """Another clone of the repository the run was made in."""
    git(tmp_path, "clone", "--quiet", checkout, tmp_path / "elsewhere")
    return Architect(tmp_path / "elsewhere")


def traces(clone: Path) -> tuple[str, str, list[str]]:
    """All that an import could leave: refs, the journal's runs, objects."""
    runs = Architect(clone)("status", "--json").json
    packs = sorted(os.listdir(clone / ".git" / "objects" / "pack"))
    return git(clone, "for-each-ref"), json.dumps(runs), packs


def test_a_run_is_written_whole_for_others_to_read(architect: Architect, artifacts: Path) -> None:
    patches = {f"worker-{number}.{kind}" for number in (1, 2) for kind in ("bundle", "patch")}

    assert set(os.listdir(artifacts)) == {"result.json", "report.html", *patches}
    assert "<!doctype html>" in (artifacts / "report.html").read_text()[:100].lower()
    assert json.loads((artifacts / "result.json").read_text()) == architect("report", "latest", "-f", "json").json
    assert {stat.S_IMODE(file.stat().st_mode) for file in artifacts.iterdir()} == {0o644}
    assert stat.S_IMODE(artifacts.stat().st_mode) == 0o755
    assert [path.name for path in artifacts.parent.iterdir() if path.name.startswith(".architect-")] == []


def test_another_clone_gets_branches_run_and_undo(
    elsewhere: Architect, checkout: Path, artifacts: Path
) -> None:  # fmt: skip
    before = everything(elsewhere.cwd)
    dry = elsewhere("import", artifacts, "--dry-run", "--json")
    assert (dry.code, dry.json["dry_run"], everything(elsewhere.cwd)) == (0, True, before)

    answer = elsewhere("import", artifacts, "--json")

    assert answer.code == 0, answer.err
    assert answer.json["branches"] == dry.json["branches"]
    for number in (1, 2, 3):
        branch = f"architect/parallel-{number}"
        assert git(elsewhere.cwd, "rev-parse", branch) == git(checkout, "rev-parse", branch)
    told, here = elsewhere("report", "latest", "-f", "json").json, json.loads((artifacts / "result.json").read_text())
    for field in ("run_id", "status", "exit_code", "completed", "failed", "total_duration_seconds", "started_at"):
        assert told[field] == here[field], field
    for mine, theirs in zip(told["results"], here["results"], strict=True):
        assert {**mine, "worktree_path": 0, "log_path": 0} == {**theirs, "worktree_path": 0, "log_path": 0}
    assert "+c" in elsewhere("diff", "latest", "2").out
    again = elsewhere("import", artifacts)
    assert (again.code, again.out) == (4, "")
    assert "is in this repository already" in again.err
    imported = everything(elsewhere.cwd)
    assert elsewhere("merge", "latest", "1").code == 0
    assert elsewhere("undo").code == 0
    assert elsewhere("parallel-cleanup", "--force").code == 0
    assert git(elsewhere.cwd, "branch", "--list", "architect/*") == ""
    assert elsewhere("undo").code == 0
    assert everything(elsewhere.cwd) == imported


def test_no_task_of_an_imported_run_is_run_again(elsewhere: Architect, artifacts: Path) -> None:
    assert elsewhere("import", artifacts).code == 0

    for words in (("resume", "latest"), ("parallel", "--continue", "latest", "2", "go on")):
        answer = elsewhere(*words)
        assert (answer.code, answer.out) == (3, "")
        assert "was imported" in answer.err


def test_taken_names_are_left_alone_and_the_next_block_is_free(elsewhere: Architect, artifacts: Path) -> None:
    git(elsewhere.cwd, "branch", "architect/parallel-2")
    (elsewhere.cwd / ".architect-parallel-4").mkdir()

    answer = elsewhere("import", artifacts, "--json")

    assert [each["branch"] for each in answer.json["branches"]] == [f"architect/parallel-{n}" for n in (5, 6, 7)]
    assert answer.json["renamed"] is True
    assert git(elsewhere.cwd, "rev-parse", "architect/parallel-2") == git(elsewhere.cwd, "rev-parse", "main")
    assert elsewhere("merge", "latest", "2").code == 0
    assert (elsewhere.cwd / "c.txt").read_text() == "c\n"


def test_uncommitted_results_and_dirty_bases_travel_too(
    architect: Architect, elsewhere: Architect, checkout: Path, tmp_path: Path
) -> None:
    (checkout / "draft.txt").write_text("draft\n")
    made = architect(
        "parallel", "echo x > y; cat draft.txt", "--backend", "shell", "--workers", "1", "--no-commit",
        "--include-dirty", "--artifacts", tmp_path / "out", "--json",
    ).json  # fmt: skip

    answer = elsewhere("import", tmp_path / "out", "--json")

    assert answer.code == 0, answer.err
    head = made["results"][0]["diff"]["head"]
    assert answer.json["branches"] == [{"worker_id": 1, "branch": "architect/parallel-1", "commit": head}]
    kept = git(elsewhere.cwd, "for-each-ref", "--format=%(objectname)", "refs/architect/keep")
    assert set(kept.split()) == {head, made["base_commit"]}
    assert git(elsewhere.cwd, "show", f"{head}:draft.txt") == "draft"
    assert elsewhere("diff", "latest", "1", "--stat").out.startswith(" A y")


def test_a_clone_without_the_base_says_what_is_missing(architect: Architect, elsewhere: Architect, checkout: Path,
                                                       tmp_path: Path) -> None:  # fmt: skip
    commit_all(checkout, "newer than the clone")
    architect("parallel", "echo x > y", "--backend", "shell", "--workers", "1", "--artifacts", tmp_path / "out")
    before = traces(elsewhere.cwd)

    answer = elsewhere("import", tmp_path / "out")

    assert answer.code == 3
    assert "is not in this repository" in answer.err
    assert "git fetch" in answer.err
    assert traces(elsewhere.cwd) == before


def test_a_damaged_artifact_is_one_line_and_nothing_is_imported(elsewhere: Architect, artifacts: Path) -> None:
    data = (artifacts / "worker-2.bundle").read_bytes()
    (artifacts / "worker-2.bundle").write_bytes(data[: len(data) * 7 // 10])
    before = traces(elsewhere.cwd)

    assert_one_line(elsewhere("import", artifacts), 2, "worker-2.bundle is truncated or damaged")
    assert_one_line(elsewhere("import", artifacts / "nowhere"), 2, "is not a directory")
    assert traces(elsewhere.cwd) == before


def assert_one_line(answer: Answer, code: int, told: str) -> None:
    assert (answer.code, answer.out) == (code, ""), answer
    first, *rest = answer.err.splitlines()
    assert first.startswith("architect: ")
    assert told in first
    assert all(line.startswith("  try: ") for line in rest)
    assert len(rest) <= 1


def test_what_stands_there_is_never_overwritten(architect: Architect, checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine\n")
    (tmp_path / "file").write_text("mine\n")

    for place in ("full", "file"):
        answer = architect("parallel", "true", "--backend", "shell", "--artifacts", tmp_path / place)
        assert_one_line(answer, 2, f"--artifacts {tmp_path / place}")
    assert git(checkout, "branch", "--list", "architect/*") == "", "found before anything was started"

    run = ("parallel", "echo x > y", "--backend", "shell", "--workers", "1")
    assert architect(*run, "--artifacts", tmp_path / "out").code == 0
    assert architect("report", "latest", "--artifacts", tmp_path / "out").code == 0, "the same run's may be renewed"
    assert_one_line(architect(*run, "--artifacts", tmp_path / "out"), 2, "it is not empty")


def test_a_place_that_cannot_be_written_is_found_before_the_run(architect: Architect, checkout: Path) -> None:
    answer = architect("parallel", "true", "--backend", "shell", "--artifacts", "/proc/architect")

    assert_one_line(answer, 3, "--artifacts /proc/architect cannot be written")
    assert git(checkout, "branch", "--list", "architect/*") == ""


def test_a_place_that_was_lost_meanwhile_loses_no_result(architect: Architect, tmp_path: Path) -> None:
    task = f"echo x > y; echo in the way > '{tmp_path}/out'"

    answer = architect(
        "parallel", task, "--backend", "shell", "--workers", "1", "--artifacts", tmp_path / "out", "--json"
    )

    assert answer.code == 0
    (warning,) = answer.json["warnings"]
    assert "artifacts were not written" in warning
    assert warning in answer.err
    assert architect("report", "latest", "--artifacts", tmp_path / "other").code == 0


def test_a_live_run_is_reported_as_far_as_it_is(architect: Architect, tmp_path: Path) -> None:
    go = tmp_path / "go"
    wait = f"while [ ! -e {go} ]; do sleep 0.05; done"
    process = architect.begin("parallel", "echo x > y", "--task", wait, "--backend", "shell", "--json")
    wait_until(lambda: [each["completed"] for each in architect("status", "--json").json["runs"]] == [1], "worker 1")

    answer = architect("report", "latest", "-f", "markdown", "--artifacts", tmp_path / "out")
    go.touch()

    assert answer.code == 0, answer.err
    assert "⏳ architect: running" in answer.out
    assert "## Not ended yet" in answer.out
    assert json.loads((tmp_path / "out" / "result.json").read_text())["completed"] == 1
    assert (tmp_path / "out" / "worker-1.bundle").is_file()
    assert architect.finish(process).code == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("nope",), 4, "no run 'nope'"),
        (("latest", "-f", "markdwon"), 2, "did you mean 'markdown'"),
        (("latest", "-o", "/proc/x"), 3, "/proc/x cannot be written"),
        (("latest", "-o", "."), 3, ". cannot be written"),
        (("latest", "--artifacts", "/proc/x"), 3, "--artifacts /proc/x cannot be written"),
    ],
)
def test_a_report_that_cannot_be_made_is_one_line(
    architect: Architect, words: tuple[str, ...], code: int, told: str
) -> None:
    assert architect("parallel", "true", "--backend", "shell", "--workers", "1").code == 0

    assert_one_line(architect("report", *words), code, told)


def test_a_report_goes_to_a_file_or_a_device(architect: Architect, tmp_path: Path) -> None:
    assert architect("parallel", "true", "--backend", "shell", "--workers", "1").code == 0

    assert architect("report", "latest", "-f", "junit", "-o", tmp_path / "r.xml").out == ""
    assert (tmp_path / "r.xml").read_text().startswith("<?xml")
    assert architect("report", "latest", "-f", "markdown", "-o", "/dev/stdout").out.startswith(
        "# ✅ architect: success"
    )
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert architect("report", "latest", "-o", "/dev/null").code == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_work_on_others_work_stays_its_own(architect: Architect, elsewhere: Architect, tmp_path: Path) -> None:
    """Workers of a spec begin at different commits, one of them at a merge and changing nothing."""
    spec = tmp_path / "a.yaml"
    tasks = [
        "{name: one, backend: shell, task: echo 1 > one.txt}",
        "{name: two, backend: shell, task: echo 2 > two.txt}",
    ]
    for name, task in (("both", "cat one.txt two.txt > both.txt"), ("none", "test -e two.txt")):
        tasks.append(f'{{name: {name}, backend: shell, task: "{task}", dependencies: [one, two]}}')
    spec.write_text("name: a\ntasks:\n" + "".join(f"  - {each}\n" for each in tasks))
    made = architect("spec", "run", spec, "--artifacts", tmp_path / "out", "--json")
    assert made.code == 0, made.err

    answer = elsewhere("import", tmp_path / "out")

    assert answer.code == 0, answer.err
    told = elsewhere("report", "latest", "-f", "json").json
    assert [each["files_modified"] for each in told["results"]] == [["one.txt"], ["two.txt"], ["both.txt"], []]
    assert [each["diff"] for each in told["results"]] == [each["diff"] for each in made.json["results"]]
    assert "one.txt" not in (tmp_path / "out" / "worker-3.patch").read_text().replace("cat one.txt", "")
    assert git(elsewhere.cwd, "show", "architect/parallel-4:two.txt") == "2"
    landed = elsewhere("merge", "latest", "--all")
    assert (landed.code, "imported: no check of it runs here" in landed.err) == (0, True)
    assert (elsewhere.cwd / "both.txt").read_text() == "1\n2\n"


def test_who_was_skipped_gets_no_branch(architect: Architect, elsewhere: Architect, tmp_path: Path) -> None:
    spec = tmp_path / "a.yaml"
    spec.write_text(
        "tasks:\n  - {name: one, backend: shell, task: echo 1 > one.txt}\n"
        "  - {name: two, backend: shell, task: exit 1}\n"
        "  - {name: three, backend: shell, task: 'true', dependencies: [two]}\n"
    )
    made = architect("spec", "run", spec, "--artifacts", tmp_path / "out", "--json").json
    assert [each["status"] for each in made["results"]] == ["success", "failed", "skipped"]
    here = git(architect.cwd, "branch", "--list", "architect/*", "--format=%(refname)")

    for words in (["--dry-run"], []):
        answer = elsewhere("import", tmp_path / "out", "--json", *words)
        assert [each["worker_id"] for each in answer.json["branches"]] == [1, 2], answer.err

    assert git(elsewhere.cwd, "branch", "--list", "architect/*", "--format=%(refname)") == here
    told = elsewhere("status", "latest", "--json").json["results"]
    assert [each["branch"] for each in told] == [each["branch"] for each in made["results"]]
    assert "worker 3 of run" in elsewhere("merge", "latest", "3").err
    assert elsewhere("parallel-cleanup", "--force").code == 0
    assert elsewhere("undo").code == 0
    assert git(elsewhere.cwd, "branch", "--list", "architect/*", "--format=%(refname)") == here


@pytest.mark.parametrize("dirty", [False, True])
def test_a_branch_moved_back_behind_the_base_does_not_spoil_the_rest(
    architect: Architect, checkout: Path, elsewhere: Architect, tmp_path: Path, dirty: bool
) -> None:
    (checkout / "README.md").write_text("second\n")
    commit_all(checkout, "second")
    git(elsewhere.cwd, "pull", "--quiet")
    (checkout / "README.md").write_text("dirty\n" if dirty else "second\n")
    back = "git reset -q --hard HEAD~2" if dirty else "git reset -q --hard HEAD~1"
    tasks = ("--task", back, "--task", "echo b > b.txt")
    how = ("--include-dirty",) if dirty else ()
    made = architect("parallel", "--backend", "shell", *how, *tasks, "--artifacts", tmp_path / "out", "--json")
    assert made.code == 0, made.err

    answer = elsewhere("import", tmp_path / "out")

    assert answer.code == 0, answer.err
    told = elsewhere("report", "latest", "-f", "json").json
    assert [each["diff"] for each in told["results"]] == [each["diff"] for each in made.json["results"]]
    assert git(elsewhere.cwd, "show", "architect/parallel-2:b.txt") == "b"
