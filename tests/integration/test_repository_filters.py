"""Paths with a filter: what did not change keeps its blob, and no content gets into git without its filter.

`rot` encrypts the same way each time, `salt` anew each time (as age or gpg do); `SECRET` is what must be nowhere.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.console import Architect, running_with
from support.landing_runs import begin_run
from support.repositories import git, make_repository
from support.worksites import Worksite, make_worksite

from architect_parallel.checks.checker import Checker
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.journal import Journal
from architect_parallel.landing import cleanup, merge, undo
from architect_parallel.repository import filter_runner, filters
from architect_parallel.snapshots import filtered_paths, worktree_index
from architect_parallel.snapshots.collect import collect
from architect_parallel.snapshots.filtered_paths import FilteredPaths
from architect_parallel.snapshots.keep_attempt import keep_attempt
from architect_parallel.snapshots.keep_refs import snapshot_dirty
from architect_parallel.snapshots.private_git import PrivateGit, Snapshot
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.git import open_repository
from architect_parallel.tripwire.checkout import MainCheckout

SECRET = "SUPERSECRET"
ROT = "tr A-Za-z N-ZA-Mn-za-m"
SALT = f"sh -c 'od -An -N8 -tx8 /dev/urandom; {ROT}'"
UNSALT = f"sh -c 'tail -n +2 | {ROT}'"


def configure(
    clean: str = ROT, smudge: str = ROT, *, name: str = "crypt", required: bool = True, more: str = ""
) -> str:
    """A script that commits `prod.env` and `keep.env` through a filter."""
    return f"""
    git config filter.{name}.clean "{clean}"; git config filter.{name}.smudge "{smudge}"
    git config filter.{name}.required {str(required).lower()}
    echo '*.env filter={name}' > .gitattributes
    echo 'API_KEY=old-{SECRET}' > prod.env; echo 'KEEP={SECRET}' > keep.env; {more}
    git add .; git commit -qm secrets
    """


def site_of(tmp_path: Path, clean: str = ROT, smudge: str = ROT, *, more: str = "") -> Worksite:
    return make_worksite(tmp_path, before=configure(clean, smudge, more=more))


def plain_objects(site: Worksite, text: str = SECRET) -> list[str]:
    """Objects of the repository, reachable or not, that hold the text."""
    listed = git(
        site.repository.common_dir, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)"
    )
    blobs = [line.split()[1] for line in listed.splitlines() if line.startswith("blob")]
    return [oid for oid in blobs if text in git(site.repository.common_dir, "cat-file", "blob", oid)]


def check(site: Worksite, tmp_path: Path, *commands: str) -> tuple[str, list[str]]:
    """Collects, runs the checks as the launcher does, and returns the collected commit and the warnings."""
    warnings: list[str] = []
    collection = site.collect()
    checker = Checker(
        repository=site.repository, run_dir=tmp_path / "run", environ={"PATH": os.environ["PATH"]}, sampler=Sampler(),
        stop_token=StopToken(),
    )  # fmt: skip
    spec = replace(site.spec, checks=commands, check_timeout_s=60.0)
    checker.check_worker(
        spec, site.private, collection.commit, secret_values=(), emit=lambda event: None, warn=warnings.append
    )  # fmt: skip
    return collection.commit, warnings


def blob(site: Worksite, commit: str, path: str) -> str:
    return git(site.repository.common_dir, "rev-parse", f"{commit}:{path}", check=False)


def changed(found: Snapshot) -> list[str]:
    return [change.path for change in found.diff.files]


def naive(site: Worksite) -> None:
    """How the tool collected before: `add` in a git directory that knows no filter."""
    site.private.git.run("add", "-A")


@pytest.mark.parametrize(("clean", "smudge"), [(ROT, ROT), (SALT, UNSALT)], ids=["rot", "salt"])
@pytest.mark.parametrize(
    "act", ["true", "touch prod.env", "cp prod.env x; rm prod.env; mv x prod.env", "git checkout -q ."]
)
def test_a_file_that_did_not_change_keeps_its_blob(tmp_path: Path, clean: str, smudge: str, act: str) -> None:
    site = site_of(tmp_path, clean, smudge)
    for _ in range(3):  # files as young as the index included: the checkout was a moment ago
        site.act(act)
        found = site.private.write_tree()
        assert (changed(found), found.warnings, found.left_out) == ([], (), ())
    site.act("echo x > note.txt")
    assert changed(site.private.write_tree()) == ["note.txt"]
    assert plain_objects(site) == []
    # The control.
    site.act("touch prod.env")
    naive(site)
    assert plain_objects(site) != []


def test_no_filter_is_run_for_files_that_did_not_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = site_of(tmp_path)
    site.act("touch prod.env; echo x > note.txt; git add .; git commit -qm note")
    monkeypatch.setattr(filter_runner, "_run", None)
    assert changed(site.private.write_tree()) == ["note.txt"]


def test_without_a_filter_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_worksite(tmp_path)
    private = PrivateGit.create(site.repository, tmp_path / "p", site.worktree, filters=filters.configured(()))
    for name in ("select", "decide", "frozen"):
        monkeypatch.setattr(FilteredPaths, name, None)
    site.act("echo x > note.txt; echo '*.txt filter=of-the-agents' > .gitattributes")
    assert changed(private.write_tree()) == [".gitattributes", "note.txt"]


def test_a_filter_no_file_is_marked_with_costs_no_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_worksite(tmp_path, before=f'git config filter.lfs.clean "{ROT}"')
    monkeypatch.setattr(filtered_paths, "drivers_of", None)
    site.act("echo x > note.txt")
    assert changed(site.private.write_tree()) == ["note.txt"]


@pytest.mark.parametrize(("clean", "smudge"), [(ROT, ROT), (SALT, UNSALT)], ids=["rot", "salt"])
def test_what_changed_is_stored_through_the_filter(tmp_path: Path, clean: str, smudge: str) -> None:
    site = site_of(tmp_path, clean, smudge)
    site.act(
        f"echo 'new-{SECRET}' > prod.env; mkdir 'a b'; echo '{SECRET}' > 'a b/ü.env'; chmod +x keep.env; "
        f"echo 'x.env' >> .gitignore; echo '{SECRET}' > x.env; git add -f x.env; git mv keep.env moved.env"
    )
    (site.worktree / 'li\ne"f.env').write_text(SECRET)
    found = site.collect()
    assert found.warnings == ()
    wanted = {"prod.env", "a b/ü.env", ".gitignore", "x.env", "moved.env", 'li\ne"f.env'}
    assert {change.path for change in found.diff.files} - {"keep.env"} == wanted
    assert plain_objects(site) == []
    git(site.repository.root, "checkout", "-q", "-f", "--detach", found.commit)
    for path in ("prod.env", "a b/ü.env", "x.env", "moved.env"):
        assert (site.repository.root / path).read_bytes() == (site.worktree / path).read_bytes()
    assert git(site.repository.root, "ls-tree", "HEAD", "moved.env").startswith("100755")
    if clean == ROT:  # git runs the filter again on files of the index's own second, and this one encrypts anew
        assert git(site.worktree, "status", "--porcelain") == ""
    again = site.private.write_tree()
    assert again.tree == git(site.repository.root, "rev-parse", "HEAD^{tree}"), (
        "and it is found unchanged the next time"
    )


@pytest.mark.parametrize(("clean", "smudge"), [(ROT, ROT), (SALT, UNSALT)], ids=["rot", "salt"])
@pytest.mark.parametrize("wait", [True, False], ids=["aged", "young"])
def test_what_the_agent_committed_stays_as_it_committed_it(tmp_path: Path, clean: str, smudge: str, wait: bool) -> None:
    site = site_of(tmp_path, clean, smudge)
    pause = "sleep 0.02" if wait else "true"
    site.act(
        f"echo 'new-{SECRET}' > prod.env; {pause}; git add .; git commit -qm mine; echo {SECRET} > new.env; {pause}; "
        f"git add .; git commit -qm more; {pause}; git add --renormalize .; git commit --allow-empty -qm again"
    )
    tip = site.tip
    found = site.collect()
    assert (found.commit, found.warnings) == (tip, ()), "no commit on top of its own"
    assert plain_objects(site) == []


def test_uncommitted_work_on_top_of_a_commit_is_collected(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    site.act(f"echo 'one-{SECRET}' > prod.env; git commit -qam mine; echo 'two-{SECRET}' > prod.env; git add .")
    found = site.collect()
    rotten = subprocess.run(ROT.split(), input=f"two-{SECRET}\n", capture_output=True, text=True, check=True).stdout
    assert git(site.repository.root, "show", f"{found.commit}:prod.env") == rotten.strip()


def test_a_plain_blob_of_the_agents_index_is_not_taken(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    site.act(
        f"echo 'new-{SECRET}' > prod.env; git -c filter.crypt.clean=cat add prod.env; sleep 0.02; git status >/dev/null"
    )
    assert plain_objects(site) != [], "the control: it is in the agent's index"
    found = site.collect()
    assert SECRET not in git(site.repository.root, "show", f"{found.commit}:prod.env")
    assert found.warnings == ()


def test_a_plain_blob_in_the_agents_own_commit_is_named(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    site.act(f"echo 'new-{SECRET}' > prod.env; sleep 0.02; git -c filter.crypt.clean=cat commit -qam plain")
    found = site.collect()
    assert found.commit == git(site.worktree, "rev-parse", "HEAD")
    assert len(found.warnings) == 1
    assert "the agent committed in plain form, without its filter: " in found.warnings[0]
    assert "'prod.env'" in found.warnings[0]


BROKEN = {
    "fails": ("false", "failed"),
    "is not there": ("no-such-program-anywhere", "failed"),
    "relative": ("./clean.sh", "failed"),
    "relative by an interpreter": ("sh clean.sh", "failed"),
    "is in the worktree": ("$PWD/.architect-parallel-1/clean.sh", "is a program inside the worktree"),
    "dies halfway": ("sh -c 'head -c 3; kill -9 $$'", "failed"),
}


@pytest.mark.parametrize(("clean", "why"), BROKEN.values(), ids=list(BROKEN))
def test_what_no_filter_can_store_is_left_out_and_named(tmp_path: Path, clean: str, why: str) -> None:
    site = make_worksite(tmp_path, before=configure() + f'\ngit config filter.crypt.clean "{clean}"')
    base = site.spec.base_commit
    site.act(f"printf '#!/bin/sh\\ntouch \"$CANARY\"; cat' > clean.sh; chmod +x clean.sh; echo new-{SECRET} > prod.env")
    site.act(f"echo {SECRET} > other.env")
    found = site.private.write_tree()
    assert changed(found) == ["clean.sh"]
    assert found.left_out == ("other.env", "prod.env")
    assert len(found.warnings) == 1
    assert "'other.env', 'prod.env'" in found.warnings[0]
    assert why in found.warnings[0]
    collection = site.collect()
    assert blob(site, collection.commit, "prod.env") == blob(site, base, "prod.env")
    assert blob(site, collection.commit, "keep.env") == blob(site, base, "keep.env")
    assert plain_objects(site) == []
    assert not site.canary.exists()
    assert (site.worktree / "prod.env").read_text() == f"new-{SECRET}\n"
    naive(site)  # the control
    assert plain_objects(site) != []


def test_a_filter_that_hangs_is_stopped_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = f"86399.{os.getpid()}"
    site = make_worksite(
        tmp_path, before=configure() + f"\ngit config filter.crypt.clean 'sleep {token} & sleep {token}'"
    )
    monkeypatch.setattr(filter_runner, "TIME_LIMIT_S", 0.5)
    site.act(f"echo new-{SECRET} > prod.env; echo {SECRET} > other.env; echo x > note.txt")
    started = time.monotonic()
    found = site.private.write_tree()
    assert time.monotonic() - started < 5, "one time limit, not one for each file"
    assert (changed(found), found.left_out) == (["note.txt"], ("other.env", "prod.env"))
    assert "took longer than 0.5 s" in found.warnings[0]
    assert running_with(token) == []
    assert plain_objects(site) == []


def test_a_file_that_fails_does_not_take_others_with_it(tmp_path: Path) -> None:
    script = tmp_path / "clean"
    script.write_text(
        f'#!/bin/sh\nt=$(mktemp); cat > "$t"; if grep -q BAD "$t"; then exit 1; fi; {ROT} < "$t"; rm "$t"\n'
    )
    script.chmod(0o755)
    site = site_of(tmp_path, str(script))
    site.act("for n in 1 2 3 4 5 6; do echo $n-word > $n.env; done; echo BAD > 2.env; echo BAD > 5.env")
    found = site.private.write_tree()
    assert changed(found) == ["1.env", "3.env", "4.env", "6.env"]
    assert found.left_out == ("2.env", "5.env")


def test_a_program_that_was_changed_since_is_not_run(tmp_path: Path) -> None:
    script = tmp_path / "clean"
    script.write_text(f"#!/bin/sh\n{ROT}\n")
    script.chmod(0o755)
    site = site_of(tmp_path, str(script))
    script.write_text(f"#!/bin/sh\ntouch {site.canary}; cat\n")
    site.act(f"echo {SECRET} > prod.env")
    found = site.private.write_tree()
    assert found.left_out == ("prod.env",)
    assert "has changed since the run began" in found.warnings[0]
    assert not site.canary.exists()


def test_a_filter_that_the_agent_configured_is_not_run(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    site.act(
        'git config filter.crypt.clean "$TRAP"; git config filter.own.clean "$TRAP"; '
        f"echo '*.txt filter=own' >> .gitattributes; echo {SECRET}2 > prod.env; echo x > note.txt"
    )
    site.canary.unlink(missing_ok=True)
    found = site.private.write_tree()
    assert set(changed(found)) == {".gitattributes", "note.txt", "prod.env"}
    assert plain_objects(site) == []
    assert not site.canary.exists()
    site.act("touch note.txt; git add note.txt")  # the control
    assert site.canary.exists()


def test_workers_that_start_later_use_the_filters_of_before_the_first(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    site.act('git config filter.crypt.clean "$TRAP"')
    later = PrivateGit.create(
        site.repository, tmp_path / "later", site.worktree, filters=filters.record(site.repository, tmp_path / "run")
    )
    site.act(f"echo {SECRET}2 > prod.env")
    site.canary.unlink(missing_ok=True)
    assert later.write_tree().left_out == ()
    assert not site.canary.exists()
    assert plain_objects(site) == []
    # Made without a record, it knows that the file has a filter and does not run one.
    late = PrivateGit.create(site.repository, tmp_path / "late", site.worktree)
    assert late.write_tree().left_out == ("prod.env",)
    assert not site.canary.exists()


@pytest.mark.parametrize("rules", ["", "*.env -filter", "*.env filter=other"])
def test_a_filter_taken_out_of_the_attributes_publishes_nothing(tmp_path: Path, rules: str) -> None:
    site = make_worksite(tmp_path, before=configure() + "\ngit config filter.other.clean cat")
    base = site.spec.base_commit
    site.act(f"echo '{rules}' > .gitattributes; echo {SECRET}2 > prod.env; echo {SECRET}3 > new.env; touch keep.env")
    found = site.collect()
    assert [change.path for change in found.diff.files] == [".gitattributes"]
    assert site.private.left_out == ("new.env", "prod.env")
    for path in ("prod.env", "keep.env"):
        assert blob(site, found.commit, path) == blob(site, base, path)
    assert plain_objects(site) == []


def test_a_filter_the_agent_marks_files_with_is_used(tmp_path: Path) -> None:
    site = make_worksite(tmp_path, before=f'git config filter.crypt.clean "{ROT}"')
    site.act(f"mkdir conf; echo '*.env filter=crypt' > conf/.gitattributes; echo {SECRET} > conf/prod.env")
    found = site.private.write_tree()
    assert (changed(found), found.warnings) == (["conf/.gitattributes", "conf/prod.env"], ())
    assert plain_objects(site) == []


def test_files_of_a_repository_inside_have_the_outer_filter(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    site.act(f"git init -q in; cd in; echo {SECRET} > in.env; echo x > a; git add a; git commit -qm in")
    found = site.private.write_tree()
    assert changed(found) == ["in/a", "in/in.env"]
    assert plain_objects(site) == []


def test_an_unreadable_file_is_not_stored_plain(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    site.act(f"echo {SECRET}2 > prod.env; mkdir d; echo {SECRET} > d/x.env; chmod 0 prod.env d/x.env d; mkfifo pipe")
    found = site.private.write_tree()
    assert {"prod.env", "d/x.env"} <= set(changed(found)) | set(found.left_out)
    assert plain_objects(site) == []


def test_a_large_fresh_checkout_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With so many young files git decides which to read, by whole seconds."""
    monkeypatch.setattr(worktree_index, "MAX_REREAD", 0)
    site = site_of(tmp_path, SALT, UNSALT, more="for n in 1 2 3 4 5 6; do echo $n > $n.env; done")
    monkeypatch.setattr(filter_runner, "_run", None)
    assert site.private.write_tree().diff.files == ()


PROCESS = """
import sys
def read():
    size = int(sys.stdin.buffer.read(4) or b"0", 16)
    return sys.stdin.buffer.read(size - 4) if size else None
def write(data):
    sys.stdout.buffer.write(b"%04x" % (len(data) + 4) + data if data is not None else b"0000")
    sys.stdout.buffer.flush()
def until_flush():
    found = []
    while (line := read()) is not None: found.append(line)
    return found
until_flush(); write(b"git-filter-server\\n"); write(b"version=2\\n"); write(None)
until_flush(); write(b"capability=clean\\n"); write(b"capability=smudge\\n"); write(None)
while True:
    head = sys.stdin.buffer.read(4)
    if not head: break
    first = sys.stdin.buffer.read(int(head, 16) - 4); until_flush()
    data = b"".join(until_flush())
    if b"BAD" in data: write(b"status=error\\n"); write(None); continue
    write(b"status=success\\n"); write(None)
    if data: write(data.swapcase())
    write(None); write(None)
"""


def test_a_long_running_filter_process_is_used(tmp_path: Path) -> None:
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    before = f'git config filter.crypt.process "{sys.executable} {script}"\n' + configure("false", "false")
    site = make_worksite(tmp_path, before=before)
    assert git(site.repository.root, "show", "HEAD:keep.env") == f"keep={SECRET.lower()}", "the control"
    site.act(f"for n in 1 2 3; do echo {SECRET}$n > $n.env; done; echo BAD > bad.env; echo {SECRET} > prod.env")
    found = site.private.write_tree()
    assert changed(found) == ["1.env", "2.env", "3.env", "prod.env"]
    assert found.left_out == ("bad.env",)
    assert git(site.repository.root, "show", f"{found.tree}:2.env") == f"{SECRET.lower()}2"
    assert plain_objects(site) == []
    assert running_with(str(script)) == []


@pytest.mark.parametrize(("clean", "smudge"), [(ROT, ROT), (SALT, UNSALT)], ids=["rot", "salt"])
def test_what_a_check_does_to_such_files_is_taken_back(tmp_path: Path, clean: str, smudge: str) -> None:
    site = site_of(tmp_path, clean, smudge)
    site.act(f"echo new-{SECRET} > prod.env; mkdir d; echo {SECRET} > d/x.env")
    commit, warnings = check(
        site,
        tmp_path,
        f"echo evil > prod.env; echo evil-{SECRET} > evil.env; rm -r d; touch keep.env; echo x > change.txt",
        "rm prod.env; mkdir prod.env; touch prod.env/x; chmod +x keep.env; echo '*' > .gitattributes; echo y > d/x.env",
        "rm -r d; echo file > d",
    )
    assert (site.worktree / "prod.env").read_text() == f"new-{SECRET}\n"
    assert (site.worktree / "d/x.env").read_text() == f"{SECRET}\n"
    assert (site.worktree / "keep.env").read_text() == f"KEEP={SECRET}\n"
    assert not (site.worktree / "keep.env").stat().st_mode & 0o100
    assert not (site.worktree / "evil.env").exists()
    if clean == ROT:  # git itself takes any file that was written anew for changed, with the other
        assert git(site.worktree, "status", "--porcelain") == ""
    assert site.private.write_tree().diff.head == git(site.repository.root, "rev-parse", f"{commit}^{{tree}}")
    assert site.tip == commit
    assert [warning for warning in warnings if "could not" in warning] == []
    assert plain_objects(site) == []
    # The control: what put the files back before writes them as they are stored.
    site.act("echo evil > prod.env")
    naive(site)
    site.private.git.run("read-tree", "--reset", "-u", commit)
    assert SECRET not in (site.worktree / "prod.env").read_text()


def test_a_check_does_not_cost_what_could_not_be_stored(tmp_path: Path) -> None:
    site = make_worksite(tmp_path, before=configure() + "\ngit config filter.crypt.clean false")
    site.act(f"echo new-{SECRET} > prod.env; echo {SECRET} > other.env")
    check(site, tmp_path, "echo evil > prod.env; rm other.env; echo evil > evil.env; echo x > change.txt", "true")
    assert site.private.left_out == ("other.env", "prod.env")
    assert (site.worktree / "prod.env").read_text() == f"new-{SECRET}\n"
    assert (site.worktree / "other.env").read_text() == f"{SECRET}\n"
    assert not (site.worktree / "evil.env").exists()
    assert (site.worktree / "change.txt").read_text() == "before\n"
    assert plain_objects(site) == []
    assert list((tmp_path / "run").rglob("*-files")) == [], "no copy is left"


@pytest.fixture
def crypt(tmp_path: Path) -> Path:
    root = make_repository(tmp_path / "repo")
    subprocess.run(["sh", "-ec", configure()], cwd=root, check=True)
    return root


@pytest.fixture
def journal(crypt: Path) -> Iterator[Journal]:
    with Journal.open(open_repository(crypt).state_dir) as journal:
        yield journal


def test_cleanup_keeps_what_could_not_be_stored_and_undo_brings_it_back(crypt: Path, journal: Journal) -> None:
    git(crypt, "config", "filter.crypt.clean", "false")
    repository = open_repository(crypt)
    run = begin_run(repository, journal, "run")
    place = run.start(1)
    known = filters.record(repository, journal.run_dir("run"))
    PrivateGit.create(repository, journal.run_dir("run") / "git" / "worker-1-1", place, filters=known).write_tree()
    (place / "prod.env").write_text(f"new-{SECRET}\n")
    (place / "sub").mkdir()
    (place / "sub" / "x.env").write_text(f"{SECRET}\n")
    (place / "sub" / "x.env").chmod(0o755)
    run.finish(1)
    run.end()
    plan = cleanup.plan_cleanup(repository, journal)
    assert [stays.what for stays in plan.stays] == ["worktree"]
    assert "uncommitted changes" in plan.stays[0].reason
    done = cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal, force=True))
    assert not place.exists()
    (removal,) = done.removed
    assert removal.aside is not None
    aside = Path(removal.aside)
    assert aside.is_relative_to(journal.run_dir("run"))
    assert (aside / "prod.env").read_text() == f"new-{SECRET}\n"
    modes = [stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (aside, *aside.rglob("*"))]
    assert set(modes) == {0}
    listed = git(crypt, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)").splitlines()
    assert not [
        line for line in listed if line.startswith("blob") and SECRET in git(crypt, "cat-file", "blob", line[5:])
    ]
    undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert (place / "prod.env").read_text() == f"new-{SECRET}\n"
    assert (place / "sub" / "x.env").read_text() == f"{SECRET}\n"
    assert (place / "keep.env").read_text() == f"KEEP={SECRET}\n"


def test_undo_of_a_cleanup_brings_files_back_as_they_were_on_disk(crypt: Path, journal: Journal) -> None:
    repository = open_repository(crypt)
    run = begin_run(repository, journal, "run")
    place = run.start(1)
    known = filters.record(repository, journal.run_dir("run"))
    PrivateGit.create(repository, journal.run_dir("run") / "git" / "worker-1-1", place, filters=known)
    (place / "prod.env").write_text(f"new-{SECRET}\n")
    run.finish(1)
    run.end()
    cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal, force=True))
    assert not place.exists()
    undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert (place / "prod.env").read_text() == f"new-{SECRET}\n"
    assert git(place, "diff", "--name-only") == "prod.env"


def test_another_attempt_does_not_cost_what_could_not_be_stored(tmp_path: Path) -> None:
    site = make_worksite(tmp_path, before=configure() + "\ngit config filter.crypt.clean false")
    site.act(f"echo new-{SECRET} > prod.env; echo x > note.txt")
    private = tmp_path / "run" / "git" / "worker-1-1"
    private.parent.mkdir()
    shutil.move(site.private.directory, private)
    assert keep_attempt(site.repository, replace(site.spec, attempt=2), private) is not None
    (copy,) = (tmp_path / "run" / "aside").rglob("prod.env")
    assert copy.read_text() == f"new-{SECRET}\n"
    assert plain_objects(site) == []


@pytest.mark.parametrize(("clean", "smudge"), [(ROT, ROT), (SALT, UNSALT)], ids=["rot", "salt"])
def test_a_dirty_checkout_is_taken_through_its_filter(tmp_path: Path, clean: str, smudge: str) -> None:
    root = make_repository(tmp_path / "repo")
    subprocess.run(["sh", "-ec", configure(clean, smudge)], cwd=root, check=True)
    repository, head = open_repository(root), git(root, "rev-parse", "HEAD")
    for _ in range(3):
        git(root, "reset", "-q", "--hard")  # files as young as the index
        assert snapshot_dirty(repository) == head
    (root / "prod.env").write_text(f"new-{SECRET}\n")
    (root / "README").write_text("HELLO\n")
    commit = snapshot_dirty(repository)
    assert git(root, "diff", "--name-only", head, commit).split() == ["README", "prod.env"]
    assert SECRET not in git(root, "show", f"{commit}:prod.env")


@pytest.mark.parametrize("required", [True, False])
def test_a_dirty_checkout_whose_filter_fails_is_refused(tmp_path: Path, required: bool) -> None:
    root = make_repository(tmp_path / "repo")
    subprocess.run(["sh", "-ec", configure(required=required)], cwd=root, check=True)
    git(root, "config", "filter.crypt.clean", "false")
    for text in (f"new-{SECRET}\n", f"API_KEY=new-{SECRET}\n"):  # of another and of the same length
        (root / "prod.env").write_text(text)
        with pytest.raises(EnvironmentProblem, match="cannot be read"):
            snapshot_dirty(open_repository(root))
    if not required:  # the control: git itself stores it as it is
        git(root, "add", "prod.env")
        assert SECRET in git(root, "show", ":prod.env")


def test_the_patch_of_the_main_checkout_holds_no_secret(crypt: Path, tmp_path: Path) -> None:
    main = MainCheckout(open_repository(crypt), tmp_path / "watch")
    (crypt / "prod.env").write_text(f"other-{SECRET}\n")
    (crypt / "README").write_text("other\n")
    changes = main.changes()
    patch = main.patch(changes)
    assert {change.path for change in changes} == {"README", "prod.env"}
    assert patch is not None
    assert b"+other\n" in patch
    assert SECRET.encode() not in patch
    assert b"prod.env changed" in patch


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
@pytest.mark.parametrize("storage", [None, "elsewhere"])
def test_git_lfs_stores_its_objects_in_the_repository(tmp_path: Path, storage: str | None) -> None:
    before = (
        "git lfs install --local; git lfs track '*.bin'; for n in 1 2 3; do head -c 3000 /dev/urandom > $n.bin; done; "
        + (f"git config lfs.storage {storage}; " if storage else "")
        + "git add .; git commit -qm big"
    )
    site = make_worksite(tmp_path, before=before)
    assert site.private.write_tree().diff.files == ()
    site.act("head -c 5000 /dev/urandom > 1.bin; touch 2.bin; echo new > new.bin")
    found = site.private.write_tree()
    assert (changed(found), found.warnings) == (["1.bin", "new.bin"], ())
    pointer = git(site.repository.root, "show", f"{found.tree}:1.bin").splitlines()
    assert pointer[0].startswith("version https://git-lfs")
    oid = pointer[1].rpartition(":")[2]
    objects = site.repository.common_dir / (storage or "lfs") / "objects"
    assert (objects / oid[:2] / oid[2:4] / oid).read_bytes() == (site.worktree / "1.bin").read_bytes()
    commit = site.collect().commit
    git(site.repository.root, "merge", "-q", commit)
    assert (site.repository.root / "1.bin").read_bytes() == (site.worktree / "1.bin").read_bytes()
    site.act("touch 2.bin")  # the control
    naive(site)
    assert int(site.private.git.text("cat-file", "-s", ":2.bin")) == 3000


@pytest.mark.skipif(shutil.which("git-crypt") is None, reason="git-crypt is not installed")
def test_git_crypt_works_in_every_worktree(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "repo")
    script = f"""
    git-crypt init; echo '*.env filter=git-crypt diff=git-crypt' > .gitattributes
    echo {SECRET} > prod.env; echo {SECRET} > keep.env; git add .; git commit -qm secrets
    """
    subprocess.run(["sh", "-ec", script], cwd=root, check=True, capture_output=True)
    program = Architect(root)
    task, evil = f"echo new-{SECRET} > prod.env; echo x > n.txt", "echo evil > prod.env; rm keep.env"
    answer = program("parallel", task, "--backend", "shell", "--workers", "2", "--check", evil, "--json")
    results = answer.json["results"]
    assert [result["files_modified"] for result in results] == [["n.txt", "prod.env"]] * 2
    for result in results:
        stored = subprocess.run(
            ["git", "show", f"{result['branch']}:prod.env"], cwd=root, capture_output=True, check=True
        )
        assert stored.stdout.startswith(b"\0GITCRYPT")
        place = Path(result["worktree_path"])
        assert (place / "prod.env").read_text() == f"new-{SECRET}\n"
        assert (place / "keep.env").read_text() == f"{SECRET}\n"
        assert git(place, "status", "--porcelain") == ""
    assert program("merge", "latest", "1", "--squash").code == 0
    assert (root / "prod.env").read_text() == f"new-{SECRET}\n"
    assert git(root, "status", "--porcelain") == ""
    assert program("parallel-cleanup", "--force").code == 0
    assert program("undo").code == 0
    place = Path(results[1]["worktree_path"])
    assert (place / "prod.env").read_text() == f"new-{SECRET}\n"
    # The control: git's own worktree has no key.
    naive = subprocess.run(["git", "worktree", "add", tmp_path / "naive"], cwd=root, capture_output=True, check=False)
    assert naive.returncode != 0 or git_crypt_shares_keys()


def git_crypt_shares_keys() -> bool:
    """From 0.8 on it looks for its key in the common directory."""
    version = subprocess.run(["git-crypt", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    return tuple(map(int, version.split(".")[:2])) >= (0, 8)


@pytest.mark.parametrize("method", list(merge.Method))
def test_a_landed_result_is_on_disk_as_its_filter_writes_it(
    crypt: Path, journal: Journal, method: merge.Method
) -> None:
    repository = open_repository(crypt)
    run = begin_run(repository, journal, "run")
    place = run.start(1)
    known = filters.record(repository, journal.run_dir("run"))
    private = PrivateGit.create(repository, journal.run_dir("run") / "git" / "worker-1-1", place, filters=known)
    (place / "prod.env").write_text(f"new-{SECRET}\n")
    (place / "new.env").write_text(f"{SECRET}\n")
    collect(repository, private, run.specs[0])
    run.finish(1)
    run.end()
    (crypt / "README").write_text("main went on\n")
    git(crypt, "commit", "-qam", "on")
    merge.execute(repository, journal, merge.plan_merge(repository, journal, "run", 1, method=method))
    assert (crypt / "prod.env").read_text() == f"new-{SECRET}\n"
    assert (crypt / "new.env").read_text() == f"{SECRET}\n"
    assert SECRET not in git(crypt, "show", "HEAD:prod.env")
    assert git(crypt, "status", "--porcelain") == ""
    undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert (crypt / "prod.env").read_text() == f"API_KEY=old-{SECRET}\n"
    assert not (crypt / "new.env").exists()
    assert git(crypt, "status", "--porcelain") == ""


def test_what_the_agent_staged_in_plain_form_is_kept_nowhere(crypt: Path, journal: Journal) -> None:
    repository = open_repository(crypt)
    run = begin_run(repository, journal, "run")
    place = run.start(1)
    known = filters.record(repository, journal.run_dir("run"))
    PrivateGit.create(repository, journal.run_dir("run") / "git" / "worker-1-1", place, filters=known)
    (place / "prod.env").write_text(f"new-{SECRET}\n")
    git(place, "-c", "filter.crypt.clean=cat", "add", "prod.env")
    run.finish(1)
    run.end()
    done = cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal, force=True))
    assert not place.exists()
    held = [line.split()[0] for line in git(crypt, "rev-list", "--objects", "--all").splitlines()]
    texts = [git(crypt, "cat-file", "-p", oid) for oid in held if git(crypt, "cat-file", "-t", oid) == "blob"]
    assert not [text for text in texts if SECRET in text]
    assert done.removed[0].index_tree is None
    assert not (journal.run_dir("run") / "filters").exists(), "nor is what was recorded of the filters"
