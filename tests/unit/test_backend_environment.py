"""What an agent gets to see of the environment, and how secrets stay out of logs."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.backends.base import Backend
from architect_parallel.backends.claude import ClaudeBackend
from architect_parallel.backends.command import command_backend
from architect_parallel.backends.environment import (
    BLANK,
    Redactor,
    common_environment,
    filtered_environment,
    redact,
    secret_values,
)
from architect_parallel.backends.shell import ShellBackend
from architect_parallel.domain import BackendSettings


@pytest.fixture
def shell() -> Backend:
    return ShellBackend(environ={})


def test_only_listed_names_pass(shell: Backend) -> None:
    environ = {
        "PATH": "/bin", "LC_ALL": "C", "XDG_DATA_HOME": "/x", "https_proxy": "http://p", "GIT_AUTHOR_NAME": "me",
        "GIT_DIR": "/elsewhere", "PYTHONPATH": "/repo", "AWS_SECRET_ACCESS_KEY": "s", "ANTHROPIC_API_KEY": "k",
        "PATHS": "no",
    }  # fmt: skip
    kept = {"PATH", "LC_ALL", "XDG_DATA_HOME", "https_proxy", "GIT_AUTHOR_NAME"}
    assert set(filtered_environment(shell, environ)) == kept


def test_git_settings_pass_without_those_that_hold_a_token(shell: Backend) -> None:
    environ = {
        "GIT_CONFIG_COUNT": "4", "GIT_CONFIG_GLOBAL": "/g", "GIT_CONFIG_PARAMETERS": "'http.extraheader'='token'",
        "GIT_CONFIG_KEY_0": "http.https://example.com/.extraHeader", "GIT_CONFIG_VALUE_0": "AUTHORIZATION: basic t0ken",
        "GIT_CONFIG_KEY_1": "Safe.Directory", "GIT_CONFIG_VALUE_1": "*",
        "GIT_CONFIG_KEY_2": "url.https://me:t0ken@example.com/.insteadOf", "GIT_CONFIG_VALUE_2": "https://example.com/",
        "GIT_CONFIG_KEY_3": "user.name", "GIT_CONFIG_VALUE_3": "Real Name",
    }  # fmt: skip
    expected = {
        "GIT_CONFIG_GLOBAL": "/g", "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "Safe.Directory", "GIT_CONFIG_VALUE_0": "*",
        "GIT_CONFIG_KEY_1": "user.name", "GIT_CONFIG_VALUE_1": "Real Name",
    }  # fmt: skip
    assert filtered_environment(shell, environ) == expected
    assert common_environment(environ) == expected


@pytest.mark.parametrize("count", ["", "-1", "many", "99999999999999999999", "2"])
def test_a_wrong_count_of_git_settings_passes_what_is_there(count: str) -> None:
    environ = {"GIT_CONFIG_COUNT": count, "GIT_CONFIG_KEY_0": "user.name"}
    assert common_environment(environ) == {}


def test_a_backend_adds_its_own_names_and_the_configured_ones() -> None:
    backend = ClaudeBackend(environ={}, settings=BackendSettings(env=("NPM_*",)))
    passed = filtered_environment(backend, {"ANTHROPIC_MODEL": "m", "NPM_TOKEN": "t" * 8, "CLAUDECODE": "1"})
    assert set(passed) == {"ANTHROPIC_MODEL", "NPM_TOKEN"}
    assert secret_values(backend, {"NPM_TOKEN": "t" * 8}) == ("t" * 8,)


def test_passed_variables_with_telling_names_are_secret() -> None:
    backend = command_backend("tool", BackendSettings(command=("tool",), env=("DB_PASSWORD", "DB_NAME")), {})
    environ = {"DB_PASSWORD": "hunter22", "DB_NAME": "orders-db", "OTHER_TOKEN": "not-passed"}
    assert secret_values(backend, environ) == ("hunter22",)


def test_a_proxys_password_is_secret(shell: Backend) -> None:
    environ = {"HTTPS_PROXY": "http://me:s3cr%40t-word@proxy.example:8080", "no_proxy": "localhost"}
    assert set(secret_values(shell, environ)) == {"s3cr%40t-word", "s3cr@t-word"}


def test_short_values_are_not_blanked() -> None:
    backend = ClaudeBackend(environ={})
    assert secret_values(backend, {"ANTHROPIC_API_KEY": "x"}) == ()


def test_a_secret_within_a_secret_is_blanked_as_a_whole() -> None:
    assert redact(b"key abcdefgh-longer!", ("abcdefgh", "abcdefgh-longer")) == b"key " + BLANK + b"!"


def test_a_secret_is_found_as_json_spells_it() -> None:
    assert redact(rb'{"k": "a\"b\\c\nd-tail"}', ('a"b\\c\nd-tail',)) == b'{"k": "' + BLANK + b'"}'


@given(
    st.lists(
        st.binary(max_size=12) | st.sampled_from([b"secret-one", b"secret-", b"one", b"two-secrets"]), max_size=12
    ),
    st.lists(st.integers(0, 200), max_size=20),
)
def test_cuts_in_a_stream_hide_no_secret(parts: list[bytes], cuts: list[int]) -> None:
    secrets = ("secret-one", "two-secrets")
    data = b"".join(parts)
    redactor = Redactor(secrets)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    out = b"".join(redactor.feed(data[a:b]) for a, b in pairwise(places)) + redactor.finish()
    assert b"secret-one" not in out
    assert b"two-secrets" not in out
    if not cuts:
        assert out == redact(data, secrets)


def test_chunk_by_chunk_redaction_without_memory_leaks_a_cut_secret() -> None:
    """The control: why `Redactor` exists."""
    chunks = (b"a secret-", b"one b")
    assert b"secret-one" in b"".join(redact(chunk, ("secret-one",)) for chunk in chunks)
    redactor = Redactor(("secret-one",))
    assert b"".join(map(redactor.feed, chunks)) + redactor.finish() == b"a " + BLANK + b" b"


def test_without_secrets_nothing_is_held_back() -> None:
    assert Redactor(()).feed(b"abc") == b"abc"
