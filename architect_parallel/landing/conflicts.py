"""Conflicts handed to an agent, and what it made of them looked at before anything is believed.

The merge is begun in the integration worktree, so that the agent finds the usual state: markers in the files, both
sides in the index. It runs supervised and limited like any worker's. What it says counts for nothing: the tree is read
through a private git directory made before it ran, and is a resolution only if no conflict marker is in it that neither
side had, and if no file that has no markers (a binary one, one deleted on one side) was left as it was. A tree that is
no resolution is kept under `refs/architect/keep/<run>/<n>-resolve`. What it changed outside the worktree is named, and
changed files of the main checkout are saved as a patch: nothing there is reverted.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from architect_parallel.backends import environment
from architect_parallel.backends.base import Backend
from architect_parallel.domain import AgentProfile, ApprovalMode, Limits, Price, SandboxMode, Status, WorkerSpec
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.events import AgentOutput, Event, Warned
from architect_parallel.landing.sources import Source
from architect_parallel.landing.steps import Method, message
from architect_parallel.repository import side_effects
from architect_parallel.repository.filters import recorded
from architect_parallel.scheduling import verdict
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.supervision import process
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.output import LogFile
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.files import make_private_dir, replace_file
from architect_parallel.system.git import Git, Repository, make_state_dir
from architect_parallel.text.quantities import show_workers, summarize
from architect_parallel.tripwire.checkout import MainCheckout
from architect_parallel.workers.agent_run import AgentRun, UsageMeter, run_agent
from architect_parallel.workers.request import request_for, shown_argv
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What came of it."""

    commit: str | None
    """The merge with its conflicts resolved; `None`: they are not."""
    why: str = ""
    """Why there is no commit, in words."""
    warnings: tuple[str, ...] = ()
    cost: float | None = 0.0
    """USD; `None`: unknown."""


def resolve(
    repository: Repository,
    worktree: Worktree,
    lent: WorkerRepository,
    source: Source,
    resolver: Resolver,
    *,
    run_id: str,
    tip: str,
    target: str,
    method: Method,
    merged: tuple[int, ...],
    run_dir: Path,
    environ: Mapping[str, str],
    stop_token: StopToken,
    say: Callable[[str], None],
) -> Resolution:
    """Begins the merge of `source` in the worktree, which is at `tip`, and has the agent finish it.

    The worktree is not to be believed afterwards. A result that shall be rebased lands as one commit.

    Args:
        lent: Where the agent's own git directory is made.
        merged: Workers that are in `tip` already.
        say: Takes a line of what the agent does.

    Raises:
        EnvironmentProblem, GitError: The tree cannot be read or written.
    """
    with tempfile.TemporaryDirectory(prefix="resolve-", dir=make_state_dir(repository.state_dir)) as folder:
        filters = recorded(run_dir)
        private = PrivateGit.create(repository, Path(folder) / "git", worktree.path, filters=filters)
        here = Git(cwd=worktree.path, git_dir=worktree.admin_dir, work_tree=worktree.path)
        quiet = ("rerere.enabled=false", "merge.conflictStyle=diff3", "merge.verifySignatures=false")
        here.run("merge", "--no-commit", "--no-ff", "--quiet", source.commit, check=False, settings=quiet)
        conflicted = _unmerged(repository, worktree)
        before = private.write_tree().tree
        spec = _spec(worktree, source, resolver, run_id, tip, target, merged, conflicted)
        watched = _Outside(repository, Path(folder) / "main", run_dir / f"{spec.name}-main-checkout.patch")
        lent.lend()
        try:
            run, warnings = _run_agent(spec, resolver, run_dir=run_dir, environ=environ, stop_token=stop_token, say=say)
        finally:
            taken = lent.take_back(run_id, source.worker_id, label="resolve")
        warnings += taken.warnings
        cost = 0.0 if run is None or run.spawn_error is not None else run.cost
        after = private.write_tree()
        warnings += watched.warnings(resolver.backend.name)
        refs = side_effects.watched(side_effects.read_refs(repository))
        warnings += side_effects.ref_warnings(private.facts.refs, refs, side_effects.head_commits(worktree.admin_dir))
        warnings += side_effects.surrounding_warnings(private.facts.surroundings, side_effects.surroundings(repository))
        why = _objection(repository, worktree, private, source, tip, run, stop_token, before, after.tree, conflicted)
        name = resolver.backend.name
        one_parent = method is not Method.MERGE
        text = message(run_id, source, target, Method.SQUASH if one_parent else method, resolved_by=name)
        commit = private.commit(after.tree, (tip,) if one_parent else (tip, source.commit), text)
        if why is not None:
            if after.tree != before:
                kept = keep(repository, commit, run_id, source.worker_id, "resolve")
                warnings.append(f"what {name} made of worker {source.worker_id}'s conflicts is kept as {kept}")
            return Resolution(commit=None, why=f"{name} {why}", warnings=tuple(warnings), cost=cost)
        if method is Method.REBASE:
            warnings.append(f"worker {source.worker_id} lands as one commit: its conflicts were resolved as a whole")
        beyond = sorted({each.path for each in private.diff(before, after.tree).files} - set(conflicted))
        if beyond:
            warnings.append(f"{name} also changed files without conflicts: {summarize(beyond)}")
        return Resolution(commit=commit, warnings=tuple(warnings), cost=cost)


class _Outside:
    """The main checkout while an agent resolves. What cannot be looked at is a warning: the merge goes on."""

    def __init__(self, repository: Repository, directory: Path, saved: Path) -> None:
        self._saved = saved
        self._checkout: MainCheckout | None = None
        self._unseen = ""
        try:
            self._checkout = MainCheckout(repository, directory)
        except (ArchitectParallelError, OSError) as error:
            self._unseen = str(error)

    def warnings(self, agent: str) -> list[str]:
        """What changed there since; files are saved as a patch."""
        try:
            if self._checkout is None:
                return [f"the main checkout was not watched while {agent} resolved: {self._unseen}"]
            # Refs are told by `traces`.
            changes = [each for each in self._checkout.changes() if not each.path.startswith("refs/")]
            if not changes:
                return []
            patch = self._checkout.patch(changes)
            if patch is not None:
                replace_file(self._saved, patch, mode=0o600)
        except (ArchitectParallelError, OSError) as error:
            return [f"the main checkout could not be looked at after {agent}: {error}"]
        saved = "" if patch is None else f"; saved as {self._saved}"
        paths = summarize(sorted(each.path for each in changes))
        return [f"while {agent} resolved, the main checkout changed: {paths} (it or you; nothing was reverted{saved})"]


def _objection(
    repository: Repository,
    worktree: Worktree,
    private: PrivateGit,
    source: Source,
    tip: str,
    run: AgentRun | None,
    stop_token: StopToken,
    before: str,
    after: str,
    conflicted: tuple[str, ...],
) -> str | None:
    """Why the tree is no resolution, to be read after the agent's name; `None`: it is one."""
    if run is None or run.ending is None:
        return "could not be started" + (f": {run.spawn_error}" if run is not None and run.spawn_error else "")
    changed = private.diff(before, after).files
    status, reason = verdict.decide(
        outcome=run.ending.outcome, exit_code=run.exit_code, stopped_by=stop_token.reason, spawn_failed=False,
        files_changed=len(changed),
    )  # fmt: skip
    if status is not Status.SUCCESS:
        return f"did not succeed: {status} ({reason})" + (f": {run.ending.error}" if run.ending.error else "")
    if marked := _marked(private, after, (tip, source.commit)):
        return f"left conflict markers in {summarize(marked)}"
    unmerged = set(_unmerged(repository, worktree)) - {each.path for each in changed}
    had_markers = set(_marked(private, before, (tip, source.commit)))
    if untouched := sorted(unmerged - had_markers):
        return f"did not decide on {summarize(untouched)}"
    return None


def _marked(private: PrivateGit, tree: str, sides: tuple[str, str]) -> list[str]:
    """Paths with more conflict markers than either side has there: a file may be about merging."""
    found = _marker_counts(private, tree)
    if not found:
        return []
    allowed = [_marker_counts(private, side) for side in sides]
    return sorted(path for path, count in found.items() if count > max(side.get(path, 0) for side in allowed))


def _marker_counts(private: PrivateGit, tree: str) -> dict[str, int]:
    output = private.git.run("grep", "-I", "-c", "-z", "-E", "-e", _MARKER, tree, check=False)
    counts = {}
    for line in output.text.split("\n"):
        path, _, count = line.partition("\0")
        if count.isdigit():
            counts[path.removeprefix(f"{tree}:")] = int(count)
    return counts


def _unmerged(repository: Repository, worktree: Worktree) -> tuple[str, ...]:
    """Paths that git holds for unmerged, sorted. From the index alone, whatever the worktree has become."""
    git = Git(cwd=repository.common_dir, git_dir=repository.common_dir, index_file=worktree.admin_dir / "index")
    fields = git.run("ls-files", "-u", "-z", check=False).fields
    return tuple(sorted({field.partition("\t")[2] for field in fields}))


def _spec(
    worktree: Worktree,
    source: Source,
    resolver: Resolver,
    run_id: str,
    tip: str,
    target: str,
    merged: tuple[int, ...],
    conflicted: tuple[str, ...],
) -> WorkerSpec:
    ours = f"branch {target}" + (f" with the results of {show_workers(merged)}" if merged else "")
    files = "\n".join(f"  {path}" for path in conflicted)
    prompt = (
        f"A git merge is under way in this directory and has stopped with conflicts. Resolve them.\n\n"
        f"HEAD is {ours}. Merged into it is the result of worker {source.worker_id} ({source.commit[:12]}), "
        f"whose task was:\n\n{source.worker.task}\n\n"
        f"Files with conflicts:\n{files}\n\n"
        "Edit them so that what both sides meant to do holds. `git log --merge -p` and `git diff` show what each side "
        "did. Remove every conflict marker (<<<<<<<, |||||||, =======, >>>>>>>). Then `git add` each of these files, "
        "or `git rm` it where it should go. Change nothing else. Do not commit, do not abort the merge, do not switch "
        "branches.\n"
    )
    return WorkerSpec(
        run_id=run_id, worker_id=source.worker_id, index=source.worker.index, number=0,
        name=f"resolve-{source.worker_id}", prompt=prompt, backend=resolver.backend.name, model=resolver.agent.model,
        agent=resolver.agent, limits=resolver.limits, branch=worktree.branch, worktree_path=str(worktree.path),
        base_commit=tip, approval_mode=resolver.agent.approval_mode or ApprovalMode.NONE,
        sandbox_mode=resolver.agent.sandbox_mode or SandboxMode.DEFAULT,
    )  # fmt: skip


def _run_agent(
    spec: WorkerSpec,
    resolver: Resolver,
    *,
    run_dir: Path,
    environ: Mapping[str, str],
    stop_token: StopToken,
    say: Callable[[str], None],
) -> tuple[AgentRun | None, list[str]]:
    """Runs the agent to its proven end; what it was, and the warnings on the way."""
    backend, warnings = resolver.backend, list[str]()

    def emit(event: Event) -> None:
        match event:
            case AgentOutput(text=text):
                say(f"[{spec.worker_id}] {text}")
            case Warned(message=words):
                warnings.append(words)
            case _:
                pass

    prompt_file = make_private_dir(run_dir / "prompts") / f"{spec.name}.txt"
    replace_file(prompt_file, spec.prompt.encode(errors="surrogateescape"), mode=0o600)
    state_dir = make_private_dir(run_dir / "state" / spec.name)
    request = request_for(spec, prompt_file=prompt_file, state_dir=state_dir)
    command = backend.command(request)
    warnings += command.warnings
    log = LogFile(make_private_dir(run_dir / "logs") / f"{spec.name}.log")
    launch = process.Launch(
        argv=command.argv,
        cwd=Path(spec.worktree_path),
        env={**environment.filtered_environment(backend, environ), **command.env},
        stdin_file=command.stdin_file,
        polite_signal=command.polite_signal,
        polite_wait_s=command.polite_wait_s,
        grace_s=spec.limits.grace_s,
        cookie=f"{spec.run_id}.{spec.name}.{secrets.token_hex(8)}",
    )
    tally = UsageMeter(
        limits=spec.limits, requested_model=spec.model, prices=resolver.prices, emit=emit, stop=stop_token.stop
    )
    try:
        run = run_agent(
            launch,
            backend.reader(request),
            shown_argv=shown_argv(command.argv, request.prompt),
            secrets=environment.secret_values(backend, environ),
            log=log,
            tally=tally,
            sampler=Sampler(),
            stop_token=stop_token,
            emit=emit,
        )
    finally:
        log.close()
    return run, warnings
