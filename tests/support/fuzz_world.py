"""A repository in an odd state, agents and users that act in it, and the law that nothing is lost there.

A `World` is one directory with a main checkout at `root`. `LAW` in words: after every command each commit, each tracked
blob and each file that existed before is still on a branch, under a keep ref or on disk. Nothing that the encrypting
filter hides is plain in any object. The main checkout has the status it had. No command ends with a traceback.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SCRIPT = Path(sys.executable).with_name("architect")
SECRET = b"SECRET"
"""Stands only in files `*.sec`, which the filter `hide` stores with letters turned round."""
HIDE = "tr A-Za-z N-ZA-Mn-za-m"
"""The filter is its own inverse."""

STATES = (
    "hide", "pointers", "submodule", "sparse", "shallow", "reftable", "sha256", "linked", "dirty", "hooks", "autocrlf",
    "ignore", "rebase", "lock", "packed", "detached", "worktree-config", "tags", "notes", "relative-hooks", "nested",
    "odd-names", "links", "bisect", "alternates", "no-reflogs", "user-branch",
)  # fmt: skip
"""Of the repository before the first run; what does not go together is left out."""

_C = 'c() { git add -A; git commit -qm "$1"; git rev-parse HEAD >> "$LEDGER"; }; '

ACTS = {
    "nothing": "true",
    "writes": "echo work > work.txt",
    "edits": "echo edit >> a.txt",
    "commits": "echo commit > commit.txt; c commit",
    "commits-and-writes": "echo commit > commit.txt; c commit; echo more > more.txt",
    "amends": "echo 1 > amend.txt; c first; echo 2 > amend.txt; git commit -qam x --amend; git rev-parse HEAD >> $LEDGER",
    "resets": "echo 1 > reset.txt; c gone; git reset -q --hard HEAD~1",
    "resets-back": "git reset -q --hard HEAD~1",
    "stashes": "echo s >> a.txt; git stash -q; git rev-parse stash@{0} >> $LEDGER",
    "switches": "git switch -qc feature; echo f > f.txt; c feature",
    "renames-branch": "git branch -m renamed; echo f > f.txt; c renamed",
    "deletes-branch": 'b=$(git branch --show-current); git checkout -q --detach; echo d > d.txt; c d; git branch -qD "$b"',
    "remakes-branch": 'b=$(git branch --show-current); echo d > d.txt; c d; git switch -qC other HEAD~1; git branch -qf "$b"',
    "detaches": "git checkout -q --detach; echo d > detached.txt; c detached",
    "orphan": "git checkout -q --orphan empty; echo o > orphan.txt; c orphan",
    "merges": "git switch -qc side; echo s > side.txt; c side; git switch -q -; echo m > m.txt; c m; git merge -q side -m m",
    "conflicts": (
        "git switch -qc side; echo s > a.txt; c side; git switch -q -; echo m > a.txt; c m; git merge -q side || true"
    ),
    "rebases-halfway": (
        "git switch -qc side; echo s > a.txt; c side; git switch -q -; echo m > a.txt; c m; git rebase -q side || true"
    ),
    "cherry-picks": "echo p > p.txt; c p; git reset -q --hard HEAD~1; git cherry-pick HEAD@{1}",
    "tags": "echo t > t.txt; c t; git tag light; git tag -a -m x heavy; git reset -q --hard HEAD~1",
    "notes": "git notes add -f -m note",
    "moves-main": "git update-ref refs/heads/main HEAD~0; git branch -f main 2>/dev/null || true",
    "bare": "git config core.bare true",
    "init-again": "GIT_DIR=$(git rev-parse --absolute-git-dir) git init -q",
    "plants-filter": "git config filter.evil.clean 'test $ARCHITECT_WORKER_COOKIE || touch $LEDGER.evil; cat'; "
    "echo '*.txt filter=evil' >> .gitattributes",
    "plants-hook": "h=$(git rev-parse --git-common-dir)/hooks; mkdir -p $h; "
    "echo 'test $ARCHITECT_WORKER_COOKIE || touch $LEDGER.evil' > $h/post-checkout; "
    "chmod +x $h/post-checkout",
    "ignores-all": "echo '*' > .gitignore; echo hidden > hidden.txt",
    "excludes-all": "echo '*' >> $(git rev-parse --git-path info/exclude); echo hidden > excluded.txt",
    "hides-in-index": "echo x >> a.txt; git update-index --assume-unchanged a.txt",
    "skips-worktree": "git update-index --skip-worktree a.txt; echo skipped >> a.txt",
    "stages-otherwise": "echo staged > staged.txt; git add staged.txt; echo disk > staged.txt",
    "deletes": "rm -f a.txt",
    "deletes-all": "git rm -rqf --ignore-unmatch . ; rm -rf ./*",
    "writes-secret": "echo 'SECRET two' > two.sec",
    "edits-secret": "echo 'SECRET more' >> one.sec",
    "commits-secret": "echo 'SECRET three' > three.sec; c secret",
    "touches": "find . -name .git -prune -o -type f -exec touch {} +",
    "writes-big": "head -c 5000 /dev/urandom > new.ptr",
    "edits-pointer": "head -c 3000 /dev/urandom > one.ptr; c pointer",
    "nested-repository": "git init -q inner; cd inner; echo i > i.txt; c inner",
    "own-git": "rm -rf .git; git init -q; echo own > own.txt; c own",
    "no-git": "rm -rf .git; echo left > left.txt",
    "submodule-commit": "git submodule --quiet update --init; (cd lib && echo s > s.txt && c sub); c bump",
    "sparse": "git sparse-checkout set in; echo in > in/n.txt",
    "gc": "echo g > g.txt; c g; git gc -q --prune=now",
    "packs-refs": "echo g > g.txt; c g; git pack-refs --all",
    "unreadable": "echo u > unreadable.txt; chmod 000 unreadable.txt",
    "link": "ln -s a.txt link; ln -s nonexistent dangling",
    "fifo": "mkfifo pipe; echo after > after.txt",
    "case": "echo up > UP.txt; echo low > up.txt",
    "executable": "chmod +x a.txt",
    "worktree": "git worktree add -q --detach ../../agents-own-$$ 2>/dev/null || true",
    "removes-itself": 'echo gone > gone.txt; c gone; rm -rf "$PWD"/*',
    "fails": "echo failed > failed.txt; exit 3",
    "locks": "touch $(git rev-parse --git-path index.lock); echo l > l.txt",
    "head-rubbish": "echo h > h.txt; c h; echo rubbish > $(git rev-parse --git-path HEAD)",
}
"""What an agent does in its worktree. `c` commits everything and notes the commit in the ledger."""

USER = {
    "works": "echo user >> a.txt; git commit -qam user 2>/dev/null || true",
    "edits-worktree": "for d in .architect-parallel-*; do [ -d $d ] && echo by-hand > $d/by-hand.txt; done; true",
    "commits-in-worktree": "for d in .architect-parallel-*; do [ -d $d ] && (cd $d; echo u > u.txt; git add u.txt && "
    "git commit -qm by-user && git rev-parse HEAD >> $LEDGER); done; true",
    "forgets-reflogs": "git reflog expire --expire=now --all; git gc -q --prune=now",
    "prunes": "git worktree prune; git worktree repair",
    "locks-worktree": "for d in .architect-parallel-*; do git worktree lock $d; done; true",
    "moves": "MOVE",
    "copies": "COPY",
    "own-repository-at-path": "for d in .architect-parallel-*; do [ -d $d ] && (cd $d && rm -rf .git && git init -q && "
    "echo o > own.txt && git add own.txt && git commit -qm own && git rev-parse HEAD >> $LEDGER); done; true",
    "nested-at-path": "for d in .architect-parallel-*; do [ -d $d ] && (cd $d && git init -q nest && cd nest && "
    "echo n > n.txt && git add n.txt && git commit -qm nest && git rev-parse HEAD >> $LEDGER); done; true",
    "touches-worktrees": "for d in .architect-parallel-*; do [ -d $d ] && touch $d/*; done; true",
}
"""What a user does between two commands."""

COMMANDS = {
    "parallel": (),
    "resume": ("resume", "latest"),
    "continue": ("parallel", "--continue", "latest", "1", "echo continued > continued.txt"),
    "merge": ("merge", "latest", "1"),
    "squash": ("merge", "latest", "1", "--squash"),
    "rebase": ("merge", "latest", "1", "--rebase"),
    "merge-all": ("merge", "latest", "--all"),
    "cleanup": ("parallel-cleanup",),
    "cleanup-force": ("parallel-cleanup", "--force"),
    "cleanup-dry": ("parallel-cleanup", "--force", "--dry-run"),
    "undo": ("undo",),
    "import": (),
    "status": ("status", "latest", "--json"),
    "compare": ("compare", "latest"),
    "dirty-parallel": (),
    "checked": (),
}  # fmt: skip
MOVES_MAIN = ("merge", "squash", "rebase", "merge-all", "undo")


class Broken(AssertionError):
    """The law was broken; the message says by what, and what is lost."""


@dataclass
class World:
    """One directory with a repository in some states."""

    base: Path
    states: frozenset[str]
    root: Path = field(init=False)
    log: list[str] = field(default_factory=list)
    plain_allowed: bool = False
    lost_by_user: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.root = self.base / "repo"
        self.ledger.write_text("")
        self._make()

    @property
    def ledger(self) -> Path:
        return self.base / "ledger"

    def sh(self, script: str, cwd: Path | None = None, *, check: bool = False) -> str:
        environ = os.environ | {"LEDGER": str(self.ledger), "GIT_ALLOW_PROTOCOL": "file"}
        done = subprocess.run(
            ["bash", "-c", script], cwd=cwd or self.root, env=environ, capture_output=True, stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise RuntimeError(f"{script}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode(errors="surrogateescape")

    def _make(self) -> None:
        has, setup = self.states, []
        options = ["--object-format=sha256"] if "sha256" in has else []
        options += ["--ref-format=reftable"] if "reftable" in has else []
        source = self.base / "source" if "shallow" in has else self.root
        self.sh(f"git init -q {' '.join(options)} {source}", self.base, check=True)
        if "hide" in has or "pointers" in has:
            setup.append(
                "echo '*.sec filter=hide' > .gitattributes; echo '*.ptr filter=pointer -text' >> .gitattributes"
            )
        files = "mkdir -p in out; echo a > a.txt; echo i > in/i.txt; echo o > out/o.txt; echo '*.log' > .gitignore"
        first = "git add -A; git commit -qm first; echo b >> a.txt; git commit -qam second"
        for words in (*setup, files):
            self.sh(words, source, check=True)
        self._filters(source)
        if "hide" in has:
            self.sh("echo 'SECRET one' > one.sec; printf 'SECRET %s\\n' $(seq 50) > many.sec", source)
        if "pointers" in has:
            self.sh("head -c 2000 /dev/urandom > one.ptr; head -c 2000 /dev/urandom > in/two.ptr", source)
        if "odd-names" in has:
            self.sh(
                "echo x > 'a b'; echo x > $'n\\nl'; echo x > \"$(printf 'b\\345d')\"; mkdir -p :w; echo x > :w/f",
                source,
            )
        if "links" in has:
            self.sh("ln -s a.txt ln; ln -s nowhere dead", source)
        self.sh(first, source, check=True)
        if source != self.root:
            self.sh(f"git clone -q --depth=1 file://{source} {self.root}", self.base, check=True)
            self._filters(self.root)
            self.sh("rm -f *.ptr *.sec in/*.ptr; git checkout -q .", self.root)
        for state in sorted(has):
            if (script := _STATES.get(state)) is not None:
                self.sh(script.replace("BASE", str(self.base)))

    def _filters(self, root: Path) -> None:
        store = self.base / "store"
        store.mkdir(exist_ok=True)
        clean, smudge = self.base / "clean", self.base / "smudge"
        clean.write_text(f'#!/bin/sh\nt=$(mktemp -p {store}); cat > $t; h=$(sha256sum < $t | cut -c1-64)\n'
                         f'mv $t {store}/$h; echo "pointer $h"\n')  # fmt: skip
        smudge.write_text(f"#!/bin/sh\nread -r _ h; cat {store}/$h\n")
        for file in (clean, smudge):
            file.chmod(0o755)
        for key, value in {
            "filter.hide.clean": HIDE, "filter.hide.smudge": HIDE, "filter.hide.required": "true",
            "filter.pointer.clean": str(clean), "filter.pointer.smudge": str(smudge), "filter.pointer.required": "true",
        }.items():  # fmt: skip
            self.sh(f"git config {key} '{value}'", root)

    # What happens

    def act(self, name: str) -> None:
        """The user does something; what goes by the user's own hand is not held against the program."""
        self.log.append(f"user {name}")
        if name == "moves":
            target = self.base / f"moved-{len(self.log)}"
            os.rename(self.root, target)
            self.root = target
        elif name == "copies":
            self.sh(f"cp -a . {self.base}/copy-{len(self.log)}", check=True)
        else:
            self.sh(USER[name])

    def command(self, name: str, agents: Sequence[tuple[str, ...]]) -> None:
        """Run one command and hold the law."""
        before = Inventory.of(self)
        status = self.status()
        words = list(COMMANDS[name])
        if name in ("parallel", "dirty-parallel", "checked"):
            words = ["parallel", "--backend", "shell", "--max-parallel", "3", "--json"]
            words += ["--workers", str(len(agents))]
            for acts in agents:
                script = _C + "; ".join(ACTS[act] if act in _LEAVES else f"( {ACTS[act]} )" for act in acts)
                words += ["--task", re.sub(r'"?\$LEDGER"?', str(self.ledger), script)]
            words += ["--include-dirty"] if name == "dirty-parallel" else []
            words += ["--check", "test -d . && echo by-check > by-check.txt"] if name == "checked" else []
        elif name == "import":
            shutil.rmtree(self.base / "artifacts", ignore_errors=True)
            self._run(["report", "latest", "--format", "json", "--artifacts", str(self.base / "artifacts")])
            words = ["import", str(self.base / "artifacts" / "run")]
        self.log.append(f"architect {' '.join(words)}")
        self._run(words)
        self.hold(before, status, name)

    def _run(self, words: list[str]) -> None:
        environ = os.environ | {"LEDGER": str(self.ledger)}
        done = subprocess.run(
            [SCRIPT, *words], cwd=self.root, env=environ, capture_output=True, stdin=subprocess.DEVNULL, check=False,
            timeout=110,
        )  # fmt: skip
        text = (done.stdout + done.stderr).decode(errors="replace")
        self.log.append(f"  exit {done.returncode}: {done.stderr.decode(errors='replace')[-600:]}")
        if done.returncode == 70 or "Traceback" in text or done.returncode < 0:
            raise Broken(f"exit {done.returncode}: {text[-3000:]}")

    def status(self) -> str:
        return self.sh(
            "git status --porcelain=v1 -z -uall --ignore-submodules=none | tr '\\0' '\\n'; git symbolic-ref -q HEAD"
        )

    def hold(self, before: Inventory, status: str, name: str) -> None:
        after = Inventory.of(self)
        if lost := before.commits - after.commits:
            raise Broken(f"commits are lost: {sorted(lost)}")
        if lost := before.blobs - after.blobs - after.files.keys():
            raise Broken(f"tracked blobs are lost: {sorted(lost)}")
        lost_files = {before.files[oid] for oid in before.files.keys() - after.files.keys() - after.contents}
        if lost_files:
            raise Broken(f"files are lost: {sorted(lost_files)}")
        if "hide" in self.states and not self.plain_allowed and after.plain:
            raise Broken(f"plain text of the encrypting filter is in git: {sorted(after.plain)}")
        now = self.status()
        # Where a merge takes a submodule away, git leaves its directory.
        allowed = {*status.split("\n"), "?? lib/"}
        if now != status and not (name in MOVES_MAIN and set(now.split("\n")) <= allowed):
            raise Broken(f"the main checkout changed: before {status!r}, now {now!r}")
        if (self.base / "ledger.evil").exists():
            raise Broken("a program that an agent planted was run")
        fsck = self.sh("git fsck --connectivity-only --no-dangling 2>&1 | grep -E 'missing|broken link|error' || true")
        if fsck and "shallow" not in self.states:
            raise Broken(f"git fsck: {fsck}")


_LEAVES = ("own-git", "no-git", "removes-itself", "fails", "orphan")
"""Acts that change what comes after them in the same shell."""

_STATES = {
    "submodule": (
        "git init -q $(git rev-parse --show-object-format | grep -q sha256 && echo --object-format=sha256) BASE/lib; "
        "cd BASE/lib; echo l > l.txt; git add .; git commit -qm lib; cd - >/dev/null; "
        "git -c protocol.file.allow=always submodule --quiet add BASE/lib lib; git commit -qm sub; "
        "git config --global protocol.file.allow always"
    ),
    "sparse": "git sparse-checkout set in",
    "linked": "git worktree add -q ../users-own -b users-own",
    "dirty": "echo dirty >> a.txt; echo untracked > untracked.txt; echo s > staged-by-user.txt; git add staged-by-user.txt",
    "hooks": "mkdir -p .git/hooks; for h in post-checkout pre-commit post-commit reference-transaction; do "
    "printf '#!/bin/sh\\nexit 0\\n' > .git/hooks/$h; chmod +x .git/hooks/$h; done",
    "autocrlf": "git config core.autocrlf input; printf 'a\\r\\nb\\r\\n' > crlf.txt; git add crlf.txt; git commit -qm crlf",
    "ignore": "echo 'build/' >> .gitignore; git commit -qam ignore; mkdir -p build; echo b > build/b",
    "rebase": (
        "git switch -qc topic; echo t > a.txt; git commit -qam t; git switch -q main; echo m > a.txt; git commit -qam m; "
        "git rebase topic >/dev/null 2>&1"
    ),
    "lock": "touch .git/packed-refs.lock",
    "packed": "git pack-refs --all; git repack -adq",
    "detached": "git checkout -q --detach",
    "worktree-config": "git config extensions.worktreeConfig true; git config --worktree core.abbrev 12",
    "tags": "git tag v1; git tag -a -m x v2",
    "notes": "git notes add -m user",
    "relative-hooks": "mkdir .hooks; git config core.hooksPath .hooks; git add .hooks; git commit -qm hooks",
    "nested": "git init -q in/nested; cd in/nested; echo n > n; git add n; git commit -qm nested",
    "bisect": "git bisect start -q HEAD HEAD~1",
    "no-reflogs": "git config core.logAllRefUpdates false; git reflog expire --expire=now --all",
    "user-branch": "git branch architect/parallel-7; git branch architect/parallel-experiment",
}


@dataclass
class Inventory:
    """What exists in a world: commits and blobs that something holds, and files on disk outside `.git`."""

    commits: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)
    contents: set[str] = field(default_factory=set)
    """Digests of blobs that something holds, as they are and as the filters would write them."""
    files: dict[str, str] = field(default_factory=dict)
    """Digest → a path with that content."""
    plain: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, world: World) -> Inventory:
        found = cls()
        ledger = {line for line in world.ledger.read_text().split() if line}
        for place in _repositories(world.base):
            found._read(world, place, ledger)
        found.commits |= set()
        for here, directories, names in os.walk(world.base):
            if os.path.basename(here) in (".git", "artifacts") or here == str(world.base / "store"):
                # What was kept aside on disk counts; git's own files do not.
                aside = [part for part in ("architect",) if os.path.isdir(os.path.join(here, part))]
                directories[:] = aside
                continue
            if (
                "/.git/architect" in here
                and "/aside" not in here
                and not any(name in here for name in ("aside", "kept", "plain"))
            ):
                continue
            ignored = _ignored(world, Path(here)) if names else set()
            for name in names:
                path = os.path.join(here, name)
                if os.path.islink(path) or not os.path.isfile(path) or name in ("ledger", ".git") or path in ignored:
                    continue
                try:
                    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
                except OSError:
                    continue
                found.files.setdefault(digest, os.path.relpath(path, world.base))
        return found

    def _read(self, world: World, git_dir: Path, ledger: set[str]) -> None:
        env = f"export GIT_DIR={git_dir}; unset GIT_WORK_TREE; "
        heads = " ".join(
            world.sh(f"GIT_DIR={admin} git rev-parse -q --verify HEAD 2>/dev/null").strip()
            for admin in (git_dir, *git_dir.glob("worktrees/*"), *git_dir.glob("architect/runs/*/repo/*"))
        )
        for bundle in git_dir.glob("architect/**/*.bundle"):
            self.commits |= {
                line.split()[0] for line in world.sh(f"git bundle list-heads {bundle}").split("\n") if line
            }
        listed = world.sh(f"{env} git rev-list --ignore-missing --objects --all {heads} 2>/dev/null", world.base)
        oids = [line.split(" ")[0] for line in listed.split("\n") if line]
        kinds = world.sh(
            f"{env} git cat-file --batch-check='%(objecttype) %(objectname)' <<'E'\n" + "\n".join(oids) + "\nE\n",
            world.base,
        )
        for line in kinds.split("\n"):
            kind, _, oid = line.partition(" ")
            if kind == "commit":
                self.commits.add(oid)
            elif kind == "blob":
                self.blobs.add(oid)
        if self.blobs:
            self._read_contents(world, git_dir)

    def _read_contents(self, world: World, git_dir: Path) -> None:
        done = subprocess.run(
            ["git", "--git-dir", git_dir, "cat-file", "--batch"], input="\n".join(self.blobs).encode(), capture_output=True,
            check=False,
        )  # fmt: skip
        data = done.stdout
        while data:
            head, _, data = data.partition(b"\n")
            words = head.split(b" ")
            if len(words) != 3:
                continue
            content, data = data[: int(words[2])], data[int(words[2]) + 1 :]
            forms = [content, content.replace(b"\n", b"\r\n"), content.translate(_TURNED)]
            if content.startswith(b"pointer "):
                stored = world.base / "store" / content.split()[1].decode()
                forms += [stored.read_bytes()] if stored.exists() else []
            self.contents |= {hashlib.sha256(form).hexdigest() for form in forms}
            # What an agent puts into a repository of its own inside its worktree is not the program's doing.
            if content.startswith(SECRET) and ".architect-parallel-" not in os.fspath(git_dir):
                self.plain.add(words[0].decode())


_UPPER, _LOWER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz"
_TURNED = bytes.maketrans(_UPPER + _LOWER, _UPPER[13:] + _UPPER[:13] + _LOWER[13:] + _LOWER[:13])


def _repositories(base: Path) -> list[Path]:
    """Every git directory below `base` that is not a linked worktree's."""
    found = []
    for here, directories, _ in os.walk(base):
        if os.path.isdir(os.path.join(here, "objects")) and os.path.isfile(os.path.join(here, "HEAD")):
            found.append(Path(here))
            directories[:] = [name for name in directories if name in ("modules", "worktrees", "architect")]
    return found


def _ignored(world: World, directory: Path) -> set[str]:
    """Files that the ignore rules of the first commit hide: a cleanup takes those without keeping them."""
    return {str(path) for pattern in ("*.log",) for path in directory.glob(pattern)} | (
        {str(path) for path in directory.iterdir()} if directory.name == "build" else set()
    )
