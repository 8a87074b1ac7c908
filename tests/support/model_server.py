"""A model server on loopback for tests: it lets real agent CLIs work without network, keys or cost.

Speaks Anthropic Messages, OpenAI Responses, OpenAI Chat Completions and Gemini's generateContent, each plain and as
server-sent events. What the "model" does is steered by directives in the prompt, one reply each, then a final text:

    MOCK:write PATH      write PATH with the agent's own tool for files (its shell when it has none)
    MOCK:run COMMAND     run COMMAND with the agent's shell tool (one it was not offered is called all the same)
    MOCK:call NAME JSON  call the tool NAME with these arguments, offered or not (codex' of servers: NAMESPACE/NAME)
    MOCK:loop            run shell commands for ever
    MOCK:text WORDS      the final text; `\\n` in it ends a line
    MOCK:sleep SECONDS   wait before each reply
    MOCK:error STATUS    refuse every request with this HTTP status
    MOCK:error STATUS N  refuse so the first N requests of this prompt, then go on
    MOCK:hang            take the request and never answer
    MOCK:drop            cut the stream in the middle

An argument ends at the next `MOCK:` or the line's end. Every reply uses 1200 input tokens (200 of them cached) and 50
output tokens. Requests are kept in `ModelServer.requests`. Where a prompt repeats another's directives (a judge's, say)
or models are to differ, `ModelServer.script` tells what to do instead.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar

Json = dict[str, Any]

INPUT_TOKENS, CACHED_TOKENS, OUTPUT_TOKENS = 1200, 200, 50
SHELL_TOOLS = (
    *("Bash", "shell", "exec_command", "shell_command", "local_shell", "bash", "run_shell", "run_shell_command"),
)
WRITE_TOOLS = ("Write", "apply_patch", "write_file", "write")
_SHELL = {"properties": {"command": {"type": "string"}}}
_IDS = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request, whatever its dialect."""

    model: str
    stream: bool
    tools: dict[str, Json]
    """Name → JSON schema of the arguments; `{"free": True}` for tools that take free text."""
    texts: list[str]
    """Everything said so far, system prompt and results of tools included, in order."""
    prompt: str
    """The last user message with directives."""
    step: int
    """Tool calls since that message."""
    form: Json | None = None
    """JSON schema that the whole answer has to fit; `None`: it is free."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    text: str = ""
    tool: str | None = None
    arguments: Json | str = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """Stands for a tool call of the model in a conversation."""


def directives(prompt: str) -> list[tuple[str, str]]:
    """(word, argument) of each directive in `prompt`."""
    found = re.findall(r"MOCK:(\w+)([^\n]*?)(?=MOCK:|\n|$)", prompt)
    return [(word, argument.strip().rstrip("\"'`").strip()) for word, argument in found]


def answer(asked: Asked) -> Reply:
    """What the model says to this request."""
    plan: list[tuple[str, str]] = []
    final = f"Done after {asked.step} tool call(s)."
    for word, argument in directives(asked.prompt):
        if word in ("write", "run", "call"):
            plan.append((word, argument))
        elif word == "loop":
            plan += [("run", f"echo loop {number}") for number in range(asked.step + 2)]
        elif word == "text":
            final = argument.replace("\\n", "\n")
    if not asked.tools or asked.step >= len(plan):
        return Reply(text=final)
    word, argument = plan[asked.step]
    said = f"Step {asked.step + 1}: I will {word} {argument}"
    if word == "call":
        name, _, arguments = argument.partition(" ")
        return Reply(text=said, tool=name, arguments=json.loads(arguments))
    return _write(asked, argument, said) if word == "write" else _shell(asked, argument, said)


def _shell(asked: Asked, command: str, said: str) -> Reply:
    tool = next((name for name in SHELL_TOOLS if name in asked.tools), SHELL_TOOLS[0])
    return Reply(text=said, tool=tool, arguments=_arguments(asked.tools.get(tool, _SHELL), command=command))


def _write(asked: Asked, path: str, said: str) -> Reply:
    content = f"hello from {asked.model}\n"
    tool = next((name for name in WRITE_TOOLS if name in asked.tools), None)
    if tool is None:
        return _shell(asked, f"printf '%s\\n' '{content.strip()}' > '{path}'", said)
    if tool == "apply_patch":
        patch = f"*** Begin Patch\n*** Add File: {path}\n+{content}*** End Patch\n"
        return Reply(text=said, tool=tool, arguments=patch if asked.tools[tool].get("free") else {"input": patch})
    if tool == "Write" or "absolute" in json.dumps(asked.tools[tool]):  # takes absolute paths only
        path = os.path.join(_working_directory(asked), path)
    return Reply(text=said, tool=tool, arguments=_arguments(asked.tools[tool], path=path, content=content))


def _arguments(schema: Json, *, command: str = "", path: str = "", content: str = "") -> Json:
    meanings = {"command": command, "cmd": command, "content": content}
    meanings |= dict.fromkeys(("path", "file_path", "filePath"), path)
    arguments: Json = {}
    for name, about in schema.get("properties", {}).items():
        kind = about.get("type")
        if meanings.get(name):
            arguments[name] = ["bash", "-lc", command] if kind == "array" else meanings[name]
        elif about.get("enum"):
            arguments[name] = about["enum"][0]
        elif name in schema.get("required", ()):
            arguments[name] = {"string": "mock", "integer": 1000, "number": 1000, "boolean": False}.get(
                str(kind).lower(), []
            )
    return arguments


def _working_directory(asked: Asked) -> str:
    for text in asked.texts:
        found = re.search(
            r"(?:<cwd>|[Ww]orking directory: *|in the directory:? *`?|Workspace Directories:\**\s+- *)(/[^<`\n]+)", text
        )
        if found:
            return found[1].strip().rstrip(".")
    raise LookupError("the request names no working directory")


def _plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or () if isinstance(part, dict))


def _asked(
    body: Json, tools: dict[str, Json], said: Iterable[tuple[str, str] | Call], form: Json | None = None
) -> Asked:  # fmt: skip
    """`said`: (role, text) and calls in order."""
    texts: list[str] = []
    prompt, step = "", 0
    for each in said:
        if isinstance(each, Call):
            step += 1
            continue
        role, text = each
        texts.append(text)
        if role == "user" and ("MOCK:" in text or not prompt):
            prompt, step = text, 0
    stream = bool(body.get("stream"))
    model = body.get("model", "")
    return Asked(model=model, stream=stream, tools=tools, texts=texts, prompt=prompt, step=step, form=form)


class Anthropic:
    """https://docs.anthropic.com/en/api/messages and its streaming events."""

    named_events = True

    @staticmethod
    def read(body: Json) -> Asked:
        def said() -> Iterator[tuple[str, str] | Call]:
            yield "system", _plain(body.get("system"))
            for message in body.get("messages", ()):
                content = message["content"]
                yield message["role"], _plain(content)
                if isinstance(content, list):
                    yield from (Call() for part in content if part.get("type") == "tool_use")
                    yield from (("tool", json.dumps(part)) for part in content if part.get("type") == "tool_result")

        tools = {tool["name"]: tool.get("input_schema", {}) for tool in body.get("tools") or ()}
        return _asked(body, tools, said())

    @staticmethod
    def whole(asked: Asked, reply: Reply) -> Json:
        content: list[Json] = [{"type": "text", "text": reply.text}]
        if reply.tool:
            content.append(
                {"type": "tool_use", "id": f"toolu_{next(_IDS)}", "name": reply.tool, "input": reply.arguments}
            )
        usage = {
            "input_tokens": INPUT_TOKENS - CACHED_TOKENS,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": CACHED_TOKENS,
            "output_tokens": OUTPUT_TOKENS,
        }
        stop = "tool_use" if reply.tool else "end_turn"
        head = {"id": f"msg_{next(_IDS)}", "type": "message", "role": "assistant", "model": asked.model}
        return head | {"content": content, "stop_reason": stop, "stop_sequence": None, "usage": usage}

    @classmethod
    def events(cls, asked: Asked, reply: Reply) -> Iterator[Json]:
        message = cls.whole(asked, reply)
        begun = message | {"content": [], "stop_reason": None, "usage": message["usage"] | {"output_tokens": 1}}
        yield {"type": "message_start", "message": begun}
        for index, block in enumerate(message["content"]):
            if block["type"] == "text":
                empty, delta = block | {"text": ""}, {"type": "text_delta", "text": block["text"]}
            else:
                empty = block | {"input": {}}
                delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            yield {"type": "content_block_start", "index": index, "content_block": empty}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
        yield {"type": "message_delta", "delta": ended, "usage": message["usage"]}
        yield {"type": "message_stop"}


class Responses:
    """https://platform.openai.com/docs/api-reference/responses and its streaming events."""

    named_events = True

    @staticmethod
    def read(body: Json) -> Asked:
        def said() -> Iterator[tuple[str, str] | Call]:
            yield "system", body.get("instructions") or ""
            given = body.get("input")
            for item in [{"role": "user", "content": given}] if isinstance(given, str) else given or ():
                if item.get("type", "message") == "message":
                    yield item.get("role", ""), _plain(item.get("content"))
                elif item["type"] in ("function_call", "custom_tool_call", "local_shell_call"):
                    yield Call()
                elif item["type"] in ("function_call_output", "custom_tool_call_output"):
                    yield "tool", json.dumps(item)

        tools = {}
        for tool in body.get("tools") or ():
            if tool.get("type") in ("function", "custom"):
                tools[tool["name"]] = {"free": True} if tool["type"] == "custom" else tool.get("parameters", {})
        return _asked(body, tools, said())

    @staticmethod
    def whole(asked: Asked, reply: Reply) -> Json:
        text = {"type": "output_text", "text": reply.text, "annotations": []}
        done = {"status": "completed"}
        output: list[Json] = [
            done | {"type": "message", "id": f"msg_{next(_IDS)}", "role": "assistant", "content": [text]}
        ]
        if reply.tool:
            call_id = f"call_{next(_IDS)}"
            space, _, name = reply.tool.rpartition("/")
            call = done | {"id": f"fc_{call_id}", "call_id": call_id, "name": name}
            call |= {"namespace": space} if space else {}
            if isinstance(reply.arguments, str):
                output.append(call | {"type": "custom_tool_call", "input": reply.arguments})
            else:
                output.append(call | {"type": "function_call", "arguments": json.dumps(reply.arguments)})
        usage = {
            "input_tokens": INPUT_TOKENS,
            "input_tokens_details": {"cached_tokens": CACHED_TOKENS},
            "output_tokens": OUTPUT_TOKENS,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        }
        head = {"id": f"resp_{next(_IDS)}", "object": "response", "created_at": 0, "model": asked.model}
        return head | done | {"error": None, "output": output, "usage": usage}

    @classmethod
    def events(cls, asked: Asked, reply: Reply) -> Iterator[Json]:
        whole = cls.whole(asked, reply)
        sequence = itertools.count()

        def event(kind: str, **content: Any) -> Json:
            return {"type": kind, "sequence_number": next(sequence), **content}

        yield event("response.created", response=whole | {"status": "in_progress", "output": [], "usage": None})
        for index, item in enumerate(whole["output"]):
            yield event("response.output_item.added", output_index=index, item=item | {"status": "in_progress"})
            if item["type"] == "message":
                place = {"item_id": item["id"], "output_index": index, "content_index": 0}
                yield event("response.output_text.delta", **place, delta=reply.text)
            yield event("response.output_item.done", output_index=index, item=item)
        yield event("response.completed", response=whole)


class Chat:
    """https://platform.openai.com/docs/api-reference/chat and its streaming chunks."""

    named_events = False

    @staticmethod
    def read(body: Json) -> Asked:
        def said() -> Iterator[tuple[str, str] | Call]:
            for message in body.get("messages", ()):
                yield message["role"], _plain(message.get("content"))
                yield from (Call() for _ in message.get("tool_calls") or ())

        functions = [tool["function"] for tool in body.get("tools") or () if tool.get("type") == "function"]
        return _asked(body, {each["name"]: each.get("parameters", {}) for each in functions}, said())

    @staticmethod
    def whole(asked: Asked, reply: Reply) -> Json:
        message: Json = {"role": "assistant", "content": reply.text}
        if reply.tool:
            function = {"name": reply.tool, "arguments": json.dumps(reply.arguments)}
            message["tool_calls"] = [{"id": f"call_{next(_IDS)}", "type": "function", "function": function}]
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if reply.tool else "stop"}
        usage = {
            "prompt_tokens": INPUT_TOKENS,
            "completion_tokens": OUTPUT_TOKENS,
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
            "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        }
        head = {"id": f"chatcmpl_{next(_IDS)}", "object": "chat.completion", "created": 0, "model": asked.model}
        return head | {"choices": [choice], "usage": usage}

    @classmethod
    def events(cls, asked: Asked, reply: Reply) -> Iterator[Json]:
        whole = cls.whole(asked, reply)
        (choice,) = whole["choices"]
        message = choice["message"]
        calls = [call | {"index": index} for index, call in enumerate(message.pop("tool_calls", ()))]
        head = whole | {"object": "chat.completion.chunk", "usage": None}
        for delta in (message, *({"tool_calls": [call]} for call in calls)):
            yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
        yield head | {"choices": [], "usage": whole["usage"]}


class Gemini:
    """https://ai.google.dev/api/generate-content: the model and whether to stream stand in the path."""

    named_events = False

    @staticmethod
    def read(body: Json) -> Asked:
        def text(content: Json) -> str:
            return "\n".join(part["text"] for part in content.get("parts", ()) if isinstance(part.get("text"), str))

        def said() -> Iterator[tuple[str, str] | Call]:
            yield "system", text(body.get("systemInstruction") or {})
            for content in body.get("contents", ()):
                calls = [part for part in content.get("parts", ()) if "functionCall" in part]
                if text(content):
                    yield content.get("role", "user"), text(content)
                yield from (Call() for _ in calls)
                yield from (("tool", json.dumps(part)) for part in content["parts"] if "functionResponse" in part)

        functions = [each for tool in body.get("tools") or () for each in tool.get("functionDeclarations") or ()]
        schemas = {each["name"]: each.get("parametersJsonSchema") or each.get("parameters") or {} for each in functions}
        settings = body.get("generationConfig") or {}
        return _asked(body, schemas, said(), settings.get("responseJsonSchema") or settings.get("responseSchema"))

    @staticmethod
    def whole(asked: Asked, reply: Reply) -> Json:
        parts: list[Json] = [{"text": reply.text if asked.form is None else json.dumps(_arguments(asked.form))}]
        if reply.tool:
            parts.append({"functionCall": {"name": reply.tool, "args": reply.arguments, "id": f"call_{next(_IDS)}"}})
        usage = {
            "promptTokenCount": INPUT_TOKENS,
            "cachedContentTokenCount": CACHED_TOKENS,
            "candidatesTokenCount": OUTPUT_TOKENS,
            "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
        }
        candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": asked.model}

    @classmethod
    def events(cls, asked: Asked, reply: Reply) -> Iterator[Json]:
        whole = cls.whole(asked, reply)
        (candidate,) = whole["candidates"]
        first, *rest = candidate["content"]["parts"]
        yield {"candidates": [{"content": {"role": "model", "parts": [first]}, "index": 0}]}
        yield whole | {"candidates": [candidate | {"content": {"role": "model", "parts": rest or [{"text": ""}]}}]}


Dialect = type[Anthropic] | type[Responses] | type[Chat] | type[Gemini]
DIALECTS: dict[str, Dialect] = {
    "/messages": Anthropic,
    "/responses": Responses,
    "/chat/completions": Chat,
    ":generateContent": Gemini,
    ":streamGenerateContent": Gemini,
}


class ModelServer:
    """`with ModelServer() as server:` serves at `server.url` until the block ends."""

    def __init__(self) -> None:
        self.requests: list[Asked] = []
        self.keys: list[str] = []
        """The key of each request."""
        self.refused: Counter[str] = Counter()
        self.script: Callable[[Asked], str | None] = lambda asked: None
        """Directives that take the place of the prompt's; `None`: the prompt's own hold."""
        self.released = threading.Event()
        handler = type("BoundHandler", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        """Base address; OpenAI clients want `/v1` after it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.released.set()  # those that hang or sleep
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a client that keeps its connection open must not keep the tests from ending
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: ClassVar[ModelServer]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._send({})

    def do_GET(self) -> None:
        self._send({"data": [], "models": []})

    def do_POST(self) -> None:
        path = self.path.split("?")[0]
        body = json.loads(self._body() or b"{}")
        dialect = next((each for end, each in DIALECTS.items() if path.endswith(end)), None)
        if dialect is None:
            counted = {"input_tokens": INPUT_TOKENS, "totalTokens": INPUT_TOKENS}
            self._send(counted if path.lower().endswith(("/count_tokens", ":counttokens")) else {}, 200)
            return
        gemini = re.search(r"/models/([^/:]+):(stream)?", path)
        if gemini:
            body |= {"model": gemini[1], "stream": gemini[2] is not None}
        asked = dialect.read(body)
        self.owner.requests.append(asked)
        headers = (self.headers.get(name) for name in ("authorization", "x-api-key", "x-goog-api-key"))
        self.owner.keys += [value.removeprefix("Bearer ") for value in headers if value]
        instead = self.owner.script(asked)
        asked = asked if instead is None else replace(asked, prompt=instead)
        told = dict(directives(asked.prompt))
        if asked.tools and "hang" in told:
            self.owner.released.wait()
            self.close_connection = True
            return
        self.owner.released.wait(float(told.get("sleep") or 0))
        if "error" in told and self._refuses(asked, *told["error"].split()):
            status = int(told["error"].split()[0])
            kind = "rate_limit_error" if status == 429 else "api_error"
            self._send({"type": "error", "error": {"type": kind, "message": "refused", "code": status}}, status)
        elif asked.stream:
            self._stream(dialect, asked, cut="drop" in told)
        else:
            self._send(dialect.whole(asked, answer(asked)))

    def _refuses(self, asked: Asked, status: str, times: str | None = None) -> bool:
        if times is None:
            return True
        self.owner.refused[asked.prompt] += bool(asked.tools)
        return bool(asked.tools) and self.owner.refused[asked.prompt] <= int(times)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, content: Json, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _stream(self, dialect: Dialect, asked: Asked, *, cut: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        events = list(dialect.events(asked, answer(asked)))
        for event in events[: len(events) // 2] if cut else events:
            name = f"event: {event['type']}\n" if dialect.named_events else ""
            self.wfile.write(f"{name}data: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()
        if dialect is Chat and not cut:
            self.wfile.write(b"data: [DONE]\n\n")
