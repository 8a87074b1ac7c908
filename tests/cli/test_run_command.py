"""`architect run` as a user or a worker starts it: one object on stdout, the right exit code, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.console import deliver
from support.model_server import ModelServer

ARCHITECT = str(Path(sys.executable).with_name("architect"))
KEYS = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY"), "sk-very-secret-key")
MODELS = """
writer:
  price: {input_per_mtok: 1.0, output_per_mtok: 10.0}
  steps:
    - text: writing
      tool: write
      args: {path: out.txt, content: "{prompt}"}
      usage: {input_tokens: 1000, output_tokens: 100}
    - text: written
      usage: {input_tokens: 1000, output_tokens: 100}
runner: {steps: [{tool: shell, args: {command: "{prompt}"}}, {text: ran}]}
looper: {repeat: true, steps: [{tool: list}]}
sleeper: {steps: [{text: "going to bed", tool: shell, args: {command: "echo $$ > pid; sleep 600"}}, {text: up}]}
limited: {steps: [{error: {status: 429, message: slow down, retry_after: 7}}]}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "models.yaml").write_text(MODELS)
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def environment(tree: Path) -> dict[str, str]:
    return os.environ | {"ARCHITECT_SCRIPTED_MODELS": str(tree.parent / "models.yaml")}


def architect(
    tree: Path, *words: str, stdin: bytes = b"", environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [ARCHITECT, "run", *words], cwd=tree, input=stdin, capture_output=True, env=environment(tree) | (environ or {}),
        check=False, timeout=60,
    )  # fmt: skip


def told(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert done.stdout.count(b"\n") == 1, done
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_one_object_tells_all(tree: Path) -> None:
    done = architect(tree, "say hi", "--json", "--confirm-mode", "yolo", "--model", "scripted:writer")
    report = told(done)
    assert done.returncode == 0
    assert report.pop("session_id")
    assert report == {
        "status": "success",
        "reason": "completed",
        "steps": 2,
        "cost": pytest.approx(0.004),
        "usage": {"input_tokens": 2000, "cached_tokens": 0, "output_tokens": 200},
        "output": "written",
        "model": "scripted:writer",
        "error": None,
        "retry_after": None,
        "warnings": [],
        "sandbox": None,
    }
    assert (tree / "out.txt").read_text() == "say hi"
    assert b"writing" in done.stderr, "progress, so that an idle limit sees life"


def test_people_get_the_last_words_on_stdout_and_the_rest_on_stderr(tree: Path) -> None:
    done = architect(tree, "say hi", "--model", "scripted:writer")
    assert done.stdout == b"written\n"
    assert b"success (completed), 2 steps, $0.0040, scripted:writer" in done.stderr


@pytest.mark.parametrize("place", ["stdin", "file"])
def test_a_long_task_or_one_like_an_option_comes_by_stdin_or_file(tree: Path, place: str) -> None:
    task = "--help " + "é" * 1_000_000
    (tree.parent / "task").write_text(task)
    words = ("-",) if place == "stdin" else ("--task-file", str(tree.parent / "task"))
    done = architect(tree, *words, "--json", "--quiet", "--model", "scripted:writer", stdin=task.encode())
    assert told(done)["status"] == "success"
    assert (tree / "out.txt").read_text() == task
    assert done.stderr == b""


def test_steps_and_money_stop_it_with_its_work(tree: Path) -> None:
    report = told(architect(tree, "x", "--json", "--model", "scripted:looper", "--max-steps", "4"))
    assert (report["status"], report["reason"], report["steps"]) == ("partial", "max_steps", 4)
    report = told(architect(tree, "x", "--json", "--model", "scripted:writer", "--budget", "0.001"))
    assert (report["status"], report["reason"], report["steps"]) == ("partial", "budget", 1)


def test_a_rate_limit_is_a_failure_of_its_own_kind(tree: Path) -> None:
    done = architect(tree, "x", "--json", "--model", "scripted:limited")
    report = told(done)
    assert done.returncode == 1
    assert (report["status"], report["reason"], report["retry_after"]) == ("failed", "rate_limited", 7)


@pytest.mark.parametrize(
    ("starter", "numbers", "code"),
    [
        ((), (signal.SIGINT,), 130),
        ((), (signal.SIGTERM,), 143),
        ((), (signal.SIGHUP,), 129),
        (("nohup",), (signal.SIGHUP, signal.SIGTERM), 143),
    ],
)
def test_a_signal_ends_its_command_and_still_reports(
    tree: Path, starter: tuple[str, ...], numbers: tuple[signal.Signals, ...], code: int
) -> None:
    words = [*starter, ARCHITECT, "run", "x", "--json", "--confirm-mode", "yolo", "--model", "scripted:sleeper"]
    with subprocess.Popen(
        words, cwd=tree, env=environment(tree), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        pid = tree / "pid"
        while not (pid.exists() and pid.read_text()):
            assert run.poll() is None
            time.sleep(0.01)
        for number in numbers:
            deliver(run, number)
        stdout, _ = run.communicate(timeout=60)
    report = json.loads(stdout)
    assert run.returncode == code
    assert (report["status"], report["reason"], report["output"]) == ("partial", "interrupted", "going to bed")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_signal_while_an_sdk_is_imported_is_not_kept_waiting(tree: Path) -> None:
    slow = tree.parent / "site" / "pydantic_ai"
    slow.mkdir(parents=True)
    (slow / "__init__.py").write_text("import time\nopen('importing', 'w').close()\ntime.sleep(600)\n")
    environ = environment(tree) | KEYS | {"PYTHONPATH": str(slow.parent)}
    words = [ARCHITECT, "run", "x", "--json", "--model", "gpt-4o"]
    with subprocess.Popen(words, cwd=tree, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        while not (tree / "importing").exists():
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        stdout, _ = run.communicate(timeout=30)
    assert run.returncode == 130
    assert (json.loads(stdout)["status"], json.loads(stdout)["reason"]) == ("failed", "interrupted")


@pytest.mark.parametrize(
    ("profile", "mode", "made"),
    [
        ("build", "yolo", True),
        ("build", "confirm-sensitive", False),
        ("plan", "yolo", False),
        ("review", "yolo", False),
    ],
)
def test_only_build_with_yolo_runs_commands(tree: Path, profile: str, mode: str, made: bool) -> None:
    words = ("touch made", "--json", "--model", "scripted:runner", "--agent", profile, "--confirm-mode", mode)
    assert told(architect(tree, *words))["status"] == "success"
    assert (tree / "made").exists() == made


def test_progress_goes_to_the_launchers_file_without_keys(tree: Path) -> None:
    progress = tree.parent / "progress"
    words = ("env; true", "--json", "--confirm-mode", "yolo", "--model", "scripted:runner")
    told(architect(tree, *words, environ={"ARCHITECT_PROGRESS_FILE": str(progress), **KEYS}))
    lines = [json.loads(line) for line in progress.read_text().splitlines()]
    assert [line["steps"] for line in lines if "steps" in line] == [1, 2]
    assert "sk-very-secret-key" not in progress.read_text()


def test_modules_of_the_worktree_are_not_imported(tree: Path) -> None:
    """A project may well have a `json.py`; an agent may write a `typer.py`."""
    for name in ("json.py", "typer.py", "yaml.py"):
        (tree / name).write_text("open('pwned', 'w')\n")
    module = [sys.executable, "-P", "-m", "architect_parallel"]
    words = ["run", "x", "--json", "--model", "scripted:writer"]
    safe = subprocess.run(
        [*module, *words], cwd=tree, env=environment(tree), capture_output=True, check=False, timeout=60
    )
    assert (safe.returncode, (tree / "pwned").exists()) == (0, False)
    # The control: without -P the worktree's modules come first.
    module.remove("-P")
    subprocess.run([*module, *words], cwd=tree, env=environment(tree), capture_output=True, check=False, timeout=60)
    assert (tree / "pwned").exists()


BAD = [
    ((), "give the task once"),
    (("a", "--task-file", "b"), "give the task once"),
    (("  ",), "TASK ' ': must not be empty"),
    (("--task-file", "/nowhere"), "the task file /nowhere does not exist"),
    (("a", "--max-steps", "0"), "--max-steps"),
    (("a", "--budget", "nan"), "--budget"),
    (("a", "--timeout", "0"), "--timeout"),
    (("a", "--agent", "biuld"), "did you mean 'build'"),
    (("a", "--confirm-mode", "sure"), "unknown confirm mode"),
    (("a", "--model", "llama"), "no provider is known for model 'llama'"),
    (("a", "--model", "scripted:nobody"), "no scripted model 'nobody'"),
    (("a", "--nonsense"), "--nonsense"),
]


@pytest.mark.parametrize(("words", "said"), BAD)
def test_bad_input_is_one_line_and_exit_2(tree: Path, words: tuple[str, ...], said: str) -> None:
    done = architect(tree, *words, "--json")
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()
    assert done.stderr.startswith(b"architect: ")
    assert done.stderr.count(b"\n") <= 2


def test_a_task_with_a_nul_byte_is_refused(tree: Path) -> None:
    assert architect(tree, "-", "--model", "scripted:writer", stdin=b"a\0b").returncode == 2
    assert architect(tree, "-", "--model", "scripted:writer", stdin=b"\xff").returncode == 2


@pytest.mark.parametrize(
    ("words", "key"), [((), "no provider's key is set"), (("--model", "gpt-4o"), "OPENAI_API_KEY")]
)
def test_a_missing_key_is_exit_3_with_the_remedy(tree: Path, words: tuple[str, ...], key: str) -> None:
    done = architect(tree, "x", "--json", *words)
    assert (done.returncode, done.stdout) == (3, b"")
    assert key in done.stderr.decode()


PROVIDERS = {
    "gpt-4o": {"OPENAI_BASE_URL": "{url}/v1"},
    "claude-sonnet-4-6": {"ANTHROPIC_BASE_URL": "{url}"},
    "deepseek-chat": {"ARCHITECT_API_BASE": "{url}/v1"},
}
"""Responses, Messages, Chat Completions."""


@pytest.mark.parametrize("model", PROVIDERS)
def test_real_clients_do_a_task_on_a_server_of_ours(tree: Path, model: str) -> None:
    with ModelServer() as server:
        environ = {name: value.format(url=server.url) for name, value in PROVIDERS[model].items()}
        words = ("MOCK:write made.txt", "--json", "--confirm-mode", "yolo", "--model", model)
        done = architect(tree, *words, environ=KEYS | environ)
    report = told(done)
    assert (report["status"], report["steps"]) == ("success", 2), done
    assert report["usage"] == {"input_tokens": 2400, "cached_tokens": 400, "output_tokens": 100}
    assert report["cost"] > 0
    assert (tree / "made.txt").exists()
    assert {each.model for each in server.requests} == {model}
    assert b"sk-very-secret-key" not in done.stdout + done.stderr


@pytest.mark.parametrize(("status", "reason"), [("429", "rate_limited"), ("500", "agent_error")])
def test_a_refusing_server_is_asked_twice_and_no_more(tree: Path, status: str, reason: str) -> None:
    with ModelServer() as server:
        words = (f"MOCK:error {status}", "--json", "--model", "local-model", "--api-base", f"{server.url}/v1")
        done = architect(tree, *words)
    report = told(done)
    assert (done.returncode, report["status"], report["reason"]) == (1, "failed", reason)
    assert report["error"].startswith(f"HTTP {status}: ")
    assert len(server.requests) == 2


class Parrot(BaseHTTPRequestHandler):
    """Refuses, and repeats what it was sent."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"error": {"message": "x" * 460 + f" not allowed: {self.headers['authorization']}"}}).encode()
        self.send_response(401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_key_that_a_server_repeats_is_redacted(tree: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Parrot) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        progress = tree.parent / "progress"
        words = ("x", "--json", "--model", "m", "--api-base", f"http://127.0.0.1:{server.server_port}/v1")
        done = architect(tree, *words, environ=KEYS | {"ARCHITECT_PROGRESS_FILE": str(progress)})
        server.shutdown()
    assert "not allowed: Bearer [r" in told(done)["error"]
    assert "sk-very" not in (done.stdout + done.stderr).decode() + progress.read_text()


def test_a_server_that_hangs_is_left_at_the_time_limit(tree: Path) -> None:
    with ModelServer() as server:
        words = ("MOCK:hang", "--json", "--timeout", "0.5", "--model", "local-model", "--api-base", f"{server.url}/v1")
        report = told(architect(tree, *words))
    assert (report["status"], report["reason"]) == ("failed", "worker_timeout")


def test_another_backend_runs_here_under_the_same_supervision(tree: Path) -> None:
    done = architect(tree, "echo made > made; echo done", "--json", "--backend", "shell", "--confirm-mode", "yolo")
    report = told(done)
    assert (done.returncode, report["status"], report["output"]) == (0, "success", "done"), done
    assert (tree / "made").read_text() == "made\n"


def test_another_backend_is_stopped_with_its_whole_tree(tree: Path) -> None:
    command = "setsid sh -c 'echo $$ > pid; trap \"\" TERM INT; while :; do sleep 1; done'"
    words = (command, "--json", "--backend", "shell", "--confirm-mode", "yolo", "--timeout", "0.7")
    done = architect(tree, *words)
    assert (done.returncode, told(done)["reason"]) == (1, "worker_timeout")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tree / "pid").read_text()), 0)


@pytest.mark.parametrize(("name", "code"), [("shel", 2), ("claude", 3)])
def test_a_backend_that_is_unknown_or_missing_is_named(tree: Path, name: str, code: int) -> None:
    done = architect(tree, "x", "--json", "--backend", name, environ={"PATH": "/usr/bin:/bin"})
    assert (done.returncode, done.stdout) == (code, b"")
    assert name in done.stderr.decode()


def test_a_request_that_a_backend_cannot_express_is_a_mistake_of_the_user(tree: Path) -> None:
    config = tree.parent / "config.yaml"
    config.write_text(f"agents: {{long: {{system_prompt: {'x' * 200_000}}}}}")
    words = ("x", "--json", "--backend", "architect", "--model", "scripted:writer")
    done = architect(tree, *words, "--agent", "long", "--config", str(config))
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"the system prompt of worker 1 is longer than 128 KiB" in done.stderr
    assert b"Traceback" not in done.stderr


def without_extra(tree: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """As from a wheel installed without `[agent]`."""
    blocked = "import sys; sys.modules |= dict.fromkeys(('pydantic_ai', 'openai', 'anthropic'))"
    program = f"{blocked}; from architect_parallel.cli.app import main; main()"
    return subprocess.run(
        [sys.executable, "-P", "-c", program, "run", *words], cwd=tree, capture_output=True,
        env=environment(tree) | KEYS, check=False, timeout=60,
    )  # fmt: skip


def test_scripted_models_need_no_extra(tree: Path) -> None:
    assert told(without_extra(tree, "x", "--json", "--model", "scripted:writer"))["status"] == "success"


def test_a_missing_extra_is_exit_3_with_the_command_to_type(tree: Path) -> None:
    done = without_extra(tree, "x", "--json", "--model", "gpt-4o")
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"pipx install --force '.[agent]'" in done.stderr
