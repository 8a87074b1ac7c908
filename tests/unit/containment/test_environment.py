"""The variables of a contained program."""

from __future__ import annotations

from pathlib import Path

from architect_parallel.containment.profile import ProfilePlaces, profile
from architect_parallel.containment.steps import contained
from architect_parallel.domain import Mechanism, Network, Sandbox, SandboxLevel
from architect_parallel.supervision.messages import Launch

GIVEN = {
    "PATH": "/usr/bin",
    "SSH_AUTH_SOCK": "/run/agent",
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus",
    "XDG_RUNTIME_DIR": "/run/user/1",
    "TMPDIR": "/somewhere",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}


def environment(tmp_path: Path, **more: object) -> dict[str, str]:
    sandbox = Sandbox(level=SandboxLevel.WRITE, mechanism=Mechanism.NAMESPACES, **more)  # type: ignore[arg-type]  # names are Sandbox's
    places = ProfilePlaces(home=tmp_path / "home", directory=tmp_path, scratch=tmp_path / "scratch")
    launch = Launch(argv=("true",), cwd=tmp_path, env=GIVEN)
    return dict(contained(launch, sandbox, profile(sandbox, places)).env)


def test_what_it_cannot_reach_is_not_named(tmp_path: Path) -> None:
    made = environment(tmp_path)
    assert made["PATH"] == "/usr/bin"
    assert not {"SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "TMPDIR"} & made.keys()


def test_commits_are_not_signed_because_the_keys_are_hidden(tmp_path: Path) -> None:
    made = environment(tmp_path)
    settings = {
        made[f"GIT_CONFIG_KEY_{n}"]: made[f"GIT_CONFIG_VALUE_{n}"] for n in range(int(made["GIT_CONFIG_COUNT"]))
    }
    assert settings == {"safe.directory": "*", "commit.gpgSign": "false", "tag.gpgSign": "false"}


def test_a_cache_that_the_home_has_not_is_a_private_one(tmp_path: Path) -> None:
    (tmp_path / "home" / ".npm").mkdir(parents=True)
    made = environment(tmp_path)
    assert made["XDG_CACHE_HOME"] == "/tmp/.cache"
    assert "npm_config_cache" not in made


def test_the_proxy_is_named_for_the_network_hosts_and_takes_another_port_than_a_forwarded_one(tmp_path: Path) -> None:
    made = environment(tmp_path, network=Network.HOSTS, hosts=("localhost:3128", "api.example.com"))
    assert made["HTTPS_PROXY"] == made["https_proxy"] == "http://127.0.0.1:3129"
    assert "127.0.0.1" in made["NO_PROXY"]
    assert "HTTPS_PROXY" not in environment(tmp_path)
