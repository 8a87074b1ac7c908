"""Models whose replies are read from a file, so that tests and the demo run offline through the real agent.

The file (`ARCHITECT_SCRIPTED_MODELS`, else the demo's own) is YAML or JSON:

    right:
      price: {input_per_mtok: 2.5, output_per_mtok: 10}       # without one the cost is unknown
      repeat: false                                           # true: from the start again for ever
      steps:
        - {text: "Looking.", tool: read, args: {path: a.py}, usage: {input_tokens: 900, output_tokens: 40}}
        - {tools: [{tool: shell, args: {command: "{prompt}"}}, {tool: list}], sleep: 0.2}
        - {error: {status: 429, message: "slow down", retry_after: 3}}
        - {text: "Done."}

Each entry is one reply. One without a tool ends the task, and so does the end of the list. `{prompt}` in an argument
stands for the task, `{messages}` in a text for the number of messages the model was given: tasks, results of calls, and
its own replies. `sleep` is how many seconds the reply takes. In a resumed session the script goes on with the entry
after the last reply, and where that was the last entry, from the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from architect_parallel.agent.conversation import ModelFailure, Reply, ToolCall, ToolResult
from architect_parallel.domain import Price, Usage
from architect_parallel.errors import UsageError
from architect_parallel.system.prices import cost_usd

MODELS_VARIABLE = "ARCHITECT_SCRIPTED_MODELS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedStep:
    """One entry of a script."""

    text: str
    tools: tuple[tuple[str, Mapping[str, Any]], ...]
    usage: Usage
    sleep_s: float
    failure: ModelFailure | None


class ScriptedConversation:
    """Replays one scripted model."""

    def __init__(self, name: str, script: Mapping[str, Any]) -> None:
        self.model = f"scripted:{name}"
        self._steps = tuple(_step(item) for item in script["steps"])
        self._repeat = bool(script.get("repeat", False))
        price = script.get("price")
        self._prices = {} if price is None else {self.model: Price(**price)}
        self._next = 0
        self._task = ""
        self._messages = 0
        self._said = (0, 0)
        """The next entry and the number of messages after the last reply."""

    async def start(self, task: str) -> Reply:
        self._task = task
        self._messages += 1
        return await self._reply()

    async def proceed(self, results: tuple[ToolResult, ...]) -> Reply:
        self._messages += len(results)
        return await self._reply()

    def saved(self) -> Any:
        return {"next": self._said[0], "messages": self._said[1]}

    def take_up(self, saved: Any) -> None:
        if not isinstance(saved, dict) or not all(type(saved.get(key)) is int for key in ("next", "messages")):
            raise ValueError("not what a scripted model said")
        self._next = saved["next"] if 0 <= saved["next"] < len(self._steps) else 0
        self._messages = saved["messages"]
        self._said = (self._next, self._messages)

    async def _reply(self) -> Reply:
        if self._next >= len(self._steps):
            if not self._repeat:
                return Reply(usage=Usage(input_tokens=0, cached_tokens=0, output_tokens=0), cost=0.0)
            self._next = 0
        step = self._steps[self._next]
        self._next += 1
        await asyncio.sleep(step.sleep_s)
        if step.failure is not None:
            raise step.failure
        calls = tuple(
            ToolCall(id=f"call-{self._next}-{place}", tool=tool, arguments=self._filled(arguments))
            for place, (tool, arguments) in enumerate(step.tools)
        )
        cost = cost_usd(step.usage, self.model, self._prices) if self._prices else None
        text = step.text.replace("{messages}", str(self._messages))
        self._messages += 1
        self._said = (self._next, self._messages)
        return Reply(text=text, calls=calls, usage=step.usage, cost=cost)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("{prompt}", self._task)
        if isinstance(value, Mapping):
            return {key: self._filled(item) for key, item in value.items()}
        return value


def scripted_conversation(name: str, environ: Mapping[str, str]) -> ScriptedConversation:
    """Load the scripted model `name` from the file in use.

    Raises:
        UsageError: There is no such file or model, or it does not have the form above.
    """
    from yaml import YAMLError

    path = environ.get(MODELS_VARIABLE)
    origin = path or "the demo's models"
    try:
        text = Path(path).read_text("utf-8") if path else _bundled()
        models = _parse(text)
        script = models.get(name)
        if script is None:
            known = ", ".join(f"scripted:{model}" for model in models)
            raise UsageError(f"{origin} has no scripted model {name!r}", hint=f"one of {known}")
        return ScriptedConversation(name, _checked(script))
    except (OSError, UnicodeDecodeError, YAMLError, ValueError, TypeError, KeyError) as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"scripted models in {origin} cannot be used: {what}", hint=f"fix {origin}") from error


def _bundled() -> str:
    return resources.files("architect_parallel.agent.demo").joinpath("models.yaml").read_text("utf-8")


def _parse(text: str) -> dict[str, Any]:
    import yaml

    models = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if not isinstance(models, dict):
        raise ValueError("it is not a mapping of model names")
    return models


def _checked(script: Any) -> dict[str, Any]:
    if not isinstance(script, dict) or not isinstance(script.get("steps"), list) or not script["steps"]:
        raise ValueError("a scripted model needs `steps`, a list that is not empty")
    return script


def _step(given: Any) -> ScriptedStep:
    entry = _mapping(given, "a step")
    unknown = set(entry) - {"text", "tool", "tools", "args", "usage", "sleep", "error"}
    if unknown:
        raise ValueError(f"unknown keys in a step: {', '.join(sorted(map(str, unknown)))}")
    named = [entry] if "tool" in entry else [_mapping(item, "a tool") for item in entry.get("tools", ())]
    usage = _mapping(entry.get("usage", {}), "usage")
    return ScriptedStep(
        text=str(entry.get("text", "")),
        tools=tuple((str(element["tool"]), _mapping(element.get("args", {}), "args")) for element in named),
        usage=Usage(
            input_tokens=int(usage.get("input_tokens", 1000)),
            cached_tokens=int(usage.get("cached_tokens", 0)),
            output_tokens=int(usage.get("output_tokens", 50)),
        ),
        sleep_s=float(entry.get("sleep", 0)),
        failure=_failure(_mapping(entry["error"], "error")) if "error" in entry else None,
    )


def _failure(error: Mapping[str, Any]) -> ModelFailure:
    status, message = error.get("status"), str(error.get("message", ""))
    after = error.get("retry_after")
    return ModelFailure(
        f"HTTP {status}: {message}" if status else message,
        rate_limited=status == 429,
        retry_after_s=None if after is None else float(after),
    )


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is a mapping, not {value!r}")
    return value
