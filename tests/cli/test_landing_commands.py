"""`merge`, `parallel-cleanup` and `undo` as a user types them, on runs of the shell backend."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support.console import Answer, Architect, running_with, wait_until
from support.landing_runs import commit, everything, write
from support.mechanisms import needs_namespaces
from support.repositories import git


@pytest.fixture
def run_id(architect: Architect) -> str:
    """A run of two workers: one wrote a file, one changed nothing."""
    answer = architect(
        "parallel", "--backend", "shell", "--task", "echo new > new.txt; echo theirs > README.md", "--task", "true",
        "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    return str(answer.json["run_id"])


def test_main_job_to_the_end(architect: Architect, checkout: Path, run_id: str) -> None:
    before = everything(checkout)

    dry = architect("merge", run_id, "1", "--dry-run", "--json")
    assert dry.code == 0
    assert everything(checkout) == before
    merged = architect("merge", "latest", "1", "--json").json
    assert (merged["merged"], merged["left_out"], merged["target"]) == ([1], [], "main")
    assert merged["commit"] == dry.json["commit"] == git(checkout, "rev-parse", "main")
    assert (checkout / "new.txt").read_text() == "new\n"
    landed = everything(checkout)

    shown = architect("parallel-cleanup", "--dry-run")
    assert shown.code == 0
    assert "would remove worktree" in shown.out
    assert everything(checkout) == landed
    cleaned = architect("parallel-cleanup", "--json")
    assert cleaned.code == 0
    assert [each["branch"] for each in cleaned.json["removed"]] == ["architect/parallel-1", "architect/parallel-2"]
    assert cleaned.json["stays"] == []
    assert git(checkout, "for-each-ref", "refs/heads/architect") == ""
    assert architect("parallel-cleanup").out == "nothing to clean up\n"

    assert architect("undo", "--dry-run").code == 0
    assert architect("undo").code == 0
    assert everything(checkout) == landed
    assert architect("undo", "--json").json["target"] == "main"
    assert everything(checkout) == before
    nothing = architect("undo")
    assert (nothing.code, nothing.out) == (4, "")
    assert nothing.err.startswith("architect: there is nothing to undo\n")
    listed = architect("undo", "--list", "--json").json["operations"]
    assert [(each["kind"], each["undone"]) for each in listed] == [("cleanup", True), ("merge", True)]


def test_conflict_is_named_and_moves_nothing(architect: Architect, checkout: Path, run_id: str) -> None:
    commit(checkout, {"README.md": "ours\n"})
    before = everything(checkout)
    answer = architect("merge", run_id, "1", "--json")
    assert answer.code == 5
    assert answer.json["merged"] == []
    assert answer.json["commit"] is None
    assert answer.json["left_out"] == [{"worker_id": 1, "reason": "conflict", "files": ["README.md"]}]
    assert [line for line in answer.err.splitlines() if "conflict" in line] == [
        "worker 1 is left out: it conflicts: README.md"
    ]
    plain = architect("merge", run_id, "1")
    assert (plain.code, plain.out) == (5, "")
    assert "README.md" in plain.err
    assert everything(checkout) == before


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nope", "1"], 4, "no run 'nope'"),
        (["latest", "9"], 2, "no worker 9"),
        (["latest", "2"], 4, "changed nothing"),
        (["latest"], 2, "no worker given"),
        (["latest", "one"], 2, "has no worker 'one'"),
        (["latest", "2", "2"], 4, "changed nothing"),
        (["latest", "1", "--best"], 2, "--best and workers exclude each other"),
        (["latest", "--best", "--all"], 2, "exclude each other"),
        (["latest", "1", "9"], 2, "no worker 9"),
        (["latest", "1", "--resolve", "nobody"], 2, "'nobody'"),
        (["latest", "1", "--resolve", "shell"], 2, "runs its task as a program"),
        (["latest", "1", "--resolve", "codex"], 3, "backend codex cannot run"),
        (["latest", "1", "--push"], 3, "no remote origin"),
        (["latest", "1", "--pr"], 3, "gh is not installed"),
        (["latest", "1", "--into", "nope"], 2, "no local branch 'nope'"),
        (["latest", "1", "--squash", "--rebase"], 2, "exclude each other"),
    ],
)
def test_what_cannot_be_merged_is_one_line_and_a_hint(
    architect: Architect, checkout: Path, run_id: str, words: list[str], code: int, told: str
) -> None:
    before = everything(checkout)
    answer = architect("merge", *words, env={"PATH": plain_path(checkout.parent)})
    assert (answer.code, answer.out) == (code, "")
    line, hint, *rest = answer.err.splitlines()
    assert line.startswith("architect: ")
    assert told in line
    assert hint.startswith("  try: ")
    assert rest == []
    assert everything(checkout) == before


@pytest.fixture
def resolving(architect: Architect, checkout: Path, tmp_path: Path) -> Callable[..., Answer]:
    """`resolving(script, "--json", agents={…})`: a result that conflicts is merged; a claude that is a shell script
    resolves the conflict. Its words stand in `tmp_path / "argv"`."""
    words = ("--task", "echo theirs > README.md", "--task", "true")
    assert architect("parallel", "--backend", "shell", *words).code == 0
    commit(checkout, {"README.md": "ours\n"})
    program = tmp_path / "claude"

    def merge(script: str, *more: str, agents: Mapping[str, object] | None = None) -> Answer:
        program.write_text(
            f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{tmp_path}/argv'\n{script}\n"
            'echo \'{"type": "result", "subtype": "success", "is_error": false, "result": "done", "num_turns": 1}\'\n'
        )
        program.chmod(0o755)
        config = {"backends": {"claude": {"command": [str(program)]}}, "agents": agents or {}}
        (tmp_path / "config.yaml").write_text(json.dumps(config))
        words = ("merge", "latest", "1", "--resolve", "claude", "-c", str(tmp_path / "config.yaml"))
        return architect(*words, *more, env={"ANTHROPIC_API_KEY": "x"})

    return merge


BOTH = "printf 'ours\\ntheirs\\n' > README.md"


def test_a_resolver_has_the_modes_of_its_profile(resolving: Callable[..., Answer], tmp_path: Path) -> None:
    first = resolving("true", "--json")
    assert (first.code, first.json["left_out"][0]["reason"]) == (5, "conflict")
    assert "--dangerously-skip-permissions" in (tmp_path / "argv").read_text()
    answer = resolving(BOTH, "--json", agents={"build": {"approval_mode": "auto"}})
    assert (answer.code, answer.json["merged"]) == (0, [1]), answer.err
    words = (tmp_path / "argv").read_text().splitlines()
    assert words[words.index("--permission-mode") + 1] == "acceptEdits"
    assert "--dangerously-skip-permissions" not in words


@needs_namespaces
def test_a_resolver_is_contained_as_the_command_line_says(resolving: Callable[..., Answer], home: Path) -> None:
    script = f"{BOTH}; echo x > ~/planted"
    answer = resolving(script, "--json", "--sandbox", "write")
    assert (answer.code, answer.json["merged"]) == (0, [1]), answer.err
    assert not (home / "planted").exists()


def test_the_sandbox_of_a_merge_is_that_of_its_resolver(architect: Architect, checkout: Path) -> None:
    assert architect("parallel", "--backend", "shell", "echo x > x", "--workers", "1").code == 0
    answer = architect("merge", "latest", "1", "--sandbox", "write")
    assert (answer.code, answer.err.splitlines()[0]) == (
        2,
        "architect: --sandbox, --network and --allow-host need --resolve",
    )


def test_a_profile_that_may_only_read_resolves_nothing(
    resolving: Callable[..., Answer], checkout: Path, tmp_path: Path
) -> None:
    before = everything(checkout)
    answer = resolving(BOTH, agents={"build": {"sandbox_mode": "read-only"}})
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("architect: --resolve claude: the agent profile build may only read\n  try: ")
    assert not (tmp_path / "argv").exists()
    assert everything(checkout) == before


def test_what_a_resolver_did_elsewhere_is_told_also_where_nothing_lands(
    resolving: Callable[..., Answer], checkout: Path
) -> None:
    answer = resolving(f"{BOTH}; echo evil >> ../README.md; git -C .. branch evil; git -C .. config core.editor evil")
    assert (answer.code, answer.out) == (3, "")
    assert "main is checked out in" in answer.err
    assert "with uncommitted changes: README.md" in answer.err
    told = "warning: while claude resolved, the main checkout changed: README.md, config: core.editor ("
    assert answer.err.count(told) == 1
    assert answer.err.count("warning: while it ran, refs/heads/evil appeared\n") == 1
    assert answer.err.count("config changed while it ran: look at it before you run git there\n") == 1


def plain_path(folder: Path) -> str:
    """A PATH with git and a shell, and none of the programs a machine may have besides."""
    place = folder / "only"
    place.mkdir()
    for name in ("git", "sh", "env"):
        (place / name).symlink_to(shutil.which(name) or "")
    return str(place)


def test_several_land_and_what_is_left_out_is_named(architect: Architect, checkout: Path) -> None:
    tasks = ("echo a > a.txt", "echo b >> README.md", "echo c >> README.md", "echo x > x.txt; exit 3")
    words = [word for task in tasks for word in ("--task", task)]
    run_id = architect("parallel", "--backend", "shell", "--check", "true", *words, "--json").json["run_id"]
    before = everything(checkout)

    compared = architect("compare", run_id, "--json")
    assert compared.code == 0
    assert compared.json["run_id"] == run_id
    assert compared.json["proposed"] == [1, 2, 4]
    assert compared.json["order"] == [1, 2, 4, 3]
    assert compared.json["shared_files"] == {"README.md": [2, 3]}
    assert {"a": 2, "b": 3, "clean": False, "files": ["README.md"]} in compared.json["conflicts"]
    assert {"a": "main", "b": 1, "clean": True, "files": []} in compared.json["conflicts"]
    shown = architect("compare", run_id).out
    assert "2 with 3: README.md" in shown
    assert f"architect merge {run_id} 1 2 4" in shown
    assert "Worker 4 did not succeed." in shown

    dry = architect("merge", run_id, "--all", "--dry-run")
    assert dry.code == 5
    assert "workers 1, 2" in dry.out
    assert everything(checkout) == before
    merged = architect("merge", run_id, "--all", "--json")
    assert merged.code == 5
    assert merged.json["merged"] == [1, 2]
    assert merged.json["left_out"] == [
        {"worker_id": 4, "reason": "not_successful", "files": []},
        {"worker_id": 3, "reason": "conflict", "files": ["README.md"]},
    ]
    assert merged.json["commit"] == git(checkout, "rev-parse", "main")
    assert merged.json["branch"] == f"architect/merged-{run_id}"
    envelope = architect("status", run_id, "--json").json["merge"]
    assert {key: envelope[key] for key in ("merged", "left_out", "target", "commit")} == {
        key: merged.json[key] for key in ("merged", "left_out", "target", "commit")
    }
    assert "Merged on main: workers 1, 2" in architect("status", run_id).out
    assert architect("undo").code == 0
    assert everything(checkout) == before
    assert architect("status", run_id, "--json").json["merge"] is None
    # Four tasks, a worker each: the best of each is what --all lands.
    best = architect("merge", run_id, "--best")
    assert best.code == 5
    assert "best of each task: worker 1: " in best.out
    assert "workers 1, 2 of " in best.out


def test_plain_numbers_are_workers_of_the_newest_run(architect: Architect, checkout: Path) -> None:
    run = ("parallel", "--backend", "shell")
    assert architect(*run, "--task", "echo old > old.txt", "--task", "echo old > old2.txt").code == 0
    newest = architect(*run, "--task", "echo a; echo a > a.txt", "--task", "echo b; echo b > b.txt", "--task", "true")
    assert newest.code == 0
    shown = architect("diff", "1", "2")
    assert (shown.code, "a.txt" in shown.out, "b.txt" in shown.out, "old" in shown.out) == (0, True, True, False)
    assert architect("diff", "3").out == "worker 3 changed nothing\n"
    assert architect("logs", "2").out == "b\n"
    assert architect("logs", "1", "2", "--json").json["logs"].keys() == {"1", "2"}
    merged = architect("merge", "1", "2", "--json")
    assert (merged.code, merged.json["merged"]) == (0, [1, 2])
    assert sorted(path.name for path in checkout.glob("*.txt")) == ["a.txt", "b.txt"]
    assert architect("merge", "9").code == 2
    live = architect("cancel", "2")
    assert (live.code, "is not live" in live.err) == (4, True)


def test_interrupted_merge_moves_nothing_and_leaves_nothing(architect: Architect, checkout: Path) -> None:
    mark = checkout.parent / "checking"
    check = f"if [ -e {mark}.on ]; then touch {mark}; sleep 987; fi"
    tasks = ("--task", "echo a > a.txt", "--task", "echo b > b.txt")
    assert architect("parallel", "--backend", "shell", "--check", check, *tasks).code == 0
    before = everything(checkout)
    mark.with_name("checking.on").touch()
    process = architect.begin("merge", "latest", "--all", "--json")
    wait_until(mark.exists, "the first check")
    process.send_signal(signal.SIGINT)
    answer = architect.finish(process)
    assert (answer.code, answer.json["merged"], answer.json["commit"]) == (130, [], None)
    assert "nothing was moved" in answer.err
    assert everything(checkout) == before
    assert running_with("987") == []


def test_dirty_stays_is_named_and_goes_by_force_only(architect: Architect, checkout: Path, run_id: str) -> None:
    write(checkout / ".architect-parallel-2", {"thought.txt": "mine\n"})
    before = everything(checkout)
    answer = architect("parallel-cleanup", "--run", run_id)
    assert answer.code == 0, "all that could go is gone"
    assert "architect/parallel-1 stays: it is not merged" in answer.out
    assert ".architect-parallel-2 stays: it has uncommitted changes: thought.txt" in answer.out
    forced = architect("parallel-cleanup", "--force", "--json")
    assert [each["worker_id"] for each in forced.json["removed"]] == [1, 2]
    assert forced.json["stays"] == []
    assert not (checkout / ".architect-parallel-2").exists()
    for _ in range(2):
        assert architect("undo").code == 0
    assert everything(checkout) == before


def test_dirty_checkout_stops_an_undo(architect: Architect, checkout: Path, run_id: str) -> None:
    assert architect("merge", run_id, "1").code == 0
    write(checkout, {"new.txt": "improved\n"})
    before = everything(checkout)
    answer = architect("undo")
    assert answer.code == 3
    assert "new.txt" in answer.err
    assert everything(checkout) == before


def test_without_any_run_nothing_is_made(architect: Architect, checkout: Path) -> None:
    assert architect("parallel-cleanup").out == "nothing to clean up\n"
    assert architect("undo").code == 4
    assert architect("undo", "--list").code == 0
    assert architect("merge", "latest", "1").code == 4
    assert architect("parallel-cleanup", "--run", "x").code == 4
    assert not (checkout / ".git" / "architect").exists()


def test_of_a_worker_in_place_nobody_says_that_it_changed_nothing(architect: Architect, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    tasks = [{"backend": "shell", "prompt": "echo 1 > one.txt", "workdir": str(place)}]
    (tmp_path / "tasks.json").write_text(json.dumps({"tasks": tasks}))
    assert architect("parallel", "--file", tmp_path / "tasks.json").code == 0
    assert (place / "one.txt").exists()
    answer = architect("diff", "latest", "1")
    assert (answer.code, answer.out) == (0, "worker 1 worked in place: its changes cannot be told from others\n")
