"""System prompts of the embedded agent, one per profile, and whether the profile may change anything."""

from __future__ import annotations

from dataclasses import dataclass

COMMON = """You are a coding agent working alone, without a person to ask, in the directory {directory}, a git worktree
of your own. Use the tools; look before you change something. Paths are relative to that directory, and nothing outside
it is yours. When the task is done, reply without a tool call and say in a few sentences what you found or did, and what
you could not do. Never claim something works that you have not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A built-in agent profile."""

    instructions: str
    read_only: bool


PROFILES = {
    "build": Profile(
        instructions="Do the task: change the files, run the project's tests, and leave the tree in a state that "
        "can be committed. Do not commit, push or switch branches: what you leave is collected.",
        read_only=False,
    ),
    "plan": Profile(
        instructions="Do not do the task: you can only read. Work out how it would be done in this code base, and "
        "reply with a plan: the steps in order, the files of each, the risks, how to test it.",
        read_only=True,
    ),
    "review": Profile(
        instructions="Review what the task names; you can only read. Reply with your findings, the gravest first, each "
        "with file and line, why it is wrong, and what would be right.",
        read_only=True,
    ),
}


def system_prompt(profile: Profile, directory: str, extra: str | None) -> str:
    """The whole system prompt. `extra` is the user's addition."""
    parts = (COMMON.format(directory=directory), profile.instructions, extra or "")
    return "\n\n".join(part for part in parts if part)
