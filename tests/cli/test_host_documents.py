"""`docs/hosts.md` and `docs/deploy/`: every command there is one of this program's, and the manifests are whole."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from architect_parallel.cli.app import build_app

DOCS = Path(__file__).resolve().parents[2] / "docs"
DEPLOY = DOCS / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def _objects() -> list[dict[str, Any]]:
    return [item for path in MANIFESTS for item in yaml.safe_load_all(path.read_text())]


@functools.cache
def _program() -> Any:
    return typer.main.get_command(build_app())


def _parse(words: list[str]) -> None:
    """Parse a command line of the program. An unknown command or option is an error."""
    command = _program()
    assert words[0].rpartition("/")[2] == "architect"
    context = command.make_context("architect", words[1:])
    while getattr(command, "commands", None):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)


def _command_lines() -> Iterator[tuple[str, str]]:
    for block in re.findall(r"^```sh\n(.*?)^```", (DOCS / "hosts.md").read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("architect "):
                yield "hosts.md", line
    for path in sorted((DEPLOY / "systemd").glob("*.service")):
        (line,) = re.findall("^ExecStart=(.*)$", path.read_text(), re.MULTILINE)
        yield path.name, line
    script = (DEPLOY / "slurm" / "hosts.sh").read_text().replace("\\\n", " ")
    (line,) = re.findall("^exec (.*)$", script, re.MULTILINE)
    yield "hosts.sh", line


@pytest.mark.parametrize(("place", "line"), list(_command_lines()))
def test_a_documented_command_is_one_of_ours(place: str, line: str) -> None:
    _parse(shlex.split(line))


def test_a_command_with_an_unknown_option_is_noticed() -> None:
    """The control."""
    with pytest.raises(Exception, match="No such option: --nowhere"):
        _parse(["architect", "host", "join", "dask://a:1", "--nowhere"])


def test_the_manifests_are_whole_and_their_commands_ours() -> None:
    objects = {(item["kind"], item["metadata"]["name"]): item for item in _objects()}
    assert list(objects) == [
        ("StatefulSet", "architect-host"),
        ("Service", "architect-host"),
        ("Deployment", "architect-scheduler"),
        ("Service", "architect-scheduler"),
    ]
    for kind, name in (("StatefulSet", "architect-host"), ("Deployment", "architect-scheduler")):
        spec = objects[kind, name]["spec"]
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        _parse(container["command"])
        assert spec["template"]["metadata"]["labels"] == spec["selector"]["matchLabels"] == {"app": name}
        volumes = {volume["name"] for volume in pod["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert objects["Service", name]["spec"]["selector"] == {"app": name}
    host = objects["StatefulSet", "architect-host"]["spec"]["template"]["spec"]
    assert "dask://architect-scheduler:8786" in host["containers"][0]["command"]
    secrets = {volume["secret"]["secretName"] for volume in host["volumes"]} | {
        source["secretRef"]["name"] for source in host["containers"][0]["envFrom"]
    }
    text = (DOCS / "hosts.md").read_text().replace("architect-$role", "architect-worker architect-scheduler")
    assert all(f"{secret} " in text for secret in secrets | {"architect-scheduler"})


def test_the_job_script_is_a_shell_script() -> None:
    assert subprocess.run(["sh", "-n", DEPLOY / "slurm" / "hosts.sh"]).returncode == 0
