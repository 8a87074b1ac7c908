"""Conflicts given to an agent, whose result is examined before it is used.

The merge is begun in the integration worktree, so that the agent finds the usual state: markers in the files, both
sides in the index. The agent runs supervised and limited like a worker's. Its claims count for nothing. The tree is
read through a private git directory made before the agent ran. It is a resolution only if it has no conflict marker
that neither side had, and if no file without markers (a binary one, one deleted on one side) was left as it was. A
tree that is no resolution is kept under `refs/architect/keep/<run>/<n>-resolve`. Changes outside the worktree are
named, and changed files of the main checkout are saved as a patch. Nothing there is reverted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from architect_parallel.backends.base import Backend
from architect_parallel.containment.box import Box
from architect_parallel.domain import (
    AgentProfile,
    ApprovalMode,
    Limits,
    Price,
    Sandbox,
    SandboxMode,
    Status,
    WorkerSpec,
)
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.events import AgentOutput, Event, Warned
from architect_parallel.landing.sources import Source
from architect_parallel.landing.steps import Method, message
from architect_parallel.repository import side_effects
from architect_parallel.repository.filters import recorded
from architect_parallel.scheduling import verdict
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.files import replace_file
from architect_parallel.system.git import Git, Repository, make_state_dir
from architect_parallel.system.own_files import make_own_dir
from architect_parallel.text.quantities import show_workers, summarize
from architect_parallel.tripwire.checkout import MainCheckout
from architect_parallel.workers.agent_session import AgentRun, AgentSession
from architect_parallel.workers.request import request_for
from architect_parallel.worktrees.create import Worktree
from architect_parallel.worktrees.worker_repository import WorkerRepository

_MARKER = r"^(<<<<<<<|\|\|\|\|\|\|\||>>>>>>>)( |$)|^=======$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """The agent that resolves conflicts."""

    backend: Backend
    agent: AgentProfile
    limits: Limits = field(default_factory=Limits)
    prices: Mapping[str, Price] = field(default_factory=dict)
    sandbox: Sandbox = field(default_factory=Sandbox)
    keeps_keys: bool = False
    """As in `AgentSession`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The result of a conflict resolution."""

    commit: str | None
    """The merge with its conflicts resolved. `None` means that they are not."""
    why: str = ""
    """The reason why there is no commit, in words."""
    warnings: tuple[str, ...] = ()
    cost: float | None = 0.0
    """USD. `None` means unknown."""


@dataclass(frozen=True, slots=True)
class _ConflictedMerge:
    """The merge as git left it for the agent."""

    private: PrivateGit
    tree: str
    """The worktree's content with the markers, as a tree object."""
    files: tuple[str, ...]
    """Paths with conflicts, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictResolution:
    """A merge that conflicts, and the agent that resolves it in the integration worktree."""

    repository: Repository
    worktree: Worktree
    """At `tip`. Nothing in it can be trusted afterwards."""
    lent: WorkerRepository
    """The place of the agent's own git directory."""
    source: Source
    tip: str
    target: str
    """Short name of the target branch, for the prompt and the message."""
    method: Method
    """A result that is to be rebased or squashed becomes one commit."""
    merged: tuple[int, ...]
    """Workers that are in `tip` already."""
    resolver: Resolver
    run_id: str
    run_dir: Path
    environ: Mapping[str, str]
    variables: Mapping[str, str]
    """Set on top of the agent's environment."""
    stop_token: StopToken
    on_progress: Callable[[str], None]
    """Takes a line of the agent's progress."""

    def run(self) -> Resolution:
        """Begin the merge, let the agent finish it, and examine the result.

        Raises:
            EnvironmentProblem, GitError: The tree cannot be read or written.
        """
        state_dir = make_state_dir(self.repository.state_dir)
        with tempfile.TemporaryDirectory(prefix="resolve-", dir=state_dir) as folder:
            merge = self._begin_merge(Path(folder) / "git")
            spec = self._spec(merge.files)
            outside = _Outside(
                self.repository, Path(folder) / "main", self.run_dir / f"{spec.name}-main-checkout.patch"
            )
            self.lent.lend()
            try:
                run, warnings = self._run_agent(spec)
            finally:
                taken = self.lent.take_back(self.run_id, self.source.worker_id, label="resolve")
            warnings += taken.warnings
            after = merge.private.write_tree().tree
            warnings += outside.warnings(self.resolver.backend.name)
            warnings += self._ref_warnings(merge.private)
            cost = 0.0 if run is None or run.spawn_error is not None else run.cost
            rejection = self._rejection(merge, after, run)
            commit = self._commit(merge.private, after)
            if rejection is not None:
                warnings += self._keep_rejected(merge, after, commit)
                why = f"{self.resolver.backend.name} {rejection}"
                return Resolution(commit=None, why=why, warnings=tuple(warnings), cost=cost)
            warnings += self._notes(merge, after)
            return Resolution(commit=commit, warnings=tuple(warnings), cost=cost)

    def _begin_merge(self, directory: Path) -> _ConflictedMerge:
        worktree = self.worktree
        private = PrivateGit.create(self.repository, directory, worktree.path, filters=recorded(self.run_dir))
        git = Git(cwd=worktree.path, git_dir=worktree.admin_dir, work_tree=worktree.path)
        quiet = ("rerere.enabled=false", "merge.conflictStyle=diff3", "merge.verifySignatures=false")
        words = ("merge", "--no-commit", "--no-ff", "--quiet", self.source.commit)
        git.run(*words, check=False, settings=quiet)
        return _ConflictedMerge(private, private.write_tree().tree, self._unmerged())

    def _run_agent(self, spec: WorkerSpec) -> tuple[AgentRun | None, list[str]]:
        """Run the agent to its proven end. Return it and the warnings on the way."""
        warnings: list[str] = []

        def emit(event: Event) -> None:
            match event:
                case AgentOutput(text=text):
                    self.on_progress(f"[{spec.worker_id}] {text}")
                case Warned(message=warning):
                    warnings.append(warning)
                case _:
                    pass

        request = request_for(
            spec,
            prompt_file=make_own_dir(self.run_dir / "prompts") / f"{spec.name}.txt",
            state_dir=make_own_dir(self.run_dir / "state" / spec.name),
        )
        by = self.resolver
        session = AgentSession(backend=by.backend, environ=self.environ, prices=by.prices, keeps_keys=by.keeps_keys)
        log = make_own_dir(self.run_dir / "logs") / f"{spec.name}.log"
        box = Box(
            sandbox=spec.sandbox,
            repository=self.repository,
            run_dir=self.run_dir,
            environ=self.environ,
            directory=self.worktree.path,
            name=spec.name,
            write=(self.lent.directory,),
        )
        try:
            run = session.run(
                request,
                limits=spec.limits,
                log=log,
                stop_token=self.stop_token,
                emit=emit,
                variables=self.variables,
                contain=box.contain,
            )
        finally:
            warnings += box.close(log)
        return run, warnings

    def _ref_warnings(self, private: PrivateGit) -> list[str]:
        """Warnings about refs and other state of the repository that the agent changed."""
        refs = side_effects.watched(side_effects.read_refs(self.repository))
        heads = side_effects.head_commits(self.worktree.admin_dir)
        surroundings = side_effects.surroundings(self.repository)
        return [
            *side_effects.ref_warnings(private.facts.refs, refs, heads),
            *side_effects.surrounding_warnings(private.facts.surroundings, surroundings),
        ]

    def _rejection(self, merge: _ConflictedMerge, after: str, run: AgentRun | None) -> str | None:
        """The reason why the tree is no resolution, to be read after the agent's name. `None` means that it is one."""
        if run is None or run.ending is None:
            return "could not be started" + (f": {run.spawn_error}" if run is not None and run.spawn_error else "")
        private, sides = merge.private, (self.tip, self.source.commit)
        changed = private.diff(merge.tree, after).files
        status, reason = verdict.decide(
            outcome=run.ending.outcome,
            exit_code=run.exit_code,
            stopped_by=self.stop_token.reason,
            files_changed=len(changed),
        )
        if status is not Status.SUCCESS:
            return f"did not succeed: {status} ({reason})" + (f": {run.ending.error}" if run.ending.error else "")
        if marked := _marked(private, after, sides):
            return f"left conflict markers in {summarize(marked)}"
        unmerged = set(self._unmerged()) - {change.path for change in changed}
        if untouched := sorted(unmerged - set(_marked(private, merge.tree, sides))):
            return f"did not decide on {summarize(untouched)}"
        return None

    def _commit(self, private: PrivateGit, tree: str) -> str:
        has_one_parent = self.method is not Method.MERGE
        method = Method.SQUASH if has_one_parent else self.method
        text = message(self.run_id, self.source, self.target, method, resolved_by=self.resolver.backend.name)
        parents = (self.tip,) if has_one_parent else (self.tip, self.source.commit)
        return private.commit(tree, parents, text)

    def _keep_rejected(self, merge: _ConflictedMerge, after: str, commit: str) -> list[str]:
        if after == merge.tree:
            return []
        number = self.source.worker_id
        kept = keep(self.repository, commit, self.run_id, number, "resolve")
        return [f"what {self.resolver.backend.name} made of worker {number}'s conflicts is kept as {kept}"]

    def _notes(self, merge: _ConflictedMerge, after: str) -> list[str]:
        """Warnings about an accepted resolution."""
        notes = []
        if self.method is Method.REBASE:
            number = self.source.worker_id
            notes.append(f"worker {number} lands as one commit: its conflicts were resolved as a whole")
        beyond = sorted({change.path for change in merge.private.diff(merge.tree, after).files} - set(merge.files))
        if beyond:
            notes.append(f"{self.resolver.backend.name} also changed files without conflicts: {summarize(beyond)}")
        return notes

    def _unmerged(self) -> tuple[str, ...]:
        """Paths that git lists as unmerged, sorted. Read from the index alone: the worktree cannot be trusted."""
        common_dir = self.repository.common_dir
        git = Git(cwd=common_dir, git_dir=common_dir, index_file=self.worktree.admin_dir / "index")
        fields = git.run("ls-files", "-u", "-z", check=False).fields
        return tuple(sorted({field.partition("\t")[2] for field in fields}))

    def _spec(self, conflicted: tuple[str, ...]) -> WorkerSpec:
        source, resolver = self.source, self.resolver
        merged = f" with the results of {show_workers(self.merged)}" if self.merged else ""
        files = "\n".join(f"  {path}" for path in conflicted)
        prompt = (
            f"A git merge is under way in this directory and has stopped with conflicts. Resolve them.\n\n"
            f"HEAD is branch {self.target}{merged}. Merged into it is the result of worker {source.worker_id} "
            f"({source.commit[:12]}), whose task was:\n\n{source.worker.task}\n\n"
            f"Files with conflicts:\n{files}\n\n"
            "Edit them so that what both sides meant to do holds. `git log --merge -p` and `git diff` show what each "
            "side did. Remove every conflict marker (<<<<<<<, |||||||, =======, >>>>>>>). Then `git add` each of these "
            "files, or `git rm` it where it should go. Change nothing else. Do not commit, do not abort the merge, do "
            "not switch branches.\n"
        )
        return WorkerSpec(
            run_id=self.run_id,
            worker_id=source.worker_id,
            index=source.worker.index,
            number=0,
            name=f"resolve-{source.worker_id}",
            prompt=prompt,
            backend=resolver.backend.name,
            model=resolver.agent.model,
            agent=resolver.agent,
            limits=resolver.limits,
            branch=self.worktree.branch,
            worktree_path=str(self.worktree.path),
            base_commit=self.tip,
            approval_mode=resolver.agent.approval_mode or ApprovalMode.NONE,
            sandbox_mode=resolver.agent.sandbox_mode or SandboxMode.DEFAULT,
            sandbox=resolver.sandbox,
        )


class _Outside:
    """The main checkout while an agent resolves. If it cannot be read, that is a warning and the merge goes on."""

    def __init__(self, repository: Repository, directory: Path, saved: Path) -> None:
        self._saved = saved
        self._checkout: MainCheckout | None = None
        self._unseen = ""
        try:
            self._checkout = MainCheckout(repository, directory)
        except (ArchitectParallelError, OSError) as error:
            self._unseen = str(error)

    def warnings(self, agent: str) -> list[str]:
        """Warn of changes there since. Changed files are saved as a patch."""
        try:
            if self._checkout is None:
                return [f"the main checkout was not watched while {agent} resolved: {self._unseen}"]
            # `side_effects` warns of refs.
            changes = [change for change in self._checkout.changes() if not change.path.startswith("refs/")]
            if not changes:
                return []
            patch = self._checkout.patch(changes)
            if patch is not None:
                replace_file(self._saved, patch, mode=0o600)
        except (ArchitectParallelError, OSError) as error:
            return [f"the main checkout could not be looked at after {agent}: {error}"]
        saved = "" if patch is None else f"; saved as {self._saved}"
        paths = summarize(sorted(change.path for change in changes))
        return [f"while {agent} resolved, the main checkout changed: {paths} (it or you; nothing was reverted{saved})"]


def _marked(private: PrivateGit, tree: str, sides: tuple[str, str]) -> list[str]:
    """Paths with more conflict markers than either side has there: a file may be about merging."""
    counts = _marker_counts(private, tree)
    if not counts:
        return []
    allowed = [_marker_counts(private, side) for side in sides]
    return sorted(path for path, count in counts.items() if count > max(side.get(path, 0) for side in allowed))


def _marker_counts(private: PrivateGit, tree: str) -> dict[str, int]:
    output = private.git.run("grep", "-I", "-c", "-z", "-E", "-e", _MARKER, tree, check=False)
    counts = {}
    for line in output.text.split("\n"):
        path, _, count = line.partition("\0")
        if count.isdigit():
            counts[path.removeprefix(f"{tree}:")] = int(count)
    return counts
