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
    CommandEnvironment,
    filtered_environment,
    secret_values,
)
from architect_parallel.backends.redaction import BLANK, Redactor, redact
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
    assert CommandEnvironment(environ=environ).of("true") == expected


@pytest.mark.parametrize("count", ["", "-1", "many", "99999999999999999999", "2"])
def test_a_wrong_count_of_git_settings_passes_what_is_there(count: str) -> None:
    environ = {"GIT_CONFIG_COUNT": count, "GIT_CONFIG_KEY_0": "user.name"}
    assert CommandEnvironment(environ=environ).of("true") == {}


def of(command: str, environ: dict[str, str], names: tuple[str, ...] = ()) -> set[str]:
    """Names of what a command gets, where `KEY` is an agent's key."""
    return set(CommandEnvironment(environ=environ, names=names, keys=("KEY",)).of(command))


@pytest.mark.parametrize("text", ["echo $DB", "echo ${DB}", "echo ${DB:-none}", 'test -n "$DB"', "a=$DB; b"])
def test_a_command_gets_the_variables_that_its_text_names(text: str) -> None:
    assert of(text, {"DB": "d", "OTHER": "o", "PATH": "/bin"}) == {"DB", "PATH"}


def test_a_command_gets_no_key_and_nothing_that_leads_elsewhere_for_naming_it() -> None:
    environ = {"KEY": "k", "PYTHONPATH": "/repo", "GIT_DIR": "/x", "ARCHITECT_WORKERS": "3", "DB": "d"}
    assert of("$KEY $PYTHONPATH $GIT_DIR $ARCHITECT_WORKERS $DB $ABSENT", environ) == {"DB"}


def test_a_command_gets_what_the_configuration_names() -> None:
    assert of("true", {"PGHOST": "h", "PG": "p", "KEY": "k", "OTHER": "o"}, ("PG*", "KEY")) == {"PGHOST", "PG", "KEY"}


def test_what_did_not_pass_is_said_by_name_with_the_mentioned_ones_first() -> None:
    environ = {"A": "1", "B": "2", "C": "3", "D": "4", "SECRET": "value", "PATH": "/bin", "SHLVL": "1", "odd name": "x"}
    said = CommandEnvironment(environ=environ).held_back("make test", "KeyError: 'SECRET'", "checks_env")
    expected = (
        "5 variables of your shell did not reach 'make test' (SECRET, A, B, C, …); to pass one: checks_env: [SECRET]"
    )
    assert said == expected


def test_an_agents_key_is_said_only_where_it_is_mentioned() -> None:
    environment = CommandEnvironment(environ={"KEY": "k"}, keys=("KEY",))
    assert environment.held_back("make test", "", "checks_env") is None
    assert "(KEY)" in (environment.held_back("echo $KEY", "", "checks_env") or "")


def test_where_nothing_was_held_back_nothing_is_said() -> None:
    environ = {"PATH": "/bin", "DB": "d", "_": "/bin/sh", "OLDPWD": "/"}
    assert CommandEnvironment(environ=environ).held_back("echo $DB", "", "checks_env") is None


def test_secrets_of_a_command_are_redacted() -> None:
    environ = {"DATABASE_URL": "postgres://me:hunter22@db.example/x", "NPM_TOKEN": "t0ken-t0ken", "MODE": "production"}
    found = CommandEnvironment(environ=environ, names=("*_TOKEN", "MODE")).secrets("test $DATABASE_URL")
    assert found == ("t0ken-t0ken", "hunter22")


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
