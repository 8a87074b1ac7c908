"""Record runs of an older version of this program, for `tests/cli/test_old_runs.py`.

    python tests/recordings/runs/record.py CHECKOUT

`CHECKOUT` is a source tree of the version to record; the current Python must have its dependencies. The script makes
one small repository, runs the program in it, and writes beside itself:

- `repository.tar.gz`: the repository with its worktrees and the directory `.git/architect`;
- `answers.json`: for each run its id and the JSON that the older version printed about it;
- `keys.json`: the keys that the older version stores for each type of event.

Everything happens below `/tmp/recorded-runs`, with no variable of the current user, so that nothing of the machine
is in the recording.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path("/tmp/recorded-runs")
HERE = Path(__file__).resolve().parent
REPOSITORY = ROOT / "repository"
SHELL = ("--backend", "shell", "--quiet")
STOPS_IN_THE_FIRST_ATTEMPT = "if test ! -e {go}; then touch {began}; sleep 600; fi"
"""A shell task that runs until its launcher is killed. A later attempt finds the file `go` below the home and ends."""

SCRIPTED = """\
careful:
  price: {input_per_mtok: 2.5, cached_input_per_mtok: 1.25, output_per_mtok: 10.0}
  steps:
    - {text: Looking., tool: read, args: {path: greeting.txt}, usage: {input_tokens: 1150, output_tokens: 45}}
    - {text: Writing., tool: write, args: {path: greeting.txt, content: "hello world\\n"},
       usage: {input_tokens: 1620, cached_tokens: 1024, output_tokens: 60}}
    - {text: greeting.txt says hello world., usage: {input_tokens: 1990, cached_tokens: 1536, output_tokens: 20}}
hasty:
  price: {input_per_mtok: 0.28, cached_input_per_mtok: 0.03, output_per_mtok: 0.42}
  steps:
    - {text: Writing., tool: write, args: {path: greeting.txt, content: "hello moon\\n"},
       usage: {input_tokens: 1180, output_tokens: 110}}
    - {text: Done., usage: {input_tokens: 1350, cached_tokens: 1152, output_tokens: 40}}
endless:
  price: {input_per_mtok: 3.0, cached_input_per_mtok: 0.3, output_per_mtok: 15.0}
  repeat: true
  steps:
    - {text: Noting., tool: shell, args: {command: "echo perhaps >> notes.txt"},
       usage: {input_tokens: 2400, cached_tokens: 1024, output_tokens: 180}}
eager:
  price: {input_per_mtok: 0.56, output_per_mtok: 0.84}
  steps:
    - {text: Writing., tool: write, args: {path: greeting.txt, content: "hello big moon\\n"},
       usage: {input_tokens: 1180, output_tokens: 110}}
    - {text: Done., usage: {input_tokens: 1350, output_tokens: 40}}
"""
CONFIG = """\
backends:
  first-is-best: {command: [sh, -c, "cat > /dev/null; echo 'BEST: A'"], prompt: stdin}
"""
SPEC = """\
name: Letters
defaults: {backend: shell}
tasks:
  - {name: alpha, task: "echo alpha | tee alpha.txt"}
  - {name: beta, task: "echo 'beta after {{ alpha }}' > beta.txt; STOP", dependencies: [alpha]}
  - {name: gamma, task: "echo gamma > gamma.txt", dependencies: [beta]}
"""
FLOW = """\
states:
  first: {tool: bash, arguments: {command: "echo began"}, output: var(begin), next: ask}
  ask: {tool: ask-user, arguments: {question: "ok?", choices: ["yes", "no"]}, output: var(ok), next: last}
  last: {tool: bash, arguments: {command: "echo '{{ begin }} {{ ok }}'"}}
"""


class OldProgram:
    """The older version of the program, started in the repository."""

    def __init__(self, source: Path) -> None:
        (ROOT / "home").mkdir(parents=True)
        # Links, so that the journal's command lines do not name directories of this machine.
        (ROOT / "source").symlink_to(source)
        (ROOT / "python").symlink_to(Path(sys.executable).parent.parent)
        (ROOT / "scripted.yaml").write_text(SCRIPTED)
        self._environ = {
            "HOME": str(ROOT / "home"),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT / "source"),
            "ARCHITECT_SCRIPTED_MODELS": str(ROOT / "scripted.yaml"),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        (ROOT / "home" / ".gitconfig").write_text("[user]\n\tname = Recorded\n\temail = recorded@example.invalid\n")

    def git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=REPOSITORY, env=self._environ, check=True)

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [str(ROOT / "python" / "bin" / "python"), "-P", "-m", "architect_parallel", *words]
        return subprocess.Popen(
            command, cwd=REPOSITORY, env=self._environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )

    def answer(self, *words: str) -> str:
        process = self.start(*words)
        return process.communicate()[0]

    def newest_run(self) -> str:
        return str(json.loads(self.answer("status", "latest", "--json"))["run_id"])

    def kill_when(self, began: Path, *words: str) -> str:
        """Run a command, kill its launcher once the file `began` exists, and return the run's id."""
        process = self.start(*words)
        while not began.exists():
            time.sleep(0.05)
        time.sleep(0.5)  # the events of the agent's start are written
        process.send_signal(signal.SIGKILL)
        process.communicate()
        while json.loads(self.answer("status", "latest", "--json"))["status"] == "running":
            time.sleep(0.05)
        return self.newest_run()


def record(source: Path) -> None:
    shutil.rmtree(ROOT, ignore_errors=True)
    program = OldProgram(source)
    REPOSITORY.mkdir()
    program.git("init", "--quiet", "--initial-branch=main", "--template=")
    (REPOSITORY / "greeting.txt").write_text("hello\n")
    (REPOSITORY / "ask.yaml").write_text(FLOW)
    program.git("add", ".")
    program.git("commit", "--quiet", "-m", "first")

    runs: dict[str, str] = {}
    models = ("--models", "scripted:careful,scripted:hasty,scripted:endless", "--check", "grep -q world greeting.txt")
    program.answer("parallel", "greet the world", *models, "--budget-per-worker", "0.02", "--quiet")
    runs["finished"] = program.newest_run()

    twice = "test -e $HOME/tried || { touch $HOME/tried; exit 1; }; echo again"
    program.answer(
        "parallel", twice, "--task", "echo stray > ../stray.txt; exit 3", "--retries", "1", "--tripwire", "warn", *SHELL
    )
    runs["retried"] = program.newest_run()
    program.answer("resume", runs["retried"])
    (REPOSITORY / "stray.txt").unlink()

    stop = STOPS_IN_THE_FIRST_ATTEMPT.format(go="$HOME/go", began="$HOME/began-2")
    tasks = (f"echo two > two.txt; {stop}", "--task", "echo one > one.txt")
    runs["interrupted"] = program.kill_when(ROOT / "home" / "began-2", "parallel", *tasks, *SHELL)

    stop = STOPS_IN_THE_FIRST_ATTEMPT.format(go="$HOME/go", began="$HOME/began-spec")
    (REPOSITORY / "letters.yaml").write_text(SPEC.replace("STOP", stop))
    runs["spec"] = program.kill_when(ROOT / "home" / "began-spec", "spec", "run", "letters.yaml", "--quiet")
    (REPOSITORY / "letters.yaml").unlink()

    program.answer("flow", "run", "ask.yaml", "--quiet")
    runs["flow"] = program.newest_run()

    (ROOT / "config.yaml").write_text(CONFIG)
    words = ("--models", "scripted:hasty,scripted:eager", "--judge", "first-is-best", "-c", str(ROOT / "config.yaml"))
    program.answer("eval", "greet the moon", *words, "--check", "grep -q moon greeting.txt", "--quiet")
    runs["competition"] = program.newest_run()

    program.answer("parallel", "echo merged > merged.txt", "--workers", "1", *SHELL)
    runs["merged"] = program.newest_run()
    program.answer("merge", runs["merged"], "1")

    answers = {
        name: {"run_id": run_id, "report": json.loads(program.answer("report", run_id, "--format", "json"))}
        for name, run_id in runs.items()
    }
    answers["compared"] = json.loads(program.answer("compare", runs["finished"], "--json"))
    answers["operations"] = json.loads(program.answer("undo", "--list", "--json"))
    (HERE / "answers.json").write_text(json.dumps(answers, separators=(",", ":")) + "\n")
    keys = HERE.parents[1] / "support" / "stored_keys.py"
    environ = os.environ | {"PYTHONPATH": str(source)}
    (HERE / "keys.json").write_bytes(subprocess.check_output([sys.executable, "-P", keys], env=environ))
    with tarfile.open(HERE / "repository.tar.gz", "w:gz", compresslevel=9) as archive:
        archive.add(REPOSITORY, "repository", filter=_without_owner)


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    record(Path(os.path.abspath(sys.argv[1])))
