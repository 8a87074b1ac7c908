"""Who may have changed the main checkout: suspicion as far as the facts go, and no further.

Pure. The facts are when each agent ran, when a thing changed (as exactly as the file system tells), and what the tasks
and the agents' words name. A change while no agent ran is nobody's escape: users may edit during a run. Nothing here
proves that an agent did it; the words say what is known and leave it at that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from architect_parallel.text.quantities import summarize

CLOCK_S = 0.02
"""File times come from a clock that ticks at least a hundred times a second and lags behind by up to a tick."""

SETTING = "config: "
"""Before a key of git's configuration that is reported like a path; keys are in lower case."""
PLACES = ("HEAD", "index", "stash")
"""Names of what is no file and no ref; as words they mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing of the main checkout that is not as it was at the look before."""

    path: str
    """Below the root; or `HEAD`, `index`, `stash`, `refs/…`, `config: KEY`."""
    before: tuple[str, str] | None = None
    """Mode and object id of the file; `None`: there was none, or it is no file, or its content was not saved."""
    after: tuple[str, str] | None = None
    saved: bool = True
    """Whether a patch can hold it."""
    words: str = ""
    """What happened to it, where a patch does not say."""
    lost: str | None = None
    """The object that nothing names any more; `None`: nothing was lost."""
    earliest_s: float | None = None
    """Wall time before which it cannot have happened; `None`: the look before."""
    latest_s: float | None = None
    """Wall time after which it cannot have happened; `None`: now."""

    def followed_by(self, later: Change) -> Change:
        """Both as one; a change that was taken back since is shown as it was."""
        back = later.saved and self.saved and later.after == self.before and not later.words
        return Change(
            path=self.path,
            before=self.before,
            after=self.after if back else later.after,
            saved=self.saved and later.saved,
            words="; ".join(dict.fromkeys(each for each in (self.words, later.words) if each)),
            lost=self.lost or later.lost,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInterval:
    """The time in which a worker's agent ran, by the wall clock."""

    worker_id: int
    started_s: float
    """No later than the agent's start."""
    ended_s: float | None = None
    """No earlier than the end of its last process; `None`: it still runs."""


def running(stretches: Iterable[RunInterval], earliest_s: float, latest_s: float) -> tuple[int, ...]:
    """Ids of the workers whose agent ran at some moment between the two, sorted.

    >>> first, second = RunInterval(worker_id=1, started_s=0.0, ended_s=5.0), RunInterval(worker_id=2, started_s=7.0)
    >>> running([first, second], 6.0, 8.0)
    (2,)
    """
    found = {
        each.worker_id
        for each in stretches
        if each.started_s <= latest_s + CLOCK_S and (each.ended_s is None or each.ended_s >= earliest_s)
    }
    return tuple(sorted(found))


def programs_changed(keys: Sequence[str]) -> str:
    """The warning about entries of git's configuration that changed while agents ran.

    >>> programs_changed(["filter.x.clean"])
    "git's configuration changed while agents ran: filter.x.clean; not used until `architect config trust`"
    """
    return f"git's configuration changed while agents ran: {summarize(keys)}; not used until `architect config trust`"


class Mention(IntEnum):
    """How a text names a path."""

    NO = 0
    WORD = 1
    """As it is called in any worktree too."""
    PLACE = 2
    """As a place in the main checkout, which no worktree has."""


def mention(text: str, path: str, root: str, *, is_task: bool = False) -> Mention:
    """How `text` names `path` of the checkout at `root`: as a whole word, or absolutely.

    Args:
        is_task: A task that names the root itself, or climbs out of the worktree to it, means all of it; in output both
            are said too easily (a listing of worktrees, an import).

    >>> mention("look at src/a.py", "src/a.py", "/repo"), mention("cd /repo/src && rm a.py", "src/a.py", "/repo")
    (<Mention.WORD: 1>, <Mention.NO: 0>)
    >>> mention("I wrote /repo/src/a.py.", "src/a.py", "/repo")
    <Mention.PLACE: 2>
    """
    is_place = path in PLACES
    names = [] if is_place else [path.rstrip("/")]
    if path.startswith(SETTING):
        text, names = text.lower(), [path.removeprefix(SETTING)]
    if path.startswith("refs/"):
        names.append(path.split("/", 2)[-1])
    absolute = [f"{root.rstrip('/')}/{each}" for each in names]
    if any(_holds(text, each) for each in absolute):
        return Mention.PLACE
    if is_task and (_holds(text, root) or any(_climbs(text, each) for each in names) or (is_place and _leaves(text))):
        return Mention.PLACE
    return Mention.WORD if any(_holds(text, each) for each in names) else Mention.NO


def _holds(text: str, name: str) -> bool:
    """`name` as a whole word; a full stop, a slash at its end or a line number (`:3`) do not belong to it."""
    return name in text and re.search(rf"(?<![\w./~-]){re.escape(name)}(?!/?[\w~-]|/?\.[\w])", text) is not None


def _climbs(text: str, name: str) -> bool:
    return name in text and re.search(rf"(?:\.\./)+{re.escape(name)}(?![\w~/-]|\.\w)", text) is not None


def _leaves(text: str) -> bool:
    return re.search(r"(?<![\w./~-])(?:\.\./)*\.\.(?![\w.])", text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerText:
    """What is known of a worker's words."""

    task: str
    output: str = ""
    """What its agent printed, as far as it was kept; empty: nothing, or it still runs."""

    def mention(self, path: str, root: str) -> Mention:
        """The clearer one of both."""
        return max(mention(self.task, path, root, is_task=True), mention(self.output, path, root))


ALONE = "it was the only one running then"
NAMED = "its task or its output names it"


def blame(
    worker_id: int, path: str, root: str, suspects: Sequence[int], said: dict[int, WorkerText], *, alone: bool
) -> str:
    """Why this worker, and no other suspect, is held responsible for `path`, in words; empty: it is not.

    The only worker that ran is. So is one whose task or output names the path; where that is a name the path has in
    every worktree, it says something only when no other suspect was told or told of it.

    Args:
        said: Of every suspect.
        alone: No agent of another run ran then.
    """
    if worker_id not in suspects:
        return ""
    if alone and tuple(suspects) == (worker_id,):
        return ALONE
    mentions = {each: said[each].mention(path, root) for each in suspects}
    own = mentions.pop(worker_id)
    if own is Mention.PLACE or (own is Mention.WORD and not any(mentions.values())):
        return NAMED
    return ""
