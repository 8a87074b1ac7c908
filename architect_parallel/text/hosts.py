"""The rules of `--network hosts`: hosts as the user writes them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

PACKAGES = "packages"
"""The word for the registries of pip, npm, cargo and go."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Rule:
    """An allowed host."""

    host: str
    """In lower case. `*.example.com` is every name below it."""
    port: int | None = None
    """`None` means any port, and no address of this machine or its network."""

    def allows(self, host: str, port: int) -> bool:
        """Tell whether the rule names this host, in lower case, and port."""
        if self.port is not None and self.port != port:
            return False
        return host == self.host or (self.host.startswith("*.") and fnmatchcase(host, self.host))


def read_rule(text: str) -> Rule:
    """Read `HOST`, `HOST:PORT`, `*.DOMAIN` or `[ADDRESS]:PORT`.

    Raises:
        ValueError: It is something else, such as a URL.
    """
    host, _, port = text.rpartition(":") if ":" in text.rpartition("]")[2] else (text, "", "")
    host = host.strip("[]").lower().rstrip(".")
    if "//" in text or "/" in text or "@" in text:
        raise ValueError("must be a host without a scheme or a path, such as api.example.com or localhost:5432")
    if (
        not host
        or any(not (letter.isalnum() or letter in "-._:*") for letter in host)
        or "*" in host.removeprefix("*.")
    ):
        raise ValueError("must be a host name, an address, or a name that begins with *.")
    if port and not (port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError("must have a port from 1 to 65535")
    return Rule(host, int(port) if port else None)


def loopback_ports(rules: Sequence[Rule]) -> list[int]:
    """Ports of this machine's loopback that are allowed: inside, they are on the loopback as well."""
    return sorted({rule.port for rule in rules if rule.port is not None and rule.host in _LOOPBACK})


def read_host(text: str) -> str:
    """A host as `--allow-host` takes it, or the word `packages`.

    Raises:
        ValueError: As for `read_rule`.
    """
    if text != PACKAGES:
        read_rule(text)
    return text
