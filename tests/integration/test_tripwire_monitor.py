"""Agents that reach out of their worktrees into the main checkout, in every way; and those, and users, who do not."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support.landing_runs import commit, ended_run
from support.repositories import git, make_repository
from support.worksites import on_disk

from architect_parallel import ParallelConfig, ParallelRunner
from architect_parallel.domain import RunResult, TripwireMode
from architect_parallel.events import AgentStarted, Recorded
from architect_parallel.journal import Journal
from architect_parallel.landing import merge, undo
from architect_parallel.system.git import GitError, open_repository
from architect_parallel.tripwire import checkout
from architect_parallel.tripwire.attribution import CheckoutChange
from architect_parallel.tripwire.checkout import MainCheckout
from architect_parallel.tripwire.repository_state import Landed
from architect_parallel.worktrees.places import exclude_from_status

FILES: Mapping[str, str | bytes] = {
    "README": "hello\n",
    "src/a.py": "x = 1\n",
    "src/run.sh": "#!/bin/sh\n",
    "data.bin": b"a\0b\xff" * 50,
    "old.txt": "old\n",
    ".gitignore": "*.log\n",
}


def main_checkout(directory: Path) -> Path:
    """A checkout with a branch, a stash, staged, changed and untracked files of the user's."""
    root = make_repository(directory / "repo", FILES)
    git(root, "branch", "topic")
    git(root, "branch", "unmerged", git(root, "commit-tree", "-m", "alone", "HEAD^{tree}"))
    (root / "README").write_text("put away\n")
    git(root, "stash")
    (root / "src/a.py").write_text("x = 2  # mine\n")
    (root / "staged.txt").write_text("staged\n")
    git(root, "add", "staged.txt")
    (root / "notes.txt").write_text("mine, nowhere else\n")
    git(root, "config", "user.known", "value")
    (root / ".git" / "hooks" / "mine").write_text("#!/bin/sh\n")
    git(root, "init", "-q", "--bare", ".git/modules/a/b")
    git(root, "update-ref", "refs/architect/keep/r/9", "HEAD")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return main_checkout(tmp_path)


@pytest.fixture
def watched(root: Path, tmp_path: Path) -> MainCheckout:
    exclude_from_status(open_repository(root))
    return MainCheckout(open_repository(root), tmp_path / "private")


def act(root: Path, script: str) -> None:
    subprocess.run(["sh", "-ec", script], cwd=root, check=True, capture_output=True)


def index_of(root: Path) -> str:
    return hashlib.sha256((root / ".git" / "index").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("script", "paths"),
    [
        ("echo more >> README", ["README"]),
        ("echo more >> src/a.py", ["src/a.py"]),
        ("echo gone > notes.txt", ["notes.txt"]),
        ("rm notes.txt", ["notes.txt"]),
        ("rm -r src", ["src/a.py", "src/run.sh"]),
        ("mv old.txt new.txt", ["new.txt", "old.txt"]),
        ("echo x > 'odd \u00e4\nname'", ["odd \u00e4\nname"]),
        ("printf 'c\\0d' > data.bin", ["data.bin"]),
        ("chmod +x src/a.py", ["src/a.py"]),
        ("ln -s /etc/passwd link", ["link"]),
        ("rm -r src && ln -s elsewhere src", ["src", "src/a.py", "src/run.sh"]),
        ("rm README && mkdir README && echo x > README/inner", ["README", "README/inner"]),
        ("git add notes.txt", ["index"]),
        ("git rm -q --cached old.txt", ["index"]),
        ("git commit -qm theirs", ["refs/heads/main"]),
        ("echo x >> README && git commit -qam theirs", ["README", "index", "refs/heads/main"]),
        ("git checkout -q topic", ["HEAD"]),
        ("git branch sneaky", ["refs/heads/sneaky"]),
        ("git branch -D unmerged", ["refs/heads/unmerged"]),
        ("git tag v1", ["refs/tags/v1"]),
        ("git stash -q", ["index", "src/a.py", "staged.txt", "stash"]),
        ("git stash drop -q", ["stash"]),
        ("git update-ref refs/heads/topic unmerged && git pack-refs --all", ["refs/heads/topic"]),
        ("git reset -q --hard", ["index", "src/a.py", "staged.txt"]),
        ("git clone -q . inner", ["inner/"]),
        ("head -c 9000000 /dev/zero > big", ["big"]),
        ("git config filter.x.clean evil", ["config: filter.x.clean"]),
        ("git config --global filter.x.clean evil", ["config: filter.x.clean"]),
        (
            "git config -f more filter.x.clean evil; git config include.path ../more",
            ["config: filter.x.clean", "config: include.path", "more"],
        ),
        ("git config core.bare true", ["config: core.bare"]),
        ("git config --unset user.known", ["config: user.known"]),
        ("git config user.known secret", ["config: user.known"]),
        ("git config --add user.known secret", ["config: user.known"]),
        (
            "git config extensions.worktreeConfig true; git config --worktree core.fsmonitor evil",
            ["config: core.fsmonitor", "config: extensions.worktreeconfig"],
        ),
        ("echo '[core' > .git/config", ["config"]),
        ("echo x > .git/hooks/post-merge", [".git/hooks/post-merge"]),
        ("chmod +x .git/hooks/mine", [".git/hooks/mine"]),
        ("rm .git/hooks/mine", [".git/hooks/mine"]),
        ("echo '*' >> .git/info/exclude", [".git/info/exclude"]),
        ("echo '* filter=x' > .git/info/attributes", [".git/info/attributes"]),
        ("git rev-parse HEAD > .git/info/grafts", [".git/info/grafts"]),
        ("git rev-parse HEAD > .git/shallow", [".git/shallow"]),
        ("echo /elsewhere > .git/objects/info/alternates", [".git/objects/info/alternates"]),
        ("git config -f .git/modules/a/b/config core.fsmonitor evil", [".git/modules/a/b/config"]),
        ("echo x > .git/modules/a/b/hooks/post-checkout", [".git/modules/a/b/hooks/post-checkout"]),
        ("mkdir .git/rebase-merge", [".git/rebase-merge"]),
        ("git replace HEAD unmerged", ["REPLACED"]),
        ("git update-ref -d refs/architect/keep/r/9", ["refs/architect/keep/r/9"]),
        ("git update-ref refs/architect/keep/r/9 unmerged", ["refs/architect/keep/r/9"]),
        # What is none of an agent's changes, or not seen:
        ("git branch -q -u main topic", []),
        ("git config --global user.name Other", []),
        ("echo /.architect/ >> .git/info/exclude", []),
        ("git update-server-info", []),
        ("git status && git update-index -q --refresh", []),
        ("touch README src/a.py", []),
        ("git pack-refs --all", []),
        ("git gc -q", []),
        ("git update-ref refs/remotes/origin/main HEAD", []),
        ("git branch architect/parallel-9 && git update-ref refs/architect/keep/r/1 HEAD", []),
        ("mkdir .architect-parallel-9 && echo x > .architect-parallel-9/f", []),
        ("echo x > ignored.log", []),
    ],
)
def test_every_change_is_seen_once_and_its_patch_applies(
    root: Path, watched: MainCheckout, tmp_path: Path, script: str, paths: list[str]
) -> None:
    before = tmp_path / "before"
    shutil.copytree(root, before, symlinks=True)
    was = index_of(root)
    assert watched.changes() == []
    assert index_of(root) == was  # looking leaves no trace

    act(root, script)
    found = watched.changes()

    if paths == ["REPLACED"]:
        paths = [f"refs/replace/{git(root, 'rev-parse', 'HEAD')}"]
    assert sorted({change.path for change in found}) == paths
    assert not any("secret" in change.words or "evil" in change.words for change in found)
    assert watched.changes() == []  # once
    patch = watched.patch(found)
    if patch is None:
        assert all(not change.saved for change in found)
        return
    file = tmp_path / "change.patch"
    file.write_bytes(patch)
    git(before, "apply", file)
    after = {path: data for path, data in on_disk(root).items() if path in paths}
    assert {path: data for path, data in on_disk(before).items() if path in paths} == after
    git(before, "apply", "-R", file)
    git(before, "apply", "-R", "--check", file, check=False)
    assert (before / "notes.txt").read_text() == "mine, nowhere else\n"


def test_filters_hooks_and_monitors_of_the_repository_are_not_run(root: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {canary}\ncat\n")
    trap.chmod(0o755)
    exclude_from_status(open_repository(root))
    watched = MainCheckout(open_repository(root), tmp_path / "private")
    act(
        root,
        f"git config filter.t.clean {trap}; git config core.fsmonitor {trap}; git config diff.t.textconv {trap}\n"
        f"git config diff.external {trap}; cp {trap} .git/hooks/post-index-change\n"
        "echo '* filter=t diff=t' > .gitattributes; echo x >> README",
    )

    found = watched.changes()

    assert sorted(change.path for change in found) == [
        ".git/hooks/post-index-change", ".gitattributes", "README", "config: core.fsmonitor", "config: diff.external",
        "config: diff.t.textconv", "config: filter.t.clean",
    ]  # fmt: skip
    assert watched.patch(found) is not None
    assert not canary.exists()
    git(root, "status", check=False)  # the control: plain git does run them
    assert canary.exists()


def test_a_submodule_that_moved_is_named(tmp_path: Path) -> None:
    inner = make_repository(tmp_path / "inner")
    root = make_repository(tmp_path / "repo")
    git(root, "-c", "protocol.file.allow=always", "submodule", "add", "-q", inner, "sub")
    git(root, "commit", "-qm", "sub")
    watched = MainCheckout(open_repository(root), tmp_path / "private")
    (root / "sub" / "README").write_text("not seen: it is another repository's\n")
    assert watched.changes() == []
    commit(root / "sub", {"new": "x"})
    assert [change.path for change in watched.changes()] == ["sub"]


def test_unsaved_files_are_named_again_when_they_change_again(root: Path, watched: MainCheckout) -> None:
    act(root, "head -c 9000000 /dev/zero > big")
    (first,) = watched.changes()
    assert (first.path, first.saved) == ("big", False)
    assert watched.changes() == []
    act(root, "echo x >> big")
    assert [change.path for change in watched.changes()] == ["big"]
    act(root, "rm big")
    assert [(change.path, change.saved) for change in watched.changes()] == [("big", False)]
    assert watched.changes() == []


def test_more_untracked_files_than_are_saved_are_still_watched(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkout, "MOST_FILES", 2)
    for number in range(5):
        (root / f"many-{number}").write_text("x")
    watched = MainCheckout(open_repository(root), tmp_path / "private")
    assert watched.changes() == []
    act(root, "echo y > many-4; echo y > many-0")
    assert [change.path for change in watched.changes()] == ["many-0", "many-4"]


def test_the_users_own_store_gets_nothing(root: Path, tmp_path: Path) -> None:
    objects = root / ".git" / "objects"
    before = sorted(path.name for path in objects.rglob("*"))
    watched = MainCheckout(open_repository(root), tmp_path / "private")
    act(root, "echo more >> README")
    assert watched.patch(watched.changes()) is not None
    assert sorted(path.name for path in objects.rglob("*")) == before


def test_a_look_that_failed_is_made_up_for_by_the_next(root: Path, watched: MainCheckout) -> None:
    config = (root / ".git" / "config").read_bytes()
    act(root, "git tag v1; echo more >> README; echo '[' > .git/config")
    with pytest.raises(GitError):
        watched.changes()
    (root / ".git" / "config").write_bytes(config)
    assert [change.path for change in watched.changes()] == ["README", "refs/tags/v1"]


def test_what_was_landed_is_no_change_and_what_came_with_it_is(root: Path, watched: MainCheckout) -> None:
    old = git(root, "rev-parse", "HEAD")
    act(root, "git stash -q; echo landed > landed.txt; git add landed.txt; git commit -qm landed; git stash pop -q")
    new = git(root, "rev-parse", "HEAD")
    (root / "README").write_text("and an agent\n")
    seen = {change.path for change in watched.changes([Landed(branch="main", old=old, new=new)])}
    assert "README" in seen
    assert not seen & {"landed.txt", "refs/heads/main", "index"}


# Whole runs


class Run:
    """Runs shell tasks in a checkout, as the console script does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.begun: Callable[[Recorded], None] = lambda recorded: None

    def __call__(self, *tasks: str, tripwire: str = "fail", **more: object) -> RunResult:
        config = ParallelConfig(
            tasks=tasks, backend="shell", workers=len(tasks), tripwire=tripwire, max_parallel=len(tasks)
        )
        runner = ParallelRunner(
            dataclasses.replace(config, **more),  # type: ignore[arg-type]  # names are ParallelConfig's
            workspace_root=self.root,
            listeners=[self.begun],
        )
        return runner.execute()

    def once_started(self, number: int, do: Callable[[], object]) -> None:
        """Calls `do` once so many agents run."""
        started: set[int | None] = set()

        def hear(recorded: Recorded) -> None:
            if isinstance(recorded.event, AgentStarted):
                started.add(recorded.worker_id)
                if len(started) == number:
                    do()

        self.begun = hear


@pytest.fixture
def run(root: Path) -> Run:
    return Run(root)


def endings(result: RunResult) -> list[tuple[str, str]]:
    return [(str(each.status), str(each.reason)) for each in result.results]


def test_a_run_that_stays_in_its_worktrees_leaves_no_trace(run: Run, root: Path) -> None:
    was, before = index_of(root), on_disk(root)
    result = run("echo x > mine", "echo y > mine && git add mine && git commit -qm y")
    assert result.escaped is None
    assert endings(result) == [("success", "completed")] * 2
    assert index_of(root) == was
    assert {path: data for path, data in on_disk(root).items() if not path.startswith(".architect-")} == before
    assert not (open_repository(root).state_dir / "runs" / result.run_id / "tripwire").exists()


def test_the_only_agent_that_ran_has_failed_and_its_work_is_kept(run: Run, root: Path) -> None:
    result = run("echo x > mine; cd ..; echo theirs >> README; rm notes.txt")

    assert endings(result) == [("failed", "escaped")]
    assert result.exit_code == 1
    assert result.escaped is not None
    assert (result.escaped.paths, result.escaped.suspects) == (("README", "notes.txt"), (1,))
    assert result.results[0].files_modified == ["mine"]
    assert "README" in (result.results[0].error or "")
    assert (root / "README").read_text() == "hello\ntheirs\n"  # never reverted
    patch = Path(result.escaped.patch or "")
    assert stat.S_IMODE(patch.stat().st_mode) == 0o600
    git(root, "apply", "-R", patch)
    assert (root / "README").read_text() == "hello\n"
    assert (root / "notes.txt").read_text() == "mine, nowhere else\n"


def test_who_writes_into_the_repositorys_configuration_has_failed(run: Run, root: Path) -> None:
    result = run('git config -f ../.git/config filter.x.clean "secret"; echo x > mine')
    assert endings(result) == [("failed", "escaped")]
    assert result.escaped is not None
    assert result.escaped.paths == ("config: filter.x.clean",)
    assert "filter.x.clean" in (result.results[0].error or "")
    assert "git's configuration changed while agents ran: filter.x.clean" in result.warnings[-1]
    assert not any("secret" in warning for warning in result.warnings)


def test_of_two_the_one_whose_task_names_the_key_has_failed(run: Run, tmp_path: Path) -> None:
    meet = f"touch {tmp_path}/$MEET; while [ $(ls {tmp_path} | grep -c meet) -lt 2 ]; do sleep 0.05; done"
    result = run(
        f"MEET=meet-1; {meet}; git config -f ../.git/config core.sshCommand evil; echo x > mine",
        f"MEET=meet-2; {meet}; echo y > mine; sleep 0.3",
    )
    assert endings(result) == [("failed", "escaped"), ("success", "completed")]


def test_a_check_that_reaches_the_main_checkout_is_seen(run: Run, root: Path) -> None:
    """It runs what the agent wrote."""
    result = run("echo 'echo theirs >> ../README' > check.sh", checks=("sh check.sh",))
    assert (root / "README").read_text() == "hello\ntheirs\n"
    assert endings(result) == [("failed", "escaped")]
    assert result.escaped is not None
    assert (result.escaped.paths, result.escaped.suspects) == (("README",), (1,))


def test_without_the_tripwire_nobody_knows(run: Run, root: Path) -> None:
    """The control."""
    result = run("cd ..; echo theirs >> README; rm notes.txt", tripwire="off")
    assert (result.escaped, endings(result)) == (None, [("success", "no_changes")])


def test_warn_lets_it_succeed_and_says_so(run: Run) -> None:
    result = run("cd ..; echo theirs >> README", tripwire="warn")
    assert endings(result) == [("success", "no_changes")]
    assert result.escaped is not None
    assert any("README" in warning for warning in result.results[0].warnings)


GATE = "i=0; while [ ! -e {gate} ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done"


def test_of_two_the_one_whose_task_names_it_has_failed(run: Run, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run.once_started(2, gate.touch)
    result = run(f"{GATE.format(gate=gate)}; echo x >> ../README", GATE.format(gate=gate))
    assert endings(result) == [("failed", "escaped"), ("success", "no_changes")]
    assert result.escaped is not None
    assert result.escaped.paths == ("README",)


def test_the_users_edit_while_several_ran_is_nobodys_fault(run: Run, root: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def edit() -> None:
        (root / "README").write_text("the user's\n")
        gate.touch()

    run.once_started(2, edit)
    result = run(GATE.format(gate=gate), GATE.format(gate=gate))
    assert endings(result) == [("success", "no_changes")] * 2
    assert result.escaped is not None
    assert result.escaped.suspects == (1, 2)
    assert all("README" in " ".join(each.warnings) for each in result.results)


def test_what_changed_while_no_agent_ran_is_not_reported(run: Run, root: Path) -> None:
    # A setup command runs before the agent; it plays the user.
    config = root.parent / "own.yaml"
    config.write_text(f"worktrees: {{setup: ['echo edited >> {root}/README; sleep 0.1']}}\n")
    result = run("true", config_file=config)
    assert (result.escaped, endings(result)) == (None, [("success", "no_changes")])


def test_one_after_the_other_only_the_first_is_suspected(run: Run) -> None:
    result = run("cd ..; echo x >> README", "true", max_parallel=1)
    assert endings(result) == [("failed", "escaped"), ("success", "no_changes")]
    assert result.escaped is not None
    assert result.escaped.suspects == (1,)


def test_a_later_escape_holds_the_earlier_one_too(run: Run, root: Path) -> None:
    result = run("echo 1 >> ../README", "echo 2 >> ../old.txt; echo 2 >> ../README", max_parallel=1)
    assert endings(result) == [("failed", "escaped")] * 2
    assert result.escaped is not None
    assert (result.escaped.paths, result.escaped.suspects) == (("README", "old.txt"), (1, 2))
    git(root, "apply", "-R", result.escaped.patch or "")
    assert ((root / "README").read_text(), (root / "old.txt").read_text()) == ("hello\n", "old\n")


def test_every_attempt_is_judged_for_its_own_changes(run: Run, root: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    task = f"if [ -e {again} ]; then echo 2 >> ../README; else touch {again}; exit 1; fi"
    result = run(task, retries=1)
    assert endings(result) == [("failed", "escaped")]
    assert result.results[0].attempts == 2


def test_a_file_called_index_is_not_the_index(run: Run, root: Path) -> None:
    result = run("cd ..; echo x > index; git add index")
    assert result.escaped is not None
    assert result.escaped.paths == ("index",)
    assert "+++ b/index" in Path(result.escaped.patch or "").read_text()


def test_a_branch_of_its_own_and_a_stash_of_its_own_are_no_escape(run: Run) -> None:
    result = run("git switch -qc mine && echo 1 > f && git add f && git commit -qm f && echo 2 > f && git stash -q")
    assert (result.escaped, result.results[0].status) == (None, "success")


def test_a_deleted_branch_and_a_dropped_stash_are_kept(run: Run, root: Path) -> None:
    unmerged, stash = git(root, "rev-parse", "unmerged"), git(root, "rev-parse", "stash")
    result = run("git -C .. branch -D unmerged; git -C .. stash drop")
    assert result.escaped is not None
    assert result.escaped.paths == ("refs/heads/unmerged", "stash")
    kept = git(root, "for-each-ref", "--format=%(objectname)", f"refs/architect/keep/{result.run_id}").split()
    assert sorted(kept) == sorted([unmerged, stash])
    assert sum("kept as" in warning for warning in result.warnings) == 2


def test_another_runs_agent_may_have_done_it(run: Run, root: Path, tmp_path: Path) -> None:
    """Two live runs: the one whose agent is alone in its own run is not blamed for what the other's did."""
    gate, over = tmp_path / "gate", tmp_path / "over"
    others: list[RunResult] = []

    def second() -> None:
        others.append(Run(root)(f"echo x >> ../README; touch {over}"))
        gate.touch()

    thread = threading.Thread(target=second)
    run.once_started(1, thread.start)
    result = run(GATE.format(gate=gate))
    thread.join()
    assert endings(others[0]) == [("failed", "escaped")]
    assert endings(result) == [("success", "no_changes")]
    assert result.escaped is not None
    assert "another run" in " ".join(result.results[0].warnings)


def test_merge_and_undo_during_a_run_are_no_escape(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "repo", FILES)
    repository = open_repository(root)
    gate = tmp_path / "gate"
    with Journal.open(repository.state_dir) as journal:
        ended_run(repository, journal, "20260101-000000-aaaa", {"src/a.py": "x = 3\n", "new.txt": "n\n"})

        def land() -> None:
            plan = merge.plan_merge(repository, journal, "20260101-000000-aaaa", 1)
            merge.execute(repository, journal, plan)
            undo.execute(repository, journal, undo.plan_undo(repository, journal))
            merge.execute(repository, journal, merge.plan_merge(repository, journal, "20260101-000000-aaaa", 1))
            gate.touch()

        run = Run(root)
        run.once_started(1, land)
        result = run(GATE.format(gate=gate))
    assert (root / "new.txt").exists()
    assert (result.escaped, endings(result)) == (None, [("success", "no_changes")])


def test_what_cannot_be_watched_is_said_and_the_run_goes_on(run: Run, root: Path) -> None:
    (root / ".git" / "index").unlink()
    result = run("true")
    assert endings(result) == [("success", "no_changes")]
    assert any("is not watched" in warning for warning in result.warnings)


def test_work_in_place_in_the_checkout_turns_it_off_with_a_word(root: Path, tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text("tasks: [{backend: shell, prompt: 'echo x >> README', isolation: none}]\n")
    runner = ParallelRunner(ParallelConfig(file=tasks, tripwire="fail"), workspace_root=root)
    plan = runner.plan()
    assert plan.tripwire is TripwireMode.OFF
    assert any("tripwire is off" in warning for warning in plan.warnings)


def test_a_bare_repository_has_refs_to_watch(tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", make_repository(tmp_path / "repo"), tmp_path / "bare.git")
    watched = MainCheckout(open_repository(tmp_path / "bare.git"), tmp_path / "private")
    git(tmp_path / "bare.git", "tag", "v1")
    assert [change.path for change in watched.changes()] == ["refs/tags/v1"]


def test_a_patch_of_nothing_is_none(watched: MainCheckout) -> None:
    assert watched.patch([CheckoutChange(path="HEAD", saved=False, words="HEAD was a, is b")]) is None
