"""Real models through pydantic-ai's model layer: it knows each provider's wire format, the loop is ours.

Only the SDK of the requested provider is imported (`import pydantic_ai` costs 0.6 s of CPU, OpenAI's 0.9 s, Anthropic's
1.8 s). Retries are few: a launcher that sees `rate_limited` at once can decide, an SDK that waits for minutes looks
hung. Keys come from the environment and are passed to the SDK only.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from architect_parallel.agent.conversation import Finish, ModelFailure, Reply, ToolCall, ToolResult
from architect_parallel.agent.tools import ToolSpec
from architect_parallel.backends.providers import COMPATIBLE, INSTALL_AGENT, ModelChoice
from architect_parallel.domain import Price, Usage
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.system.prices import cost_usd
from architect_parallel.text.sanitize import one_line

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelRequestPart, ModelResponse
    from pydantic_ai.models import Model, ModelRequestParameters
    from pydantic_ai.settings import ModelSettings

MAX_RETRIES = 1
REQUEST_TIMEOUT_S = 600.0
STOPPED = "The session was stopped here: this may or may not have been done. Look before you rely on it."


class ProviderConversation:
    """A provider's model and the messages so far."""

    def __init__(
        self,
        model: Model,
        name: str,
        instructions: str,
        parameters: ModelRequestParameters,
        prices: Mapping[str, Price],
        secrets: tuple[str, ...],
    ) -> None:
        self.model = name
        self._model = model
        self._instructions = instructions
        self._parameters = parameters
        self._prices = prices
        self._secrets = secrets
        self._messages: list[ModelMessage] = []
        self._settings: ModelSettings = {"timeout": REQUEST_TIMEOUT_S, "max_retries": MAX_RETRIES}
        if model.system == "anthropic":
            # Every step sends the whole conversation again; without a cache a long task costs ten times as much.
            # OpenAI, Google and DeepSeek cache by themselves.
            self._settings["cache"] = True

    async def start(self, task: str) -> Reply:
        from pydantic_ai.messages import UserPromptPart

        return await self._ask([*self._unanswered(), UserPromptPart(task)])

    async def proceed(self, results: tuple[ToolResult, ...]) -> Reply:
        from pydantic_ai.messages import ToolReturnPart

        return await self._ask(
            [
                ToolReturnPart(tool_name=result.call.tool, content=_sendable(result.text), tool_call_id=result.call.id)
                for result in results
            ]
        )

    def saved(self) -> Any:
        from pydantic_ai.messages import ModelMessagesTypeAdapter

        return {"messages": ModelMessagesTypeAdapter.dump_python(self._answered, mode="json")}

    def take_up(self, saved: Any) -> None:
        from pydantic_ai.messages import ModelMessagesTypeAdapter

        if not isinstance(saved, dict) or "messages" not in saved:
            raise ValueError("not the messages of a provider's model")
        # By its JSON, where bytes and times have a form of their own. pydantic's errors are ValueErrors.
        self._messages = ModelMessagesTypeAdapter.validate_json(json.dumps(saved["messages"]))

    @property
    def _answered(self) -> list[ModelMessage]:
        """The messages up to the last reply. A resumed session asks a failed question again."""
        messages = self._messages
        return messages[:-1] if messages and messages[-1].kind == "request" else messages

    def _unanswered(self) -> list[ModelRequestPart]:
        """A result for each call that the last reply still waits for: every provider requires one."""
        from pydantic_ai.messages import ToolCallPart, ToolReturnPart

        parts = self._messages[-1].parts if self._messages and self._messages[-1].kind == "response" else ()
        return [
            ToolReturnPart(tool_name=part.tool_name, content=STOPPED, tool_call_id=part.tool_call_id)
            for part in parts
            if isinstance(part, ToolCallPart)
        ]

    async def _ask(self, parts: list[ModelRequestPart]) -> Reply:
        from pydantic_ai.direct import model_request
        from pydantic_ai.exceptions import AgentRunError, UserError
        from pydantic_ai.messages import ModelRequest

        self._messages.append(ModelRequest(parts=parts, instructions=self._instructions))
        try:
            response = await model_request(
                self._model,
                self._messages,
                model_settings=self._settings,
                model_request_parameters=self._parameters,
            )
        except UserError as error:
            raise ModelFailure(self._told(error)) from error
        except AgentRunError as error:
            status = getattr(error, "status_code", None)
            raise ModelFailure(
                self._told(error),
                # 529: Anthropic's word for the same.
                rate_limited=status in (429, 529),
                retry_after_s=getattr(error, "retry_after", None),
            ) from error
        self._messages.append(response)
        return self._reply(response)

    def _told(self, error: Exception) -> str:
        """One line of an error, without the key, which some servers repeat in their answer."""
        status, body = getattr(error, "status_code", None), getattr(error, "body", None)
        text = f"HTTP {status}: {_message(body) or 'no reason given'}" if status else str(error)
        for secret in self._secrets:  # before the line is cut, or the first half of a key would pass
            text = text.replace(secret, "[redacted]")
        return one_line(text)

    def _reply(self, response: ModelResponse) -> Reply:
        from pydantic_ai.messages import TextPart, ToolCallPart

        calls = tuple(
            ToolCall(id=part.tool_call_id, tool=part.tool_name, arguments=_arguments(part.args))
            for part in response.parts
            if isinstance(part, ToolCallPart)
        )
        used = response.usage
        usage = Usage(
            input_tokens=used.input_tokens,
            cached_tokens=used.cache_read_tokens,
            cache_write_tokens=used.cache_write_tokens,
            output_tokens=used.output_tokens,
        )
        counted = used.input_tokens > 0 or used.output_tokens > 0  # a server that counts nothing is not free
        cost = cost_usd(usage, self.model, self._prices) if counted else None
        if cost is None and counted and response.model_name:
            cost = cost_usd(usage, response.model_name, self._prices)
        finish = {"length": Finish.CUT, "content_filter": Finish.REFUSED}.get(response.finish_reason or "", Finish.DONE)
        text = "\n".join(part.content for part in response.parts if isinstance(part, TextPart))
        return Reply(text=text, calls=calls, usage=usage, cost=cost, finish=finish)


def open_conversation(
    choice: ModelChoice,
    instructions: str,
    specs: tuple[ToolSpec, ...],
    environ: Mapping[str, str],
    prices: Mapping[str, Price],
) -> ProviderConversation:
    """Open a new conversation with a provider's model.

    Raises:
        EnvironmentProblem: The `[agent]` extra or the provider's SDK is missing, or the SDK refuses its settings.
        UsageError: pydantic-ai does not know the provider.
    """
    if importlib.util.find_spec("pydantic_ai") is None:
        raise EnvironmentProblem("the embedded agent's extra is not installed", hint=INSTALL_AGENT)
    from pydantic_ai.exceptions import UserError
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.tools import ToolDefinition

    try:
        model = _model(choice, environ)
    except ImportError as error:
        raise EnvironmentProblem(
            f"the SDK for {choice.provider.name} is not installed: {error}", hint=INSTALL_AGENT
        ) from error
    except UserError as error:
        if str(error).startswith("Unknown model"):
            raise UsageError(f"unknown provider {choice.provider.name!r}", hint="--model openai:gpt-4o") from error
        raise EnvironmentProblem(one_line(str(error)), hint="set the provider's key") from error
    definitions = [
        ToolDefinition(name=spec.name, description=spec.description, parameters_json_schema=spec.schema, strict=False)
        for spec in specs
    ]
    secrets = tuple(value for name, value in environ.items() if re.search("KEY|TOKEN|SECRET", name) and len(value) >= 8)
    parameters = ModelRequestParameters(function_tools=definitions)
    return ProviderConversation(model, choice.model, instructions, parameters, prices, secrets)


def _model(choice: ModelChoice, environ: Mapping[str, str]) -> Model:
    from pydantic_ai.models import infer_model

    if choice.provider.name != COMPATIBLE:
        return infer_model(f"{choice.provider.name}:{choice.model}")
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    key = next((environ[name] for name in choice.provider.keys if environ.get(name)), "none")
    return OpenAIChatModel(choice.model, provider=OpenAIProvider(base_url=choice.api_base, api_key=key))


def _message(body: object) -> str:
    """The text in an error's body. Providers put it at `message` or `error.message`."""
    if isinstance(body, dict):
        inner = body.get("error")
        return _message(inner) if isinstance(inner, dict) else str(body.get("message") or inner or "")
    return str(body or "")


def _arguments(given: object) -> dict[str, Any] | None:
    if isinstance(given, str):
        try:
            given = json.loads(given or "{}")
        except (ValueError, RecursionError):
            return None
    if given is None:
        return {}
    return given if isinstance(given, dict) else None


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
