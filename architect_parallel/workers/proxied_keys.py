"""The provider keys of one agent that stay in the launcher: the agent gets tokens and an address on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from architect_parallel.backends.base import Backend
from architect_parallel.backends.environment import filtered_environment
from architect_parallel.backends.key_routes import key_routing, without_proxies
from architect_parallel.domain import Limits, Price
from architect_parallel.events import Warned
from architect_parallel.supervision.stop import StopToken
from architect_parallel.workers.usage import Emit

if TYPE_CHECKING:
    from architect_parallel.containment.metering import Account, RunBudget

DRAIN_S = 2.0
"""Seconds to wait after an agent's own end for answers that it did not wait for, so that they are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxiedKeys:
    """The keys of one agent that stay in the launcher. The default is none."""

    tokens: Mapping[str, str] = field(default_factory=dict)
    """By the real key."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """The variables that name the address, and keep it from proxies."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """As in `Request.addresses`."""
    ports: tuple[int, ...] = ()
    account: Account | None = None
    """`None` means that nothing is counted here."""
    close: Callable[[], None] = lambda: None
    """Counts what still arrives, and makes the tokens worthless. Called when the agent has ended."""
    holds_others: bool = False
    """The agent holds further keys itself, so what it says that it used counts as well."""

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """The agent's variables, with a token wherever there is a key."""
        replaced = dict(env)
        for key, token in self.tokens.items():
            replaced = {name: value.replace(key, token) for name, value in replaced.items()}
        return {**replaced, **self.variables}


@contextmanager
def proxied_keys(
    backend: Backend,
    environ: Mapping[str, str],
    worktree: Path,
    *,
    limits: Limits,
    prices: Mapping[str, Price],
    run_budget: RunBudget | None,
    stop_token: StopToken,
    emit: Emit,
) -> Iterator[ProxiedKeys]:
    """Hold the keys of an agent back within the block, where it can do without. Else emit the reason as `Warned`."""
    passed = filtered_environment(backend, environ)
    routing = key_routing(backend.name, passed, worktree)
    if routing.problem is not None:
        emit(
            Warned(message=f"{backend.name} holds its key itself: {routing.problem} (sandbox.key_proxy: off is silent)")
        )
    if not routing.routes:
        yield ProxiedKeys()
        return
    from architect_parallel.containment.key_proxy import KeyProxy, KeyTarget
    from architect_parallel.containment.metering import Account, RunBudget

    account = Account(limits, prices, run_budget or RunBudget(), stop_token.stop)
    tokens = {passed[route.key]: f"architect-{token_hex(24)}" for route in routing.routes}
    targets = {
        tokens[passed[route.key]]: KeyTarget(key=passed[route.key], upstream=route.upstream) for route in routing.routes
    }
    try:
        proxy = KeyProxy(targets, account, environ)
    except OSError as error:
        emit(Warned(message=f"{backend.name} holds its key itself: no port on loopback ({error.strerror})"))
        yield ProxiedKeys()
        return
    url = f"http://127.0.0.1:{proxy.port}"
    others = {name for name in backend.secrets if passed.get(name) and passed[name] not in tokens}

    def close() -> None:
        proxy.close(0.0 if stop_token.reason is not None else DRAIN_S)

    try:
        yield ProxiedKeys(
            close=close,
            tokens=tokens,
            variables={route.address: url for route in routing.routes if route.address} | without_proxies(passed),
            addresses={route.key: url for route in routing.routes},
            ports=(proxy.port,),
            account=account,
            holds_others=bool(others),
        )
    finally:
        close()
