"""Checks on a finished worktree: real git, real processes, and checks that do their worst.

The agent's part is played before; `Bench.naive` runs the same command as a plain shell would, to show that each of
these does harm when nobody takes it back.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.console import running_with, wait_until
from support.repositories import git
from support.worksites import BRANCH, Worksite, content, make_worksite, on_disk

from architect_parallel.backends.environment import CommandEnvironment
from architect_parallel.checks.checker import BaselineOrder, Checker
from architect_parallel.domain import CheckResult, Limits, Reason, WorktreeSettings
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.events import BaselineFinished, CheckFinished, Event
from architect_parallel.snapshots.collect import Collection
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.git import open_repository
from architect_parallel.worktrees.places import DIRECTORY_PREFIX
from architect_parallel.worktrees.remove import inspect
from architect_parallel.worktrees.temporary import (
    find_temporary_worktree,
    remove_temporary_worktree,
    temporary_worktree_path,
)

AGENT = """
echo changed > change.txt
rm delete.txt
mkdir new && echo new > new/file.txt
echo noise > ignored.log
"""


@dataclass
class Bench:
    """A worksite whose agent is done, and what its checks said."""

    site: Worksite
    collection: Collection
    checker: Checker
    warnings: list[str]
    events: list[Event]

    def check(self, *commands: str, **spec: object) -> list[CheckResult]:
        changed = replace(self.site.spec, checks=commands, check_timeout_s=60.0)
        return self.checker.check_worker(
            replace(changed, **spec),  # type: ignore[arg-type]  # names are WorkerSpec's
            self.site.private,
            self.collection.commit,
            secret_values=("s3cr3t-key",),
            emit=self.events.append,
            warn=self.warnings.append,
        )

    def naive(self, command: str) -> None:
        subprocess.run(["sh", "-c", command], cwd=self.site.worktree, check=False, capture_output=True)

    @property
    def untouched(self) -> bool:
        """Whether tree, branch and git's directory are what the collection left; seen by plain git in a fresh look."""
        site = self.site
        if (
            git(site.repository.common_dir, "rev-parse", "--verify", "-q", BRANCH, check=False)
            != self.collection.commit
        ):
            return False
        committed, found = content(site.repository.common_dir, self.collection.commit), on_disk(site.worktree)
        found = {path: each for path, each in found.items() if not path.endswith(".log")}
        if committed != found or not (site.worktree / ".git").is_file():
            return False
        state = inspect(site.repository, site.worktree, BRANCH, site.spec.run_id)
        clean = (state.branch, state.head, state.dirty, state.nested, state.unreadable) == (
            BRANCH, self.collection.commit, (), (), None,
        )  # fmt: skip
        return clean and git(site.worktree, "status", "--porcelain", check=False) == ""


def bench_of(site: Worksite, tmp_path: Path, **spec: object) -> Bench:
    site.act(AGENT)
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = A Check\n\temail = check@example.invalid\n")
    checker = Checker(
        repository=site.repository,
        run_dir=tmp_path / "run",
        environ={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ANTHROPIC_API_KEY": "s3cr3t-key"},
        keys=("ANTHROPIC_API_KEY",),
        sampler=Sampler(),
        stop_token=StopToken(),
    )
    return Bench(site=site, collection=site.collect(**spec), checker=checker, warnings=[], events=[])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return bench_of(make_worksite(tmp_path), tmp_path)


def kept(bench: Bench) -> list[str]:
    listed = git(bench.site.repository.common_dir, "for-each-ref", "--format=%(refname)", "refs/architect/keep")
    return [ref for ref in listed.splitlines() if "-check" in ref]


def test_checks_see_the_committed_result_and_what_git_ignores(bench: Bench) -> None:
    results = bench.check(
        "test $(cat change.txt) = changed && ! test -e delete.txt && test -e new/file.txt && test -e ignored.log",
        "git diff --quiet HEAD && test -z \"$(git status --porcelain)\"",
        "echo left >> ignored.log; exit 3",
    )  # fmt: skip

    assert [(each.passed, each.exit_code) for each in results] == [(True, 0), (True, 0), (False, 3)]
    assert [event.check for event in bench.events if isinstance(event, CheckFinished)] == results
    assert (bench.site.worktree / "ignored.log").read_text().count("left") == 3, "it was repeated twice"
    assert bench.warnings == []
    assert kept(bench) == []
    assert bench.untouched


def test_a_failing_check_says_which_variables_it_did_not_get(bench: Bench) -> None:
    environ = bench.checker.environ | {"DATABASE_URL": "postgres://me:hunter22@db.example/x", "ZONE": "eu"}  # type: ignore[operator]  # a dict
    bench.checker = replace(bench.checker, environ=environ)
    results = bench.check('test -n "$ANTHROPIC_API_KEY" || echo DATABASE_URL; exit 1', 'echo "$ZONE"')
    assert [each.passed for each in results] == [False, True]
    (warning,) = bench.warnings
    assert warning.startswith("3 variables of your shell did not reach")
    assert "(ANTHROPIC_API_KEY, DATABASE_URL, ZONE)" in warning
    assert "checks_env: [ANTHROPIC_API_KEY]" in warning
    assert "hunter22" not in warning


def test_a_check_gets_what_it_names_and_what_is_configured(bench: Bench) -> None:
    environ = bench.checker.environ | {"DATABASE_URL": "postgres://me:hunter22@db.example/x", "PGHOST": "db"}  # type: ignore[operator]  # a dict
    naming, asking = 'test -n "$DATABASE_URL" && echo "$DATABASE_URL"; exit 3', "printenv PGHOST"
    bench.checker = replace(bench.checker, environ=environ)
    assert [each.exit_code for each in bench.check(naming, asking)] == [3, 1]  # PGHOST: the control
    bench.checker = replace(bench.checker, checks_env=("PG*",))
    named, asked = bench.check(naming, asking)
    assert (asked.passed, asked.output_tail) == (True, "db")
    assert named.output_tail == "postgres://me:[redacted]@db.example/x"


HOSTILE = {
    "writes tracked files": "echo evil > change.txt; echo evil > keep.txt",
    "makes files": "mkdir out; echo report > out/report.xml",
    "deletes files": "rm -r dir keep.txt",
    "deletes .git": "rm -rf .git",
    "makes its own .git": "rm .git; git init -q .; git add -A; git commit -qm mine",
    "commits": "echo evil > change.txt; git commit -qam evil",
    "commits elsewhere": "git checkout -q -b elsewhere; echo evil > x; git add x; git commit -qm evil",
    "deletes the branch": f"git update-ref -d refs/heads/{BRANCH}",
    "resets": "git reset -q --hard HEAD~1",
    "leaves a merge": "git checkout -q -b side HEAD~1; echo o > change.txt; git commit -qam o; git merge -q -; true",
    "stages": "echo evil > new/staged; git add -A; git update-index --assume-unchanged keep.txt; echo x > keep.txt",
    "adds what is ignored": "git add -f ignored.log",
    "clones inside": "git init -q inner; cd inner; echo 1 > a; git add a; git commit -qm inner",
    "an empty repository": "git init -q inner",
    "hides behind ignore rules": "echo '*' > .gitignore; echo hidden > hidden.txt; echo evil > change.txt",
    "files for directories": "rm -r dir; echo file > dir; rm change.txt; mkdir change.txt; echo x > change.txt/y",
    "a link for a directory": "rm -r dir; ln -s /etc dir",
    "takes permissions": "echo evil > dir/more; chmod 000 dir/inner.txt; chmod 555 dir; chmod 400 keep.txt",
    "ends a rebase": "git rebase -q --exec false HEAD~1; true",
    "removes the worktree": 'rm -rf "$PWD"',
    "removes its registration": "git worktree remove --force .",
    "a hook and a filter": (
        "hooks=$(git rev-parse --git-common-dir)/hooks; mkdir -p $hooks; "
        "printf '#!/bin/sh\\ntouch $HOME/evil\\n' > $hooks/post-checkout; chmod +x $hooks/post-checkout; "
        "git config filter.evil.clean 'touch $HOME/evil; cat'; printf '* filter=evil\\n' > .gitattributes"
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", HOSTILE.values(), ids=list(HOSTILE))
def test_whatever_a_check_does_is_taken_back(bench: Bench, tmp_path: Path, command: str) -> None:
    results = bench.check(command, "test -e keep.txt -a -e dir/inner.txt -a $(cat change.txt) = changed")

    assert results[-1].passed, "the next check saw the committed result"
    assert not (tmp_path / "evil").exists(), "nothing of the check's ran in the launcher"
    git(bench.site.repository.common_dir, "config", "--remove-section", "filter.evil", check=False)
    assert bench.untouched
    assert not [each for each in bench.warnings if "could not" in each]


@pytest.mark.parametrize("command", HOSTILE.values(), ids=list(HOSTILE))
def test_left_alone_it_would_stand(bench: Bench, command: str) -> None:
    """The control."""
    bench.naive(command)

    assert not bench.untouched or "filter" in command


def test_what_a_check_wrote_is_kept_and_named(bench: Bench) -> None:
    bench.check("echo report > report.xml; echo evil > change.txt")

    (ref,) = kept(bench)
    store = bench.site.repository.common_dir
    assert git(store, "show", f"{ref}:report.xml") == "report"
    assert git(store, "show", f"{ref}:change.txt") == "evil"
    assert bench.warnings == [f"what the checks wrote was taken back: change.txt, report.xml (kept as {ref})"]


def test_bytecode_of_the_checks_own_making_is_kept_without_a_word(bench: Bench) -> None:
    bench.check("mkdir -p new/__pycache__; echo code > new/__pycache__/file.cpython-311.pyc")

    (ref,) = kept(bench)
    assert git(bench.site.repository.common_dir, "show", f"{ref}:new/__pycache__/file.cpython-311.pyc") == "code"
    assert bench.warnings == []
    assert bench.untouched


def test_tracked_bytecode_and_other_new_files_are_named(tmp_path: Path) -> None:
    site = make_worksite(tmp_path)
    site.act("mkdir __pycache__; echo theirs > __pycache__/a.pyc; git add -f .; git commit -qm mine")
    bench = bench_of(site, tmp_path)

    bench.check("echo ours > __pycache__/a.pyc; echo ours > __pycache__/b.pyc; echo ours > c.pyc")

    assert bench.warnings == [
        f"what the checks wrote was taken back: __pycache__/a.pyc, c.pyc (kept as {kept(bench)[0]})"
    ]
    assert (site.worktree / "__pycache__" / "a.pyc").read_text() == "theirs\n"


def test_a_branch_that_a_check_moved_is_named(bench: Bench) -> None:
    bench.check(f"git --git-dir={bench.site.repository.common_dir} update-ref refs/heads/{BRANCH} {BRANCH}~1")

    assert bench.warnings == [f"a check moved {BRANCH}; it was moved back (kept as {kept(bench)[0]})"]
    assert bench.untouched


def test_without_commit_the_uncommitted_state_is_checked_and_stays(tmp_path: Path) -> None:
    bench = bench_of(make_worksite(tmp_path), tmp_path, commit=False)
    before = git(bench.site.worktree, "status", "--porcelain")

    (result,) = bench.check(
        "test $(cat change.txt) = changed && echo junk > junk && git add -A && git commit -qm x", commit=False
    )

    assert result.passed
    assert git(bench.site.worktree, "status", "--porcelain") == before != ""
    assert bench.site.tip == bench.site.spec.base_commit


def test_a_worktree_the_agent_removed_is_made_again_for_its_checks(tmp_path: Path) -> None:
    site = make_worksite(tmp_path)
    site.act('echo changed > change.txt; git commit -qam mine; rm -rf "$PWD"')
    collection = site.collect()
    warnings: list[str] = []
    checker = Checker(
        repository=site.repository, run_dir=tmp_path / "run", environ=dict(os.environ), sampler=Sampler(),
        stop_token=StopToken(),
    )  # fmt: skip

    (result,) = checker.check_worker(
        replace(site.spec, checks=("test $(cat change.txt) = changed",)), site.private, collection.commit,
        secret_values=(), emit=lambda event: None, warn=warnings.append,
    )  # fmt: skip

    assert (result.passed, warnings) == (True, [])


@pytest.mark.parametrize("damage", ['rm -rf "$ADMIN"', "rm .git", "rm .git; git init -q ."])
def test_a_worktree_whose_git_the_agent_destroyed_is_checked(tmp_path: Path, damage: str) -> None:
    site = make_worksite(tmp_path)
    site.act(damage)
    bench = bench_of(site, tmp_path)

    first, second = bench.check(
        "echo evil > change.txt; touch junk", "test $(cat change.txt) = changed; test ! -e junk"
    )

    assert (first.passed, second.passed) == (True, True)
    assert bench.warnings == [f"what the checks wrote was taken back: change.txt, junk (kept as {kept(bench)[0]})"]


def test_a_daemon_ends_with_its_check(bench: Bench) -> None:
    token = f"3600.{secrets.randbelow(10**9):09d}"
    command = f"setsid sh -c 'sleep {token}; echo late > keep.txt' >/dev/null 2>&1 & sleep 0.2"

    (result,) = bench.check(command)

    assert result.passed
    assert running_with(token) == []
    assert bench.untouched


def test_a_daemon_of_a_plain_shell_lives_on(bench: Bench) -> None:
    """The control."""
    token = f"3600.{secrets.randbelow(10**9):09d}"
    bench.naive(f"setsid sleep {token} >/dev/null 2>&1 &")

    wait_until(lambda: bool(running_with(token)), "the daemon")
    subprocess.run(["kill", "-9", *map(str, running_with(token))], check=True)


def test_one_that_never_ends_is_stopped_and_not_repeated(bench: Bench) -> None:
    token = f"3600.{secrets.randbelow(10**9):09d}"

    results = bench.check(
        f"echo before; trap '' TERM; sleep {token}", "true", check_timeout_s=0.5, limits=Limits(grace_s=0.3)
    )

    assert (results[0].passed, results[0].timed_out, results[1].passed) == (False, True, True)
    assert results[0].output_tail.splitlines()[0] == "before"
    assert "stopped" in results[0].output_tail
    assert running_with(token) == []


def test_memory_and_output_are_bounded(bench: Bench) -> None:
    limits = replace(bench.site.spec.limits, memory_bytes=80 * 2**20, output_bytes=2**20)
    hungry = "python3 -c 'x = bytearray(300 * 2**20); import time; time.sleep(60)'"

    results = bench.check(hungry, "head -c 100000000 /dev/zero; sleep 60", limits=limits)

    assert [(each.passed, each.timed_out) for each in results] == [(False, False), (False, False)]
    assert "limit 80 MiB" in results[0].output_tail
    assert "bytes, limit" in results[1].output_tail


def test_one_that_passes_when_repeated_is_flaky(bench: Bench) -> None:
    """Its count is in an ignored file, which stays."""
    command = "echo x >> runs.log; echo run $(wc -l < runs.log); test $(wc -l < runs.log) -ge 3"

    (result,) = bench.check(command)

    assert (result.passed, result.flaky, result.exit_code, result.output_tail) == (True, True, 0, "run 2")


def test_checks_get_no_key_and_print_none(bench: Bench) -> None:
    (bench.site.worktree / "own.log").write_text("a s3cr3t-key\n")

    (result,) = bench.check('echo "key=$ANTHROPIC_API_KEY."; cat own.log; printf "\\033[31mred\\n"; exit 1')

    assert result.output_tail.splitlines() == ["key=.", "a [redacted]", "red"]
    logs = [path.read_text() for path in (bench.checker.run_dir / "logs").iterdir()]
    assert all("s3cr3t" not in text for text in logs)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_stop_ends_checks_at_once(bench: Bench, how: str) -> None:
    token = f"3600.{secrets.randbelow(10**9):09d}"
    stop_token = bench.checker.stop_token
    found: list[CheckResult] = []
    thread = threading.Thread(
        target=lambda: found.extend(bench.check("true", f"echo evil > keep.txt; sleep {token}", "touch never.log"))
    )
    thread.start()
    wait_until(lambda: bool(running_with(token)), "the check")
    if how == "kill":
        stop_token.kill()
    else:
        stop_token.stop(Reason.INTERRUPTED)
    thread.join(30)

    assert not thread.is_alive()
    assert [each.command for each in found] == ["true"]
    assert running_with(token) == []
    assert not (bench.site.worktree / "never.log").exists()
    assert bench.untouched


def test_a_limit_of_the_agent_does_not_keep_its_work_from_being_checked(bench: Bench) -> None:
    bench.checker.stop_token.stop(Reason.MAX_STEPS)
    assert [each.passed for each in bench.check("true")] == [True]
    bench.checker.stop_token.stop(Reason.CANCELED)
    assert bench.check("true") == []


def base(bench: Bench, *commands: str, **more: object) -> BaselineFinished:
    order = BaselineOrder(
        run_id="20260101-abc", base_commit=bench.site.spec.base_commit, commands=commands,
        limits=bench.site.spec.limits, check_timeout_s=60.0, backend="shell",
    )  # fmt: skip
    heard: list[Event] = []
    environ = CommandEnvironment(environ=bench.checker.environ)
    bench.checker.check_base(order, WorktreeSettings(**more), environ, heard.append)  # type: ignore[arg-type]  # its own names
    (event,) = heard
    assert isinstance(event, BaselineFinished)
    return event


def left_of_the_base(bench: Bench) -> list[str]:
    root = bench.site.repository.root
    found = [path.name for path in root.iterdir() if path.name.startswith(f"{DIRECTORY_PREFIX}base")]
    return found + [line for line in git(root, "worktree", "list").splitlines() if "base-" in line]


def test_the_base_is_checked_once_in_a_tree_that_is_gone_afterwards(bench: Bench) -> None:
    status = git(bench.site.repository.root, "status", "--porcelain")
    event = base(
        bench,
        "test $(cat change.txt) = before && test -e from-setup",
        "echo evil > change.txt; git commit -qam evil; exit 1",
        "test $(cat change.txt) = before",
        setup=("touch from-setup",),
    )

    assert event.error is None
    assert [(each.passed, each.flaky) for each in event.checks] == [(True, False), (False, False), (True, False)]
    assert left_of_the_base(bench) == []
    assert git(bench.site.repository.root, "status", "--porcelain") == status
    assert bench.untouched


def test_a_base_that_cannot_be_set_up_says_why(bench: Bench) -> None:
    event = base(bench, "true", setup=("exit 7",))

    assert event.checks == ()
    assert event.error is not None
    assert "worktrees.setup: 'exit 7' ended with 7" in event.error
    assert left_of_the_base(bench) == []


def test_a_stopped_base_leaves_nothing(bench: Bench) -> None:
    token = f"3600.{secrets.randbelow(10**9):09d}"
    found: list[BaselineFinished] = []
    thread = threading.Thread(target=lambda: found.append(base(bench, "true", f"sleep {token}")))
    thread.start()
    wait_until(lambda: bool(running_with(token)), "the check")
    bench.checker.stop_token.stop(Reason.INTERRUPTED)
    thread.join(30)

    assert [each.command for each in found[0].checks] == ["true"]
    assert (found[0].error, running_with(token), left_of_the_base(bench)) == (None, [], [])


@pytest.mark.parametrize(
    "damage",
    [
        "true",
        "rm -rf '{path}'",
        "rm '{admin}'/architect-run '{admin}'/HEAD",
    ],
)
def test_what_a_killed_launcher_left_of_the_base_is_found_and_goes(bench: Bench, damage: str) -> None:
    repository = bench.site.repository
    path = temporary_worktree_path(repository, "20260101-abc")
    git(repository.root, "worktree", "add", "--quiet", "--detach", path)
    admin = next(each for each in (repository.common_dir / "worktrees").iterdir() if "base" in each.name)
    (admin / "architect-run").write_text("20260101-abc\n")
    subprocess.run(["sh", "-c", damage.format(path=path, admin=admin)], check=True)

    assert find_temporary_worktree(open_repository(repository.root), "20260101-abc") == path
    remove_temporary_worktree(repository, "20260101-abc")

    assert left_of_the_base(bench) == []
    assert find_temporary_worktree(repository, "20260101-abc") is None


@pytest.mark.parametrize("damage", ["rm '{path}/.git'", "rm '{admin}/gitdir'"])
def test_what_does_not_name_its_registration_any_more_is_named_and_stays(bench: Bench, damage: str) -> None:
    repository = bench.site.repository
    path = temporary_worktree_path(repository, "20260101-abc")
    git(repository.root, "worktree", "add", "--quiet", "--detach", path)
    admin = next(each for each in (repository.common_dir / "worktrees").iterdir() if "base" in each.name)
    (admin / "architect-run").write_text("20260101-abc\n")
    subprocess.run(["sh", "-c", damage.format(path=path, admin=admin)], check=True)

    assert find_temporary_worktree(repository, "20260101-abc") == path
    with pytest.raises(EnvironmentProblem, match="is not the worktree"):
        remove_temporary_worktree(repository, "20260101-abc")

    assert (path / "keep.txt").exists()


def test_a_strangers_directory_in_its_place_stays(bench: Bench) -> None:
    repository = bench.site.repository
    path = temporary_worktree_path(repository, "20260101-abc")
    path.mkdir()
    (path / "mine").write_text("mine")

    assert find_temporary_worktree(repository, "20260101-abc") == path
    assert base(bench, "true").error is not None
    assert (path / "mine").read_text() == "mine"
