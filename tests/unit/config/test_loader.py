"""Layers of the configuration: their order, their faults, and what an untrusted file may not set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from architect_parallel.config.layers import FaultList, file_layer
from architect_parallel.config.loader import Loaded, load
from architect_parallel.config.schema import ALIASES, ConfigFile, ParallelSection, config_schema
from architect_parallel.config.settings import load_settings
from architect_parallel.config.trust import TRUST_FILE, distrust_repository, trust_repository
from architect_parallel.config.untrusted import dangerous
from architect_parallel.domain import (
    ApprovalMode,
    Price,
    RateLimit,
    SandboxMode,
    Settings,
    WorktreeSettings,
)
from architect_parallel.errors import EnvironmentProblem, ExitCode, NothingToDo, UsageError
from architect_parallel.options import OPTIONS, RunOptions

DANGEROUS = """\
parallel_runs: {workers: 4, backend: shell, checks: [make test], checks_env: [TOKEN], tripwire: off}
backends: {mytool: {command: [mytool], env: [TOKEN]}, claude: {env: [TOKEN]}}
worktrees: {setup: [make deps], setup_env: [TOKEN], copy: [../secrets]}
agents: {build: {approval_mode: none, sandbox_mode: full}, other: {backend: shell}}
"""
DANGEROUS_KEYS = [
    "backends.mytool", "backends.claude", "worktrees.setup", "worktrees.copy", "agents.build.approval_mode",
    "agents.build.sandbox_mode", "agents.other.backend", "parallel_runs.backend",
    "parallel_runs.checks", "parallel_runs.checks_env", "worktrees.setup_env",
    "parallel_runs.tripwire",
]  # fmt: skip


class Place:
    """A user's home and a checkout, with nothing in them."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.checkout = directory / "checkout"
        self.user_dir = self.home / ".config" / "architect-parallel"
        for each in (self.user_dir, self.checkout):
            each.mkdir(parents=True)
        self.user_file = self.user_dir / "config.yaml"
        self.file = self.checkout / ".architect-parallel.yaml"

    def load(self, environ: Mapping[str, str] | None = None, config_file: Path | None = None) -> Loaded:
        return load(self.checkout, config_file, environ or {}, self.home)

    def settings(self, environ: Mapping[str, str] | None = None, config_file: Path | None = None) -> Settings:
        return self.load(environ, config_file).settings

    def faults(self, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        """The lines of the error for the repository's file, the file's path left out."""
        self.file.write_text(text)
        with pytest.raises(UsageError) as raised:
            self.load(environ)
        assert raised.value.exit_code == ExitCode.USAGE
        lines = raised.value.message.replace(f"{self.file}:", "").split("\n")
        return lines[1:] if lines[0].endswith("faults in the configuration:") else lines


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_any_file_the_defaults_hold(place: Place) -> None:
    settings = place.settings()
    assert settings.parallel == RunOptions()
    assert settings.worktrees == WorktreeSettings()
    assert set(settings.agents) == {"build", "plan", "review"}
    assert settings.agents["plan"].sandbox_mode is SandboxMode.READ_ONLY
    assert set(settings.origins.values()) == {"default"}
    assert settings.warnings == ()


def test_outside_a_repository_user_file_and_environment_hold(place: Place) -> None:
    place.user_file.write_text("parallel: {workers: 2}")
    settings = load_settings(None, None, {"ARCHITECT_AGENT": "plan"}, place.home)
    assert (settings.parallel.workers, settings.parallel.agent) == (2, "plan")


def test_each_layer_goes_on_top_of_the_one_before(place: Place) -> None:
    place.user_file.write_text("parallel_runs: {workers: 4, max_steps: 4, timeout: 2m, fail_fast: true}")
    place.file.write_text("parallel_runs: {workers: 3, max_steps: 3, fail_fast: false}")
    settings = place.settings({"ARCHITECT_WORKERS": "5"})
    parallel = settings.parallel
    assert (parallel.workers, parallel.max_steps, parallel.timeout, parallel.fail_fast) == (5, 3, 120.0, False)
    assert settings.origins["parallel_runs.workers"] == "environment ARCHITECT_WORKERS"
    assert settings.origins["parallel_runs.max_steps"] == f"{place.file}:1"
    assert settings.origins["parallel_runs.timeout"] == f"{place.user_file}:1"
    assert settings.origins["parallel_runs.grace"] == "default"


def test_null_takes_a_lower_layers_value_back(place: Place) -> None:
    place.user_file.write_text("parallel_runs: {model: m, budget: 3}")
    place.file.write_text("parallel_runs:\n  model: null\n")
    settings = place.settings()
    assert settings.parallel.model is None
    assert settings.parallel.budget == 3.0
    assert settings.origins["parallel_runs.model"] == f"{place.file}:2"


def test_profiles_merge_key_by_key_and_lists_are_replaced(place: Place) -> None:
    place.user_file.write_text("agents: {review: {model: gpt-4o}}\nworktrees: {copy: [.env, .cache]}")
    place.file.write_text("agents: {review: {system_prompt: Be kind.}, mine: }\nworktrees: {copy: [.envrc]}")
    settings = place.settings()
    review = settings.agents["review"]
    assert (review.model, review.system_prompt, review.sandbox_mode) == ("gpt-4o", "Be kind.", SandboxMode.READ_ONLY)
    assert settings.agents["mine"].name == "mine"
    assert settings.worktrees.copy == (".envrc",)


def test_file_named_by_flag_takes_the_repositorys_place_and_is_trusted(place: Place, tmp_path: Path) -> None:
    place.user_file.write_text("parallel_runs: {max_steps: 2}")
    place.file.write_text("parallel_runs: {workers: 3}")
    named = tmp_path / "named.yaml"
    named.write_text(DANGEROUS)
    settings = place.settings(config_file=named)
    assert (settings.parallel.workers, settings.parallel.max_steps) == (4, 2)
    assert settings.parallel.backend == "shell"
    assert settings.worktrees.setup == ("make deps",)
    assert settings.warnings == ()


def test_named_file_that_is_not_there_is_the_users_error(place: Place, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml: there is no such file"):
        place.load(config_file=tmp_path / "none.yaml")


def test_relative_xdg_directory_counts_as_none(place: Place, tmp_path: Path) -> None:
    place.user_file.write_text("parallel: {workers: 2}")
    assert place.settings({"XDG_CONFIG_HOME": "here"}).parallel.workers == 2
    assert place.settings({"XDG_CONFIG_HOME": str(tmp_path)}).parallel.workers is None


def test_other_names_of_keys_mean_the_same(place: Place) -> None:
    place.file.write_text("parallel: {max_workers: 4}")
    assert place.settings().parallel.max_parallel == 4
    assert place.settings({"ARCHITECT_MAX_WORKERS": "5"}).parallel.max_parallel == 5
    assert place.faults("parallel: {workers: 1}\nparallel_runs: {workers: 1}") == [
        "1:1: parallel is another name of parallel_runs, which is there too"
    ]


def test_quantities_are_read_as_on_the_command_line(place: Place) -> None:
    place.file.write_text(
        "parallel: {timeout_per_worker: 5m, grace: 2, memory_per_worker: 1GiB, output_per_worker: 5MB, budget: 0.5}"
    )
    parallel = place.settings().parallel
    assert parallel.timeout_per_worker == 300.0
    assert parallel.grace == 2.0
    assert parallel.memory_per_worker == 1024**3
    assert parallel.output_per_worker == 5_000_000
    assert parallel.budget == 0.5


def test_backends_and_prices_arrive_as_written(place: Place) -> None:
    place.user_file.write_text(
        "backends: {mytool: {command: [mytool, '{prompt}', [--model, '{model}']], env: [A, B_*], output: json,"
        " fields: {cost: usage.usd}}}\nprices: {my/model: {input_per_mtok: 1, output_per_mtok: 0}}"
    )
    settings = place.settings()
    mytool = settings.backends["mytool"]
    assert mytool.command == ("mytool", "{prompt}", ("--model", "{model}"))
    assert (mytool.env, mytool.output, mytool.fields) == (("A", "B_*"), "json", {"cost": "usage.usd"})
    assert settings.prices == {"my/model": Price(input_per_mtok=1.0, output_per_mtok=0.0)}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("workers: 3", "1:1: unknown key workers; did you mean 'parallel_runs.workers'?"),
        ("parallell: {}", "1:1: unknown key parallell; did you mean 'parallel'?"),
        ("parallel_runs:\n  max_paralel: 3", "2:3: unknown key parallel_runs.max_paralel; did you mean 'max_par"),
        ("agents: {a: {sandbox: full}}", "1:14: unknown key agents.a.sandbox; did you mean 'sandbox_mode'?"),
        ("backends: {a: {comand: [x]}}", "1:16: unknown key backends.a.comand; did you mean 'command'?"),
        ("worktrees: {copies: []}", "1:13: unknown key worktrees.copies; did you mean 'copy'?"),
        ("parallel_runs: {workers: 0}", "1:17: parallel_runs.workers is 0: must be a whole number of at least 1"),
        ("parallel_runs: {workers: true}", "1:17: parallel_runs.workers is True: must be a whole number of at least 1"),
        ("parallel_runs: {workers: 1.5}", "1:17: parallel_runs.workers is 1.5: must be a whole number of at least 1"),
        ("parallel_runs: {max_steps: null}", "1:17: parallel_runs.max_steps is null: must be a whole number"),
        ("parallel_runs: {budget: .nan}", "1:17: parallel_runs.budget is '.nan': must be an amount in US"),
        ("parallel_runs: {assign: cros}", "1:17: parallel_runs.assign is 'cros': must be one of fill, round-"),
        ("parallel_runs: {commit: maybe}", "1:17: parallel_runs.commit is 'maybe': must be true or false"),
        ("parallel_runs: {agent: biuld}", "1: parallel_runs.agent: unknown agent 'biuld'; did you mean 'build'?"),
        ("parallel_runs: 3", "1:1: parallel_runs is 3: must hold a mapping of keys to values"),
        ("agents: []", "1:1: agents: must hold a mapping of keys to values"),
        ("agents: {a b: {}}", "1:10: agents.a b: the name must be letters, digits"),
        ("agents: {a: {model: -x}}", "1:14: agents.a.model is '-x': must be a model name"),
        ("backends: {a: {command: run it}}", "1:16: backends.a.command is 'run it': must be a list of words"),
        ("backends: {a: {command: [x, '{task}']}}", "1:16: backends.a.command: unknown placeholder {task}; known"),
        ("backends: {a: {env: ['*']}}", "1:22: backends.a.env[0] is '*': must be the name of an environment"),
        ("prices: {m: {input_per_mtok: 1}}", "1:10: prices.m.output_per_mtok is missing"),
        ("prices: {m: {input_per_mtok: -1, output_per_mtok: 1}}", "1:14: prices.m.input_per_mtok is -1: must be a"),
        ("worktrees: {setup: [make, ' ']}", "1:27: worktrees.setup[1] is ' ': must not be empty"),
        ("worktrees: {include_file: ../x}", "1:13: worktrees.include_file is '../x': must be a path inside the"),
        ('agents: {a: {system_prompt: "\\0"}}', "1:14: agents.a.system_prompt is '\\x00': must not contain a NUL"),
    ],
)  # fmt: skip
def test_fault_names_place_key_and_what_is_allowed(place: Place, text: str, fault: str) -> None:
    (found,) = place.faults(text)
    assert found.startswith(fault)


def test_all_faults_of_all_layers_come_at_once(place: Place, tmp_path: Path) -> None:
    place.user_file.write_text("parallel: {worker: 1}")
    faults = place.faults("a: &x 1\nparallel_runs:\n  grace: 0\n  commit: 7\n", {"ARCHITECT_FAIL_FAST": "perhaps"})
    assert len(faults) == 6
    assert faults[0].startswith(f"{place.user_file}:1:12: unknown key parallel.worker; did you mean 'workers'?")
    assert [fault.split(" ")[0] for fault in faults[1:5]] == ["1:1:", "1:4:", "3:3:", "4:3:"]
    assert faults[5] == "environment ARCHITECT_FAIL_FAST: parallel_runs.fail_fast is 'perhaps': must be true or false"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parallel_runs: {max_workers: x}", ": parallel_runs.max_workers is 'x'"),
        ("parallel: {max_workers: 0}", ": parallel.max_workers is 0"),
        ("parallel: {max_workers: 11}", "1: parallel.max_workers is 11: more than workers_ceiling 10"),
        ("parallel: {max_parallel: 11}", "1: parallel.max_parallel is 11"),
        ("parallel: {agent: nobody}", "1: parallel.agent: unknown agent 'nobody'"),
        ("parallel: {max_workers: 1, max_parallel: 2}", "parallel.max_workers is another name of max_parallel"),
    ],
)
def test_a_fault_names_the_key_as_it_is_written(place: Place, text: str, said: str) -> None:
    (found,) = place.faults(text)
    assert said in found
    assert ("max_parallel" in found) is ("max_parallel" in text)
    assert "parallel_runs" not in found or "parallel_runs" in text


def test_a_fault_of_the_environment_names_the_variable_and_the_key_by_its_name(place: Place) -> None:
    for value, said in (
        ("x", "parallel_runs.max_workers is 'x'"),
        ("11", "parallel_runs.max_workers is 11: more than"),
    ):
        with pytest.raises(UsageError) as raised:
            place.load({"ARCHITECT_MAX_WORKERS": value})
        assert raised.value.message.startswith(f"environment ARCHITECT_MAX_WORKERS: {said}")


def test_what_is_ignored_until_the_file_is_trusted_is_named_as_it_is_written(place: Place) -> None:
    place.file.write_text("parallel: {checks: [make]}")
    assert "ignored until you trust this file: parallel.checks (" in place.settings().warnings[0]


def test_workers_beyond_the_ceiling_name_both_places(place: Place) -> None:
    place.user_file.write_text("parallel: {workers_ceiling: 4}")
    assert place.faults("parallel: {workers: 5, max_parallel: 4}") == [
        f"1: parallel.workers is 5: more than workers_ceiling 4 ({place.user_file}:1) allows"
    ]
    place.user_file.write_text("parallel: {workers_ceiling: 12}")
    place.file.write_text("parallel: {workers: 12}")
    assert place.settings().parallel.workers == 12


def test_variables_of_ours_that_are_no_settings_are_left_alone(place: Place) -> None:
    environ = {
        "ARCHITECT_WORKER_COOKIE": "x",
        "ARCHITECT_PROGRESS_FILE": "/p",
        "ARCHITECT_SCRIPTED_MODELS": "m",
        "ARCHITECT_ELSE": "1",
    }
    settings = place.settings(environ)
    assert settings.parallel == RunOptions()
    assert settings.warnings == ()


def test_empty_variable_is_not_set_and_a_misspelt_one_is_named(place: Place) -> None:
    settings = place.settings({"ARCHITECT_WORKERS": "", "ARCHITECT_WORKRES": "3"})
    assert settings.parallel.workers is None
    assert settings.warnings == ("environment ARCHITECT_WORKRES is not known; did you mean ARCHITECT_WORKERS?",)


@pytest.mark.parametrize("key", [*ParallelSection.model_fields, "max_workers"])
def test_every_key_of_parallel_runs_has_its_variable(place: Place, key: str) -> None:
    text = {
        "agent": "plan", "backend": "codex", "assign": "cross", "fail_fast": "yes", "allow_partial": "1",
        "commit": "off", "refine": "yes", "memory_per_worker": "128MiB", "baseline": "no",
        "tripwire": "warn", "checks_env": "PGHOST", "insecure": "yes",
    }.get(key, "7")  # fmt: skip
    settings = place.settings({f"ARCHITECT_{key.upper()}": text})
    assert settings.parallel != RunOptions()
    assert f"environment ARCHITECT_{key.upper()}" in settings.origins.values()


def test_only_the_users_own_file_may_send_code_to_other_machines(place: Place) -> None:
    place.file.write_text("parallel: {hosts: 'ssh://evil', insecure: true, max_steps: 7}")
    settings = place.settings()
    assert (settings.parallel.hosts, settings.parallel.insecure, settings.parallel.max_steps) == (None, False, 7)
    assert "parallel.hosts, parallel.insecure (only your own configuration may set it)" in settings.warnings[0]
    place.user_file.write_text("parallel: {hosts: 'ssh://mine'}")
    assert place.settings().parallel.hosts == "ssh://mine"


def test_checks_in_a_variable_are_one_a_line(place: Place) -> None:
    settings = place.settings({"ARCHITECT_CHECKS": "make test\n\n ruff check . \n", "ARCHITECT_CHECK_TIMEOUT": "30s"})
    assert settings.parallel.checks == ("make test", "ruff check .")
    assert settings.parallel.check_timeout == 30


@pytest.mark.parametrize("text", ["PGHOST, PG*", "PGHOST PG*", " PGHOST,PG* "])
def test_names_of_variables_may_be_a_text(place: Place, text: str) -> None:
    assert place.settings({"ARCHITECT_CHECKS_ENV": text}).parallel.checks_env == ("PGHOST", "PG*")


@pytest.mark.parametrize("text", ["parallel: {checks_env: [A=1]}", "worktrees: {setup_env: ['*']}"])
def test_what_is_no_name_of_a_variable_is_a_fault(place: Place, text: str) -> None:
    place.file.write_text(text)
    with pytest.raises(UsageError, match="must be the name of an environment variable"):
        place.settings()


def test_untrusted_repository_sets_nothing_that_runs_or_widens(place: Place) -> None:
    place.file.write_text(DANGEROUS)
    settings = place.settings()
    assert settings.parallel.workers == 4  # the harmless rest counts
    assert settings.parallel.backend is None
    assert settings.parallel.checks == ()
    assert settings.parallel.checks_env == ()
    assert settings.parallel.tripwire == "auto"
    assert settings.backends == {}
    assert settings.worktrees == WorktreeSettings()
    assert settings.agents["build"].approval_mode is None
    assert settings.agents["build"].sandbox_mode is None
    assert settings.agents["other"].backend is None
    (warning,) = settings.warnings
    assert "architect config trust" in warning
    assert all(key in warning for key in DANGEROUS_KEYS)


def test_trusted_repository_sets_everything(place: Place) -> None:
    """The control: the same file does all of it once it is trusted."""
    place.file.write_text(DANGEROUS)
    trusted = trust_repository(place.user_dir, place.checkout)
    settings = place.settings()
    assert sorted(trusted.keys) == sorted(DANGEROUS_KEYS)
    assert settings.parallel.backend == "shell"
    assert settings.parallel.checks == ("make test",)
    assert settings.parallel.tripwire == "off"
    assert settings.backends["mytool"].command == ("mytool",)
    assert settings.backends["claude"].env == ("TOKEN",)
    assert settings.worktrees == WorktreeSettings(copy=("../secrets",), setup=("make deps",), setup_env=("TOKEN",))
    assert settings.agents["build"].approval_mode is ApprovalMode.NONE
    assert settings.agents["build"].sandbox_mode is SandboxMode.FULL
    assert settings.agents["other"].backend == "shell"
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("agents: {build: {sandbox_mode: read-only, approval_mode: always}}", True),
        ("agents: {plan: {sandbox_mode: workspace}}", False),
        ("agents: {plan: {sandbox_mode: null}}", False),
        ("agents: {plan: {sandbox_mode: default}}", False),
        ("agents: {plan: {approval_mode: auto}}", False),
        ("worktrees: {copy: [.env, config/*]}", True),
        ("worktrees: {copy: [/etc/passwd]}", False),
        ("worktrees: {copy: ['~/.ssh/id_rsa']}", False),
        ("worktrees: {copy: [a/../../b]}", False),
        ("worktrees: {setup: []}", True),
        ("parallel: {backend: codex}", True),
        ("prices: {m: {input_per_mtok: 1, output_per_mtok: 1}}", False),
    ],
)
def test_untrusted_repository_may_only_tighten(place: Place, text: str, kept: bool) -> None:
    place.file.write_text(text)
    assert (place.settings().warnings == ()) is kept
    untouched = load(None, None, {}, place.home).settings
    for agent in ("build", "plan", "review"):
        if not kept:
            assert place.settings().agents[agent] == untouched.agents[agent]


def test_trust_ends_with_the_first_changed_byte(place: Place) -> None:
    place.file.write_text(DANGEROUS)
    trust_repository(place.user_dir, place.checkout)
    place.file.write_text(DANGEROUS + "\n")
    assert place.settings().backends == {}
    place.file.write_text(DANGEROUS)
    assert "mytool" in place.settings().backends


def test_trust_is_for_one_path(place: Place, tmp_path: Path) -> None:
    place.file.write_text(DANGEROUS)
    trust_repository(place.user_dir, place.checkout)
    other = tmp_path / "other"
    other.mkdir()
    (other / place.file.name).write_text(DANGEROUS)
    assert load(other, None, {}, place.home).settings.backends == {}
    linked = tmp_path / "linked"
    linked.symlink_to(place.checkout)
    assert "mytool" in load(linked, None, {}, place.home).settings.backends


def test_trust_can_be_taken_back(place: Place) -> None:
    place.file.write_text(DANGEROUS)
    trust_repository(place.user_dir, place.checkout)
    distrust_repository(place.user_dir, place.checkout)
    assert place.settings().backends == {}
    with pytest.raises(NothingToDo):
        distrust_repository(place.user_dir, place.checkout)


@pytest.mark.parametrize(
    "record", [b"", b"{", b"[]", b'{"trusted": 3}', b'{"trusted": {"x": 3}}', b"\xff", b"[" * 100_000]
)
def test_record_that_cannot_be_read_trusts_nothing(place: Place, record: bytes) -> None:
    place.file.write_text(DANGEROUS)
    (place.user_dir / TRUST_FILE).write_bytes(record)
    assert place.settings().backends == {}
    trust_repository(place.user_dir, place.checkout)
    assert "mytool" in place.settings().backends


def test_record_is_the_users_alone(place: Place) -> None:
    place.file.write_text(DANGEROUS)
    trust_repository(place.user_dir, place.checkout)
    assert (place.user_dir / TRUST_FILE).stat().st_mode & 0o777 == 0o600


def test_faulty_or_missing_file_is_not_trusted(place: Place) -> None:
    with pytest.raises(NothingToDo, match="there is no such file"):
        trust_repository(place.user_dir, place.checkout)
    place.file.write_text("backends: {a: {comand: [x]}}")
    with pytest.raises(UsageError, match="did you mean 'command'"):
        trust_repository(place.user_dir, place.checkout)
    assert not (place.user_dir / TRUST_FILE).exists()


def test_directory_that_cannot_be_written_is_a_clear_error(place: Place) -> None:
    place.file.write_text(DANGEROUS)
    blocked = place.home / "file"
    blocked.write_text("")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        trust_repository(blocked / "architect-parallel", place.checkout)


def test_schema_and_defaults_are_those_of_the_declaration() -> None:
    assert ParallelSection().model_dump() == {name: OPTIONS[name].default for name in ParallelSection.model_fields}


@pytest.mark.parametrize(
    "text",
    [
        "providers: {anthropic: {rateLimit: {enabled: true, capacity: 4, refillRate: 0.5}}}",
        "providers: {anthropic: {rate_limit: {capacity: 4, refill_rate: 0.5}}}",
    ],
)
def test_rate_limits_of_providers_are_read_in_both_spellings(place: Place, text: str) -> None:
    place.file.write_text(text)
    limit = place.settings().providers["anthropic"].rate_limit
    assert limit == RateLimit(enabled=True, capacity=4.0, refill_rate=0.5)


def test_wrong_rate_limits_are_named_with_their_place(place: Place) -> None:
    place.file.write_text(
        "providers:\n  openai:\n    rateLimit:\n      capacity: 0\n      refillRate: 1\n      refill_rate: 1\n"
        "  claude: {ratelimit: {}}\n"
    )
    with pytest.raises(UsageError) as caught:
        place.settings()
    told = str(caught.value)
    assert "providers.openai.rateLimit.capacity is 0: must be a number of at least 1" in told
    assert "refillRate is another name of refill_rate" in told
    assert "unknown key providers.claude.ratelimit" in told


def test_json_schema_holds_every_key_and_other_name() -> None:
    schema = config_schema()
    assert set(schema["properties"]) == {*ConfigFile.model_fields, "parallel"}
    assert schema["additionalProperties"] is False
    assert "max_workers" in schema["$defs"]["ParallelSection"]["properties"]
    assert "copy" in schema["$defs"]["WorktreeSection"]["properties"]
    assert "rateLimit" in schema["$defs"]["ProviderSection"]["properties"]
    assert "refillRate" in schema["$defs"]["RateLimitSection"]["properties"]
    assert len(ALIASES) == 4


def test_fields_are_those_of_the_backend() -> None:
    from typing import get_args

    from architect_parallel.backends import command_reader
    from architect_parallel.config.schema import FieldName

    assert set(command_reader.FIELDS) == set(get_args(FieldName))


KEYS = st.sampled_from(
    [
        "parallel",
        "parallel_runs",
        "agents",
        "backends",
        "prices",
        "worktrees",
        "workers",
        "copy",
        "command",
        "model",
        "x",
        "",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["a", "5m", "{x}", "-", "..", ".nan", "\n"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
@hypothesis_settings(deadline=None, max_examples=200)
def test_any_data_is_settings_or_lines_of_faults(data: dict[str, object]) -> None:
    faults = FaultList()
    layer = file_layer(Path("/c.yaml"), json.dumps(data).encode(), trusted=False, faults=faults)
    assert (layer is None) is bool(faults.lines)
    assert all(line.startswith("/c.yaml") and "\n" not in line for line in faults.lines)
    if layer is not None:
        assert list(dangerous(layer.data)) == []


def test_a_repository_names_no_command_as_a_backend() -> None:
    data = {"parallel_runs": {"backend": "acp:./agent"}, "agents": {"build": {"backend": "acp:./agent"}}}
    assert set(dangerous(data)) == {("parallel_runs", "backend"), ("agents", "build", "backend")}
    assert set(dangerous({"parallel_runs": {"backend": "claude"}})) == set()
