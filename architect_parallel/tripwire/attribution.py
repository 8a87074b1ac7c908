"""Find the workers that may have changed the main checkout.

Pure. The facts are the time in which each agent ran, the time of a change (as exact as the file system records it), and
the paths that tasks and agents' output name. A change while no agent ran is no escape: users may edit during a run.
Nothing here proves that an agent made a change. The messages state only the facts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from architect_parallel.text.quantities import summarize

CLOCK_S = 0.02
"""Seconds by which file times may lag: their clock ticks at least a hundred times a second."""

SETTING = "config: "
"""Prefix of a key of git's configuration that is reported like a path. Keys are in lower case."""
PLACES = ("HEAD", "index", "stash")
"""Names that are neither files nor refs. In a text, such a word alone means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutChange:
    """A difference in the main checkout since the scan before."""

    path: str
    """A path below the root, or `HEAD`, `index`, `stash`, `refs/…`, `config: KEY`."""
    before: tuple[str, str] | None = None
    """Mode and object id of the file. `None` means that there was none, it is no file, or it was not saved."""
    after: tuple[str, str] | None = None
    saved: bool = True
    """True if a patch can contain it."""
    words: str = ""
    """A description of the change, if a patch does not show it."""
    lost: str | None = None
    """The object that no ref names any more. `None` means that nothing was lost."""
    earliest_s: float | None = None
    """Earliest possible time, in seconds since the epoch. `None` means the scan before."""
    latest_s: float | None = None
    """Latest possible time, in seconds since the epoch. `None` means now."""

    def followed_by(self, later: CheckoutChange) -> CheckoutChange:
        """Join both changes. A change that was reverted since is shown without a difference."""
        back = later.saved and self.saved and later.after == self.before and not later.words
        return CheckoutChange(
            path=self.path,
            before=self.before,
            after=self.after if back else later.after,
            saved=self.saved and later.saved,
            words="; ".join(dict.fromkeys(words for words in (self.words, later.words) if words)),
            lost=self.lost or later.lost,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInterval:
    """The time in which a worker's agent ran, in seconds since the epoch."""

    worker_id: int
    started_s: float
    """No later than the agent's start."""
    ended_s: float | None = None
    """No earlier than the end of its last process. `None` means that it still runs."""


def running(intervals: Iterable[RunInterval], earliest_s: float, latest_s: float) -> tuple[int, ...]:
    """Ids of the workers whose agent ran at some moment between the two, sorted.

    >>> first, second = RunInterval(worker_id=1, started_s=0.0, ended_s=5.0), RunInterval(worker_id=2, started_s=7.0)
    >>> running([first, second], 6.0, 8.0)
    (2,)
    """
    worker_ids = {
        interval.worker_id
        for interval in intervals
        if interval.started_s <= latest_s + CLOCK_S and (interval.ended_s is None or interval.ended_s >= earliest_s)
    }
    return tuple(sorted(worker_ids))


def programs_changed(keys: Sequence[str]) -> str:
    """The warning about entries of git's configuration that changed while agents ran.

    >>> programs_changed(["filter.x.clean"])
    "git's configuration changed while agents ran: filter.x.clean; not used until `architect config trust`"
    """
    return f"git's configuration changed while agents ran: {summarize(keys)}; not used until `architect config trust`"


class Mention(IntEnum):
    """The way in which a text names a path."""

    NO = 0
    WORD = 1
    """By a name that the path has in every worktree."""
    PLACE = 2
    """By a name that only the path in the main checkout has."""


def mention(text: str, path: str, root: str, *, is_task: bool = False) -> Mention:
    """Find how `text` names `path` of the checkout at `root`: as a whole word, or by its absolute path.

    Args:
        is_task: The text is a task. A task that names the root, or a path `..` out of the worktree, means the whole
            checkout. In output, both are too common to mean that (a listing of worktrees, an import).

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
    absolute = [f"{root.rstrip('/')}/{name}" for name in names]
    if any(_contains(text, name) for name in absolute):
        return Mention.PLACE
    leaves_worktree = any(_climbs(text, name) for name in names) or (is_place and _leaves(text))
    if is_task and (_contains(text, root) or leaves_worktree):
        return Mention.PLACE
    return Mention.WORD if any(_contains(text, name) for name in names) else Mention.NO


def _contains(text: str, name: str) -> bool:
    """Return whether `name` is in the text as a whole word, maybe with a full stop, a slash or `:3` at its end."""
    return name in text and re.search(rf"(?<![\w./~-]){re.escape(name)}(?!/?[\w~-]|/?\.[\w])", text) is not None


def _climbs(text: str, name: str) -> bool:
    return name in text and re.search(rf"(?:\.\./)+{re.escape(name)}(?![\w~/-]|\.\w)", text) is not None


def _leaves(text: str) -> bool:
    return re.search(r"(?<![\w./~-])(?:\.\./)*\.\.(?![\w.])", text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerText:
    """The task of a worker and the output of its agent."""

    task: str
    output: str = ""
    """The saved part of the output. Empty means that there is none, or that the agent still runs."""

    def mention(self, path: str, root: str) -> Mention:
        """The clearer mention of the two texts."""
        return max(mention(self.task, path, root, is_task=True), mention(self.output, path, root))


ALONE = "it was the only one running then"
NAMED = "its task or its output names it"


def blame(
    worker_id: int, path: str, root: str, suspects: Sequence[int], texts: dict[int, WorkerText], *, alone: bool
) -> str:
    """The reason, in words, to hold this worker responsible for `path`. Empty means that there is none.

    The only worker that ran is responsible. So is one whose task or output names the path. A name that the path has in
    every worktree counts only if no other suspect's texts have it.

    Args:
        texts: The texts of every suspect, by worker id.
        alone: No agent of another run was running then.
    """
    if worker_id not in suspects:
        return ""
    if alone and tuple(suspects) == (worker_id,):
        return ALONE
    mentions = {suspect: texts[suspect].mention(path, root) for suspect in suspects}
    own = mentions.pop(worker_id)
    if own is Mention.PLACE or (own is Mention.WORD and not any(mentions.values())):
        return NAMED
    return ""
