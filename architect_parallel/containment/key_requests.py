"""The requests that the key proxy passes: those whose answer names what it costs, and those that are free. Pure."""

from __future__ import annotations

import json
import re
from email.message import Message

from architect_parallel.containment.metering import Protocol

_MODEL_PATHS = (
    (re.compile(r"/messages$"), Protocol.MESSAGES),
    (re.compile(r"/(chat/completions|embeddings)$"), Protocol.CHAT),
    (re.compile(r"/responses(/compact)?$"), Protocol.RESPONSES),
    (re.compile(r"/models/(?P<model>[^/:]+):(stream)?generateContent$", re.IGNORECASE), Protocol.GEMINI),
)
_FREE_PATHS = re.compile(r"(/messages/count_tokens|/moderations|/responses/input_tokens|:countTokens)$")
_LISTS = re.compile(r"/models(/[^:]*)?$|^/?$")


class Refused(Exception):
    """The request does not pass."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def protocol_of(method: str, path: str) -> tuple[Protocol | None, str | None]:
    """The protocol of a request, and the model that its path names. `None` means that it is free."""
    if ".." in path or "%" in path:
        raise Refused(403, "permission_error", f"the key proxy does not pass {path}")
    if method == "POST":
        for pattern, protocol in _MODEL_PATHS:
            if match := pattern.search(path):
                return protocol, match.groupdict().get("model")
        if _FREE_PATHS.search(path):
            return None, None
    elif _LISTS.search(path):
        return None, None
    hint = "it passes what it can count; sandbox.key_proxy: off gives agents the key"
    raise Refused(403, "permission_error", f"the key proxy does not pass {method} {path}: {hint}")


def countable(protocol: Protocol, path: str, body: bytes, headers: Message) -> tuple[bytes, str | None, bool]:
    """The body of a request whose answer names its tokens, its model, and whether the agent did not ask for that.

    Raises:
        Refused: Its answer would not name them.
    """
    try:
        if headers.get("Content-Encoding", "identity") != "identity":
            raise ValueError("it is encoded")
        request = json.loads(body)
        if not isinstance(request, dict):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        raise Refused(400, "invalid_request_error", f"the key proxy cannot read the request: {error}") from error
    if request.get("background"):
        raise Refused(400, "invalid_request_error", "the key proxy passes no request in the background")
    model = request.get("model")
    asked = model if isinstance(model, str) else None
    if protocol is not Protocol.CHAT or not request.get("stream") or not path.endswith("/completions"):
        return body, asked, False
    options = request.get("stream_options")
    options = options if isinstance(options, dict) else {}
    if options.get("include_usage") is True:
        return body, asked, False
    request["stream_options"] = {**options, "include_usage": True}
    return json.dumps(request).encode(), asked, True
