"""A scripted ACP agent, as a program: `python acp_agent.py`. The prompt is its program, one directive on a line.

    say WORDS             send a piece of a message
    ask KIND PATH         ask for permission, then write PATH itself if it may
    read PATH, write PATH WORDS   through the client
    cost USD              report the cost so far
    wait                  wait to be cancelled
    stop REASON           end the turn with this reason
    die CODE              exit at once

It answers `session/load` for every session, and says its history again as real agents do.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

Json = dict[str, Any]


def main() -> None:
    """Serve until the end of stdin."""
    while message := receive():
        method, params = message.get("method"), message.get("params", {})
        match method:
            case "initialize":
                print("a warning on stdout, as some agents print it", flush=True)
                reply(message, {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}})
            case "session/new" if os.environ.get("ACP_LOCKED"):
                send(id=message["id"], error={"code": -32000, "message": "Authentication required"})
            case "session/new":
                models = {"currentModelId": "small", "availableModels": [{"modelId": "small"}, {"modelId": "large"}]}
                reply(message, {"sessionId": "s-1", "models": models})
            case "session/load":
                update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": "an old answer"})
                reply(message, {})
            case "session/set_model" if params["modelId"] not in ("small", "large"):
                send(id=message["id"], error={"code": -32602, "message": "no such model"})
            case "session/prompt":
                reply(message, {"stopReason": play(params["prompt"][0]["text"])})
            case _ if "id" in message:
                reply(message, {})


def play(script: str) -> str:
    """Act out the prompt and return the reason to stop."""
    for number, line in enumerate(script.splitlines()):
        word, _, rest = line.partition(" ")
        match word:
            case "say":
                update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": rest})
            case "ask":
                ask(f"call-{number}", *rest.split(" ", 1))
            case "read":
                print(f"read: {request('fs/read_text_file', path=os.path.abspath(rest))}", file=sys.stderr)
            case "write":
                path, _, words = rest.partition(" ")
                answer = request("fs/write_text_file", path=os.path.abspath(path), content=words)
                print(f"write: {answer}", file=sys.stderr)
            case "cost":
                update(sessionUpdate="usage_update", used=1, size=2, cost={"amount": float(rest), "currency": "USD"})
            case "wait":
                while receive().get("method") != "session/cancel":
                    pass
                return "cancelled"
            case "stop":
                return rest
            case "die":
                sys.exit(int(rest))
    return "end_turn"


def ask(name: str, kind: str, path: str) -> None:
    """Call a tool that needs permission."""
    update(sessionUpdate="tool_call", toolCallId=name, kind=kind, title=f"{kind} {path}", status="pending")
    options = [{"optionId": f"o-{kind}", "kind": kind} for kind in ("allow_always", "reject_once", "allow_once")]
    answer = request("session/request_permission", toolCall={"toolCallId": name}, options=options)
    may = answer["result"]["outcome"].get("optionId") == "o-allow_once"
    if may:
        with open(path, "w") as file:
            file.write("made by the agent\n")
    update(sessionUpdate="tool_call_update", toolCallId=name, status="completed" if may else "failed")


def request(method: str, **params: object) -> Json:
    """Ask the client and return its whole answer."""
    send(id="mine", method=method, params={"sessionId": "s-1", **params})
    return receive()


def update(**values: object) -> None:
    send(method="session/update", params={"sessionId": "s-1", "update": values})


def reply(message: Json, result: Json) -> None:
    send(id=message["id"], result=result)


def send(**message: object) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def receive() -> Json:
    """The next message. Empty at the end of stdin."""
    line = sys.stdin.readline()
    return dict(json.loads(line)) if line else {}


if __name__ == "__main__":
    main()
