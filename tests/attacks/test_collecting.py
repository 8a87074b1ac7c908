"""`workers.collect` against agents that lay traps for it or hide their work; plain git falls for every one of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.repositories import git
from support.worksites import BRANCH, content, make_worksite

WORK = """
printf 'after\\n' > change.txt
printf 'new\\n' > new.txt
rm delete.txt
"""
EXPECTED: dict[str, tuple[str, bytes] | None] = {
    "keep.txt": ("100644", b"keep\n"),
    "change.txt": ("100644", b"after\n"),
    "new.txt": ("100644", b"new\n"),
    "delete.txt": None,
}
"""Path → (mode, content) of what has to be collected; `None`: deleted."""

HOOK = """
mkdir -p "$COMMON/hooks"
cp "$TRAP" "$COMMON/hooks/{0}"
"""

RUNS = {
    # Settings and files by which plain git is made to run the agent's program.
    "hook-pre-commit": HOOK.format("pre-commit"),
    "hook-prepare-commit-msg": HOOK.format("prepare-commit-msg"),
    "hook-commit-msg": HOOK.format("commit-msg"),
    "hook-post-commit": HOOK.format("post-commit"),
    "hook-post-index-change": HOOK.format("post-index-change"),
    "hook-reference-transaction": HOOK.format("reference-transaction"),
    "hooks-path": 'mkdir h; cp "$TRAP" h/pre-commit; git config core.hooksPath "$PWD/h"; echo /h >> .git-h',
    "fsmonitor": 'git config core.fsmonitor "$TRAP"',
    "fsmonitor-of-the-worktree": (
        'git config extensions.worktreeConfig true; git config --worktree core.fsmonitor "$TRAP"'
    ),
    "fsmonitor-by-include": 'git config -f "$COMMON/more" core.fsmonitor "$TRAP"; git config include.path more',
    "filter-clean": 'git config filter.x.clean "$TRAP"; echo "*.txt filter=x" > .gitattributes',
    "filter-process": 'git config filter.x.process "$TRAP"; echo "*.txt filter=x" > .gitattributes',
    "filter-by-info": 'git config filter.x.clean "$TRAP"; echo "*.txt filter=x" >> "$COMMON/info/attributes"',
    "filter-by-attributes-file": (
        'git config filter.x.clean "$TRAP"; echo "*.txt filter=x" > "$COMMON/a"; '
        'git config core.attributesFile "$COMMON/a"'
    ),
    "signing-program": 'git config commit.gpgSign true; git config gpg.program "$TRAP"',
    "external-diff": 'git config diff.external "$TRAP"',
    "diff-driver": 'git config diff.x.command "$TRAP"; echo "*.txt diff=x" > .gitattributes',
    "text-conversion": 'git config diff.x.textconv "$TRAP"; echo "*.txt diff=x" > .gitattributes',
    "lazy-fetch": (
        'git config core.repositoryFormatVersion 1; git config extensions.partialClone origin; '
        'git config remote.origin.url ssh://x/y; git config remote.origin.promisor true; '
        'git config core.sshCommand "touch $CANARY; false"; git checkout -q --detach; '
        'echo 1234567890123456789012345678901234567890 > "$ADMIN/HEAD"'
    ),
    "submodule-filter": (
        'git -c init.defaultBranch=m init -q sub; cd sub; echo a > a; git add a; git commit -qm a; cd ..; '
        'git -c advice.addEmbeddedRepo=false add sub; git commit -qm sub; '
        'cd sub; git config filter.x.clean "$TRAP"; echo "a filter=x" > .gitattributes; touch a; echo b > a'
    ),
}  # fmt: skip

LOSES = {
    # States in which plain git refuses, records something else, or records it elsewhere.
    "git-file-deleted": "rm .git",
    "git-file-is-a-repository": "rm .git; git init -q",
    "git-file-is-rubbish": "echo rubbish > .git",
    "admin-directory-deleted": 'rm -rf "$ADMIN"',
    "head-is-rubbish": 'echo rubbish > "$ADMIN/HEAD"',
    "branch-switched": "git switch -q -c mine",
    "branch-renamed": "git branch -m mine",
    "head-detached": "git checkout -q --detach",
    "branch-deleted": f"git checkout -q --detach; git branch -D {BRANCH}",
    "orphan": "git checkout -q --orphan mine",
    "index-lock-left": 'touch "$ADMIN/index.lock"',
    "head-lock-left": 'touch "$ADMIN/HEAD.lock"',
    "branch-lock-left": f'touch "$COMMON/refs/heads/{BRANCH}.lock"',
    "index-corrupt": 'echo rubbish > "$ADMIN/index"',
    "index-is-a-directory": 'rm "$ADMIN/index"; mkdir "$ADMIN/index"',
    "assumed-unchanged": "git update-index --assume-unchanged change.txt",
    "assumed-unchanged-deleted": "git update-index --assume-unchanged delete.txt",
    "skip-worktree": "git update-index --skip-worktree change.txt delete.txt",
    "hidden-by-info-exclude": "echo '*' >> \"$COMMON/info/exclude\"",
    "hidden-by-excludes-file": "echo '*' > \"$COMMON/e\"; git config core.excludesFile \"$COMMON/e\"",
    "encoding-that-fails": "echo '*.txt working-tree-encoding=UTF-32' > .gitattributes",
    "identity-forbidden": "git config user.useConfigOnly true; git config user.email ''; git config user.name ''",
    "repository-inside": (
        "git init -q in; cd in; echo in > file; git add file; git commit -qm in; mkdir more; echo m > more/m"
    ),
    "empty-repository-inside": "git init -q in; echo in > in/file; mkdir in/more; echo m > in/more/m",
    "repository-in-a-repository": (
        "git init -q in; echo in > in/file; git init -q in/more; echo m > in/more/m; git -C in/more add m; "
        "git -C in/more commit -qm m"
    ),
    "linked-worktree-inside": "git worktree add -q --detach in; echo in > in/file; mkdir in/more; echo m > in/more/m",
    "fifo-in-a-files-place": "rm dir/inner.txt; mkfifo dir/inner.txt",
    "socket-in-a-files-place": (
        "rm dir/inner.txt; cd dir; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('inner.txt')\""
    ),
    "rebase-unfinished": (
        "git switch -q -c other; printf 'other\\n' > change.txt; git commit -qam o; git switch -q " + BRANCH + "; "
        "printf 'mine\\n' > change.txt; git commit -qam m; git rebase -q other 2>/dev/null || true"
    ),
    "unmerged-in-the-index": (
        "git switch -q -c other; printf 'other\\n' > keep.txt; git commit -qam o; git switch -q " + BRANCH + "; "
        "printf 'mine\\n' > keep.txt; git commit -qam m; git stash -q 2>/dev/null || true; "
        "git checkout -q --detach; git merge -q other >/dev/null 2>&1 || true; printf 'keep\\n' > keep.txt"
    ),
}  # fmt: skip
INSIDE: dict[str, tuple[str, bytes] | None] = {"in/file": ("100644", b"in\n"), "in/more/m": ("100644", b"m\n")}
ADDITIONS: dict[str, dict[str, tuple[str, bytes] | None]] = {
    **dict.fromkeys(
        ("repository-inside", "empty-repository-inside", "repository-in-a-repository", "linked-worktree-inside"), INSIDE
    ),
    "fifo-in-a-files-place": {"dir/inner.txt": None},
    "socket-in-a-files-place": {"dir/inner.txt": None},
}
ATTACKS = RUNS | LOSES


def missing(found: dict[str, tuple[str, bytes]], name: str) -> list[str]:
    """What of the agent's work is not in `found`."""
    wanted = EXPECTED | ADDITIONS.get(name, {})
    return [path for path, value in wanted.items() if found.get(path) != value]


def run_as_agent(name: str) -> str:
    # The work comes last: what a script hides must be what it did before and after.
    return f"({ATTACKS[name]})\n{WORK}"


@pytest.mark.parametrize("name", ATTACKS)
def test_collection_runs_nothing_of_the_agents_and_takes_all_of_its_work(name: str, tmp_path: Path) -> None:
    site = make_worksite(tmp_path)
    site.act(run_as_agent(name))
    site.canary.unlink(missing_ok=True)
    collection = site.collect()
    assert not site.canary.exists()
    assert missing(content(site.repository.common_dir, collection.commit), name) == []
    holder = collection.kept or f"refs/heads/{BRANCH}"
    assert site.repository.store.resolve(holder) == collection.commit
    assert collection.kept is None or name == "branch-lock-left"


@pytest.mark.parametrize("name", ATTACKS)
def test_plain_git_runs_the_trap_or_loses_work(name: str, tmp_path: Path) -> None:
    site = make_worksite(tmp_path)
    site.act(run_as_agent(name))
    site.canary.unlink(missing_ok=True)
    environ = os.environ | {"GIT_PAGER": "cat"}
    for words in (("add", "-A"), ("commit", "-qm", "naive"), ("diff", site.spec.base_commit, "HEAD")):
        done = subprocess.run(
            ["git", *words], cwd=site.worktree, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode != 0:
            break
    ran = site.canary.exists()
    tip = git(site.repository.common_dir, "rev-parse", "--verify", "-q", f"refs/heads/{BRANCH}", check=False)
    found = content(site.repository.common_dir, tip) if tip else {}
    assert ran or missing(found, name), "nothing of this attack shows with plain git: it proves nothing"
    assert ran == (name in RUNS)
