"""Publish the result of a merge, if asked for: a push or a pull request.

Nothing moves in the local repository, and only what has landed is sent. A push that fails leaves everything as it is
and says so. No hook runs, as nowhere in this program, so the objects of Git LFS are pushed here, before the branch that
names them. The terminal is never asked: credentials come from git's helpers or an agent, else the push fails.
Invariant: the remote of a push, and its credentials, never come from configuration that agents wrote.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.backends.environment import key_names, without_names
from architect_parallel.backends.registry import load_backends
from architect_parallel.domain import Settings
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.supervision.consume import run_command
from architect_parallel.system.git import GitError, Repository
from architect_parallel.system.git_settings import PUSH_KEYS
from architect_parallel.text.forge_problems import forge_problem
from architect_parallel.text.quantities import summarize
from architect_parallel.text.sanitize import one_line

_GIT_HELPERS = ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_SSL_CAINFO")
_TIMEOUT_S = 300.0
_LFS_TIMEOUT_S = 3600.0
_LFS_ATTRIBUTE = "filter=lfs"
_ATTRIBUTES = "*.gitattributes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The remote and branch that a result is sent to."""

    remote: str
    """Name of the remote."""
    ref: str
    """Short name of the remote branch: the pushed one, or the base of a pull request."""
    pull_request: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The result of publishing."""

    pushed: str | None = None
    """`remote/branch`. `None` means that nothing was pushed."""
    pull_request: str | None = None
    """URL of the pull request. `None` means that there is none."""
    problem: str | None = None
    """The failure, in one line."""


def plan_publication(
    repository: Repository, branch: str, *, pull_request: bool, environ: Mapping[str, str]
) -> Publication:
    """Decide where the local branch `branch` is pushed: to its upstream, else to the branch of its name on `origin`.

    Raises:
        EnvironmentProblem: There is no remote, no `gh` for a pull request, or the settings of pushes changed while
            agents ran and the user has not confirmed them.
    """
    changed = [key for key in repository.programs.unconfirmed().keys if PUSH_KEYS.fullmatch(key)]
    if changed:
        raise EnvironmentProblem(
            f"git's settings for pushes changed while agents ran: {summarize(changed)}; nothing was pushed or moved",
            hint="architect config trust",
        )
    if pull_request and shutil.which("gh", path=environ.get("PATH")) is None:
        raise EnvironmentProblem("gh is not installed: no pull request can be opened", hint="install gh, or --push")
    remotes = repository.store.text("remote").split("\n")
    remote = _setting(repository, f"branch.{branch}.remote")
    merge = _setting(repository, f"branch.{branch}.merge")
    if remote in remotes and merge is not None:
        return Publication(remote=remote or "", ref=merge.removeprefix("refs/heads/"), pull_request=pull_request)
    pushed_by_default = _setting(repository, "remote.pushDefault")
    chosen = next((candidate for candidate in (pushed_by_default, "origin") if candidate in remotes), None)
    if chosen is None:
        raise EnvironmentProblem(
            f"{branch} has no upstream and there is no remote origin", hint="git remote add origin URL"
        )
    return Publication(remote=chosen, ref=branch, pull_request=pull_request)


def require_sendable(repository: Repository, publication: Publication, before: str, commits: Sequence[str]) -> None:
    """Check that everything made of these commits can be pushed with the LFS objects that it names. Moves nothing.

    Args:
        before: The commit that the target is at.

    Raises:
        EnvironmentProblem: git-lfs is needed and not installed, or a commit changes where LFS objects go.
    """
    if not _uses_lfs(repository, publication.remote, commits):
        return
    if not repository.git.ok("lfs", "version"):
        raise EnvironmentProblem(
            "the result has files in Git LFS and git-lfs is not installed: the objects cannot be pushed",
            hint="install git-lfs, or leave out --push",
        )
    store = repository.store
    forks = {commit: store.run("merge-base", commit, before, check=False).text.split("\n")[0] for commit in commits}
    if any(store.resolve(f"{new}:.lfsconfig") != store.resolve(f"{old}:.lfsconfig") for new, old in forks.items()):
        raise EnvironmentProblem(
            "the result changes .lfsconfig, which says where LFS objects are pushed", hint="look at it, then git push"
        )


def push(repository: Repository, publication: Publication, commit: str, environ: Mapping[str, str]) -> Published:
    """Push the commit to the planned branch, never by force."""
    return _push(repository, publication.remote, commit, publication.ref, environ)


def open_pull_request(
    repository: Repository,
    publication: Publication,
    commit: str,
    branch: str,
    *,
    title: str,
    body: str,
    environ: Mapping[str, str],
) -> Published:
    """Push the commit as `branch` and open a pull request for it with `gh`."""
    pushed = _push(repository, publication.remote, commit, branch, environ)
    if pushed.problem is not None:
        return pushed
    with tempfile.NamedTemporaryFile("w", prefix="architect-pr-", suffix=".md", errors="replace") as text:
        text.write(body)
        text.flush()
        words = ("--base", publication.ref, "--head", branch, "--title", title, "--body-file", text.name)
        outcome = run_command(
            ("gh", "pr", "create", *words),
            cwd=repository.checkout or repository.root,
            env={**environ, "GH_PROMPT_DISABLED": "1", "NO_COLOR": "1"},
            timeout_s=_TIMEOUT_S,
        )
    printed = outcome.output.split()
    address = next((word for word in reversed(printed) if word.startswith(("https://", "http://"))), None)
    if outcome.exit_code != 0:
        why, remedy = forge_problem("gh", outcome.output)
        why += f" (try: {remedy})" if remedy else ""
        return Published(pushed=pushed.pushed, problem=f"{branch} is pushed, but no pull request was opened: {why}")
    return Published(pushed=pushed.pushed, pull_request=address)


def _push(repository: Repository, remote: str, commit: str, ref: str, environ: Mapping[str, str]) -> Published:
    env = _users_variables(environ)
    if "GIT_SSH_COMMAND" not in env and "GIT_SSH" not in env and _setting(repository, "core.sshCommand") is None:
        env["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes"
    try:
        # As git's pre-push hook does: the history must not name an object that the remote does not have.
        why = _push_lfs(repository, remote, commit, env) if _uses_lfs(repository, remote, [commit]) else None
    except GitError as error:
        why = error.message
    if why is not None:
        return Published(problem=f"{ref} was not pushed to {remote}: its LFS objects could not be: {why}")
    words = (
        "push",
        "--quiet",
        "--no-follow-tags",
        "--recurse-submodules=no",
        "--",
        remote,
        f"{commit}:refs/heads/{ref}",
    )
    output = repository.git.run(*words, check=False, env=env)
    if output.code == 0:
        return Published(pushed=f"{remote}/{ref}")
    return Published(problem=f"{ref} could not be pushed to {remote}: {_reason(output.stderr, output.code)}")


def _users_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that a credential helper of the user may read: all except agents' keys and those that redirect git."""
    keys = key_names(load_backends(Settings(), environ).values())
    kept = without_names(environ, (*keys, "GIT_*", "LC_*", "LANGUAGE"))
    return kept | {name: environ[name] for name in _GIT_HELPERS if name in environ}


def _push_lfs(repository: Repository, remote: str, commit: str, env: Mapping[str, str]) -> str | None:
    """Push the LFS objects that the commit's history names and the remote lacks. Return the reason of a failure."""
    argv, environment = repository.git.command("lfs", "push", remote, commit, env=env)
    outcome = run_command(argv, cwd=repository.git.cwd, env=environment, timeout_s=_LFS_TIMEOUT_S)
    if outcome.timed_out:
        return f"it took longer than {_LFS_TIMEOUT_S:.0f} s"
    return None if outcome.exit_code == 0 else _last_line(outcome.output) or f"exit code {outcome.exit_code}"


def _uses_lfs(repository: Repository, remote: str, commits: Sequence[str]) -> bool:
    """Tell whether Git LFS holds files of these commits, or of their history that the remote lacks."""
    git = repository.git
    files = [repository.common_dir / "info" / "attributes"]
    named = git.run("config", "--path", "--get", "core.attributesFile", check=False)
    if named.code == 0:
        files.append(git.cwd / named.text)
    if any(_mentions_lfs(file) for file in files):
        return True
    as_glob = {"GIT_LITERAL_PATHSPECS": "0"}
    words = ("grep", "--quiet", "--fixed-strings", "-e", _LFS_ATTRIBUTE, *commits, "--", _ATTRIBUTES)
    search = git.run(*words, check=False, env=as_glob)
    if search.code == 0:
        return True
    if search.code != 1:
        raise GitError(words, search.code, search.stderr)
    words = (
        *("log", "-1", "--format=%H", "-m", "--no-ext-diff", "--no-textconv", f"-G{_LFS_ATTRIBUTE}", *commits),
        *("--not", f"--remotes={remote}", "--", _ATTRIBUTES),
    )
    return bool(git.run(*words, env=as_glob).text)


def _mentions_lfs(file: Path) -> bool:
    try:
        return _LFS_ATTRIBUTE.encode() in file.read_bytes()
    except OSError:
        return False


def _reason(stderr: str, code: int) -> str:
    """Extract the reason from git's output: the refusal of the ref, or the fatal error."""
    lines = [line.strip() for line in stderr.splitlines()]
    reasons = [line for line in lines if line.startswith(("! [", "fatal:", "error:", "remote: error"))]
    return one_line(reasons[0] if reasons else lines[-1] if lines else f"exit code {code}", 200)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return one_line(lines[-1], 200) if lines else ""


def _setting(repository: Repository, name: str) -> str | None:
    output = repository.git.run("config", "--get", name, check=False)
    return output.text if output.code == 0 else None
