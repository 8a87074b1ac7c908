"""Tasks from the issues of a forge, read with `gh` (GitHub) or `glab` (GitLab).

An issue's text comes from whoever could write it: the agent reads it as its task. Nothing is written to the forge.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from architect_parallel.domain import Task
from architect_parallel.errors import EnvironmentProblem, NothingToDo, UsageError
from architect_parallel.runs.workspace import Workspace
from architect_parallel.supervision.consume import run_command
from architect_parallel.text.forge_problems import forge_problem, says_missing
from architect_parallel.text.quantities import quoted
from architect_parallel.text.sanitize import one_line, plain_text

MOST_ISSUES = 100
_TIMEOUT_S = 120.0
_LARGEST_BYTES = 16 * 1024**2
_ISSUE = re.compile(r"#?[1-9][0-9]{0,17}|https?://\S+", re.ASCII)
_LABEL = re.compile(r'label:("[^"]*"|\S+)')
_QUIET = {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "GLAB_CHECK_UPDATE": "false", "NO_COLOR": "1"}


def tasks_of_issues(
    here: Workspace, issues: Sequence[str | int], query: str | None, repo: str | None
) -> tuple[Task, ...]:
    """A task for each issue: its title and text. `meta` has the number and the address of the issue.

    Args:
        issues: Numbers or addresses.
        query: A search for open issues, such as `label:agent`. `None` means no search.
        repo: `owner/name`. `None` means the repository of the checkout's remote.

    Raises:
        UsageError: An issue is no number, or there is none of this number.
        EnvironmentProblem: There is no `gh` or `glab`, or it fails.
        NothingToDo: No issue matches the query.
    """
    words = [str(issue) for issue in issues]
    for word in words:
        if not _ISSUE.fullmatch(word):
            raise UsageError(
                f"--issue {quoted(word)}: must be the number or the address of an issue", hint="--issue 12"
            )
    if repo is not None and (repo.startswith("-") or "/" not in repo):
        raise UsageError(f"--repo {quoted(repo)}: must be owner/name", hint="--repo owner/name")
    forge = _forge(here, repo)
    tasks = [_task(_read(here, forge, _view(forge, word.lstrip("#"), repo), word, repo), word) for word in words]
    if query is not None:
        listed = _read(here, forge, _list(forge, query, repo), query, repo)
        if not isinstance(listed, list):
            raise EnvironmentProblem(f"{forge} printed no list of issues", hint=f"{forge} issue list")
        if not listed:
            raise NothingToDo(f"no open issue matches {quoted(query)}", hint=f"{forge} issue list")
        tasks += [_task(issue, query) for issue in listed]
    return tuple(tasks)


def _forge(here: Workspace, repo: str | None) -> str:
    """The program to ask: `glab` for a remote of GitLab, else the one that is installed."""
    remote = here.repository.store.run("remote", "get-url", "origin", check=False).text
    first = "glab" if "gitlab" in (repo if repo and repo.count("/") > 1 else remote) else "gh"
    for name in (first, "glab" if first == "gh" else "gh"):
        if shutil.which(name, path=here.environ.get("PATH")) is not None:
            return name
    hint = f"install {first}, then `{first} auth login`"
    raise EnvironmentProblem(f"{first} is not installed: issues cannot be read", hint=hint)


def _view(forge: str, issue: str, repo: str | None) -> tuple[str, ...]:
    words = ("--json", "number,title,body,url") if forge == "gh" else ("--output", "json")
    return ("issue", "view", issue, *words, *_repo(repo))


def _list(forge: str, query: str, repo: str | None) -> tuple[str, ...]:
    if forge == "gh":
        words: tuple[str, ...] = (
            "--search",
            query,
            "--state",
            "open",
            "--limit",
            str(MOST_ISSUES),
            "--json",
            "number,title,body,url",
        )
        return ("issue", "list", *words, *_repo(repo))
    labels = [label.strip('"') for label in _LABEL.findall(query)]
    rest = _LABEL.sub("", query).strip()
    words = tuple(word for label in labels for word in ("--label", label)) + (("--search", rest) if rest else ())
    return ("issue", "list", *words, "--per-page", str(MOST_ISSUES), "--output", "json", *_repo(repo))


def _repo(repo: str | None) -> tuple[str, ...]:
    return () if repo is None else ("--repo", repo)


def _read(here: Workspace, forge: str, words: tuple[str, ...], asked: str, repo: str | None) -> Any:
    outcome = run_command(
        (forge, *words),
        cwd=here.repository.checkout or here.start,
        env={**here.environ, **_QUIET},
        timeout_s=_TIMEOUT_S,
        tail_bytes=_LARGEST_BYTES,
    )
    if outcome.timed_out:
        raise EnvironmentProblem(f"{forge} did not answer within {_TIMEOUT_S:.0f} s", hint=f"{forge} auth status")
    if outcome.exit_code != 0 and says_missing(outcome.output):
        where = f" in {repo}" if repo is not None else ""
        raise UsageError(f"{forge} knows no issue {quoted(asked)}{where}", hint=f"{forge} issue list")
    if outcome.exit_code != 0:
        what, remedy = forge_problem(forge, outcome.output)
        raise EnvironmentProblem(f"the issue could not be read: {what}", hint=remedy or f"{forge} auth status")
    try:
        return json.loads(outcome.stdout)
    except ValueError as error:
        what = f"{forge} printed no JSON: {one_line(outcome.stdout, 100)}"
        raise EnvironmentProblem(what, hint=f"{forge} --version") from error


def _task(issue: Any, asked: str) -> Task:
    data: Mapping[str, Any] = issue if isinstance(issue, dict) else {}
    number, title = data.get("number", data.get("iid")), data.get("title")
    if not isinstance(number, int) or not isinstance(title, str):
        raise EnvironmentProblem(f"the answer for {quoted(asked)} holds no issue", hint="--repo owner/name")
    text = data.get("body", data.get("description"))
    prompt = plain_text(f"{title}\n\n{text}" if isinstance(text, str) and text.strip() else title).strip()
    address = data.get("url", data.get("web_url"))
    meta = {"issue": {"number": number, "url": address if isinstance(address, str) else None}}
    return Task(prompt=prompt.replace("\0", ""), name=f"issue-{number}", meta=meta)
