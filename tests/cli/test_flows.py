"""`architect flow`: a state machine run by the one runner, killed, paused and gone on with."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.console import SCRIPT, Architect
from support.repositories import git

FLOW = """
variables: {name: "it's $(touch pwned)"}
states:
  hello:
    tool: bash
    arguments: {command: "echo hello '{{ name }}'; exit 3"}
    output: var(said)
    on-error: {3: both}
  both:
    tool: parallel
    arguments:
      tasks:
        - {tool: shell, arguments: {prompt: "echo one > one.txt; echo {{ said }}"}, output: var(one)}
        - {tool: bash, arguments: {command: "echo {{ said }} two"}, output: file(out/two.txt)}
    next: loop
  loop: {tool: for-each, arguments: {items: [a, b], as: it, goto: work}, next: ask}
  work: {tool: bash, arguments: {command: "echo {{ it }} >> log"}, next: loop}
  ask: {tool: ask-user, arguments: {question: "ok?", choices: ["yes", "no"]}, output: var(ok), next: check}
  check: {tool: if-equal, arguments: {left: "{{ ok }}", right: "yes", then: end, else: bad}}
  end: {tool: bash, arguments: {command: "cat {{ path(log) }}; echo {{ file(out/two.txt) }}"}}
  bad: {tool: bash, arguments: {command: "exit 9"}}
"""


def on_terminal(checkout: Path, answer: str, *words: str) -> tuple[str, int]:
    """The command on a terminal of its own, `answer` typed when it asks.

    Once more when nothing comes of it for long: a Ctrl-C in the moment before Python begins to read only marks that it
    came, and the read goes on; who sits there presses it again.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(checkout)
        os.environ.pop("CI", None)
        os.execv(SCRIPT, [str(SCRIPT), *words])
    seen, asked = b"", False
    while True:
        if asked and not select.select([terminal], [], [], 10)[0]:
            os.write(terminal, answer.encode() + b"\n")
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        seen += data
        if not asked and b"answer" in seen:
            asked = True
            os.write(terminal, answer.encode() + b"\n")
    os.close(terminal)
    return seen.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_flow_from_its_start_to_a_pause_and_on_to_its_end(architect: Architect, checkout: Path) -> None:
    (checkout / "f.yaml").write_text(FLOW)
    answer = architect("flow", "run", "f.yaml", "--json")

    run = answer.json
    assert (answer.code, run["status"]) == (0, "interrupted")
    go_on = f"architect flow run --resume {run['run_id']} --answer TEXT"
    assert f"paused in state ask and asks: ok? (yes / no); to go on: {go_on}\n" in answer.err
    assert run["pause"] == {
        "state": "ask", "question": "ok?", "choices": ["yes", "no"], "default": None, "to_go_on": go_on
    }  # fmt: skip
    shown = architect("status", run["run_id"]).out
    assert shown.endswith(f"Paused in state ask\n{'=' * 60}\nok? (yes / no)\nto go on: {go_on}\n")
    names = [each["name"] for each in run["results"]]
    assert names == ["hello", "both-1", "both-2", "work", "work"]
    assert (checkout / "log").read_text() == "a\nb\n"
    assert (checkout / "out" / "two.txt").read_text() == "hello it's $(touch pwned) two\n"
    assert not (checkout / "pwned").exists()
    first = run["results"][1]
    assert (first["branch"], first["files_modified"]) == ("architect/parallel-2", ["one.txt"])
    assert git(checkout, "show", "architect/parallel-2:one.txt") == "one"
    assert run["results"][0]["branch"] == ""

    watched = [json.loads(line) for line in architect("watch", run["run_id"], "--json").out.splitlines()]
    ends = [(each["name"], each["status"]) for each in watched if each["event"] == "worker_finished"]
    assert sorted(ends) == [
        ("both-1", "success"),
        ("both-2", "success"),
        ("hello", "failed"),
        *[("work", "success")] * 2,
    ]

    assert "the flow waits in state ask: ok? (yes / no)" in architect("watch", run["run_id"]).out

    dry = architect("resume", run["run_id"], "--dry-run")
    assert (dry.code, dry.out) == (0, "would continue the flow in state ask\n")
    seen, code = on_terminal(checkout, "yes", "resume", run["run_id"])
    assert code == 0, seen
    whole = architect("status", run["run_id"], "--json").json
    assert (whole["status"], whole["exit_code"], whole["total_tasks"]) == ("success", 0, 6)
    assert whole["pause"] is None
    assert whole["results"][5]["output"] == "a\nb\nhello it's $(touch pwned) two"
    assert (checkout / "log").read_text() == "a\nb\n"  # nothing was done twice
    again = architect("flow", "run", "--resume", run["run_id"])
    assert (again.code, "has ended" in again.err) == (4, True)


def test_a_question_is_answered_without_a_terminal(architect: Architect, checkout: Path) -> None:
    (checkout / "f.yaml").write_text(
        "a: {tool: ask-user, arguments: {question: 'go?', choices: ['yes', 'no']}, output: var(said), next: p}\n"
        "p: {tool: pause, arguments: {message: look at it}, next: b}\n"
        "b: {tool: ask-user, arguments: {question: 'a name?', default: x}, output: var(name), next: end}\n"
        "end: {tool: bash, arguments: {command: 'echo {{ said }} {{ name }}'}}\n"
    )
    run_id = architect("flow", "run", "f.yaml", "--json").json["run_id"]
    for words, said in (
        (("--answer", "maybe"), "--answer 'maybe' is not one of the choices: yes, no"),
        (("--answer", ""), "--answer"),
    ):
        wrong = architect("flow", "run", "--resume", run_id, *words)
        assert (wrong.code, wrong.out, said in wrong.err) == (2, "", True), wrong.err
    assert architect("flow", "run", "f.yaml", "--answer", "yes").code == 2
    again = architect("flow", "run", "--resume", run_id, "--json").json  # the same question without an answer
    assert (again["status"], again["pause"]["question"]) == ("interrupted", "go?")
    paused = architect("flow", "run", "--resume", run_id, "--answer", "yes", "--json").json
    assert (paused["pause"]["state"], paused["pause"]["question"]) == ("p", "look at it")
    asked = architect("flow", "run", "--resume", run_id, "--answer", "seen", "--json").json["pause"]
    assert (asked["question"], asked["choices"], asked["default"]) == ("a name?", [], "x")
    assert "a name? (default: x)" in architect("status", "latest").out
    ended = architect("flow", "run", "--resume", run_id, "--answer", "Ada Byron", "--json")
    assert (ended.code, ended.json["results"][0]["output"], ended.json["pause"]) == (0, "yes Ada Byron", None)
    failed = architect("flow", "run", "f.yaml", "--json").json["run_id"]
    assert "asks nothing" not in architect("flow", "run", "--resume", failed, "--answer", "no", "--quiet").err


def test_the_exit_code_is_that_of_the_state_it_ended_in(architect: Architect, checkout: Path) -> None:
    (checkout / "f.yaml").write_text(FLOW)
    architect("flow", "run", "f.yaml", "--quiet")
    seen, code = on_terminal(checkout, "no", "flow", "run", "--resume", "latest")
    assert code == 9, seen
    assert architect("status", "latest", "--json").json["status"] == "failed"
    (checkout / "t.yaml").write_text(
        "a: {tool: bash, arguments: {command: sleep 60, timeout: 1s}, on-error: {124: b}}\n"
        "b: {tool: parallel, arguments: {tasks: [{tool: bash, arguments: {command: sleep 1; exit 5}},"
        " {tool: bash, arguments: {command: exit 6}}]}}\n"
    )
    answer = architect("flow", "run", "t.yaml", "--json")
    assert (answer.code, [each["exit_code"] for each in answer.json["results"][1:]]) == (5, [5, 6])
    assert answer.json["results"][0]["reason"] == "worker_timeout"


def test_a_killed_flow_goes_on_where_it_stood(architect: Architect, checkout: Path) -> None:
    (checkout / "f.yaml").write_text(
        "a: {tool: bash, arguments: {command: echo a >> log}, next: p}\n"
        "p: {tool: parallel, arguments: {tasks: [{tool: bash, arguments: {command: echo p1 >> log}},"
        " {tool: bash, arguments: {command: 'test -e go || sleep 60; echo p2 >> log'}}]}, next: z}\n"
        "z: {tool: bash, arguments: {command: echo z >> log}}\n"
    )
    with subprocess.Popen(
        [SCRIPT, "flow", "run", "f.yaml", "--quiet"], cwd=checkout, stdout=subprocess.DEVNULL
    ) as flow:
        until = time.monotonic() + 60
        while architect("status", "--json").json["runs"][:1] == [] or (
            sum(each["status"] == "success" for each in architect("status", "latest", "--json").json["results"]) < 2
        ):
            assert time.monotonic() < until
        flow.send_signal(signal.SIGKILL)
    assert (checkout / "log").read_text() == "a\np1\n"
    (checkout / "go").touch()
    answer = architect("resume", "latest", "--json")
    assert (answer.code, answer.json["status"]) == (0, "success")
    assert (checkout / "log").read_text() == "a\np1\np2\nz\n"
    assert [each["attempts"] for each in answer.json["results"]] == [1, 1, 2, 1]


def test_ctrl_c_ends_what_runs_and_130_comes_back(architect: Architect, checkout: Path) -> None:
    (checkout / "f.yaml").write_text("a: {tool: bash, arguments: {command: touch up; sleep 60}, on-error: {_: a}}\n")
    with subprocess.Popen(
        [SCRIPT, "flow", "run", "f.yaml", "--quiet"], cwd=checkout, stdout=subprocess.DEVNULL
    ) as flow:
        until = time.monotonic() + 60
        while not (checkout / "up").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        flow.send_signal(signal.SIGINT)
        assert flow.wait(60) == 130
    assert architect("status", "latest", "--json").json["status"] == "canceled"


def test_instances_of_a_sub_flow_at_once_and_gone_on_with_after_one_failed(
    architect: Architect, checkout: Path
) -> None:
    """The three meet: each waits in its first step until all have come, so none waits for another one's end."""
    (checkout / "part.yaml").write_text(
        "variables: {part: none}\n"
        "states:\n"
        "  meet: {tool: bash, next: make, arguments: {timeout: 60s, command:\n"
        "    'echo {{ part }} >> came; while test $(wc -l < came) -lt 3; do sleep 0.05; done'}}\n"
        "  make: {tool: shell, next: look, arguments: {prompt: 'echo {{ part }} > made'}}\n"
        "  look: {tool: bash, arguments: {command: 'echo {{ part }} >> log; echo {{ part }}; test -e {{ part }}'},"
        " output: var(output)}\n"
    )
    (checkout / "f.yaml").write_text(
        "p: {tool: parallel, next: end, arguments: {tasks: [\n"
        "  {tool: sub-flow, arguments: {workflow: part, variables: {part: a}}, output: var(x)},\n"
        "  {tool: sub-flow, arguments: {workflow: part, variables: {part: b}}, output: var(y)},\n"
        "  {tool: sub-flow, arguments: {workflow: part, variables: {part: c}}, output: file(z)}]}}\n"
        "end: {tool: bash, arguments: {command: 'echo {{ x }} {{ y }} {{ file(z) }}'}}\n"
    )
    (checkout / "a").touch()
    (checkout / "b").touch()
    failed = architect("flow", "run", "f.yaml", "--json")
    assert (failed.code, failed.json["status"]) == (1, "failed"), failed.err
    assert "the flow ended in state p with exit code 1" in failed.json["warnings"][0]
    ends = {each["name"]: each["exit_code"] for each in failed.json["results"]}
    assert ends == {
        f"p-{n} > {state}": int((n, state) == (3, "look")) for n in (1, 2, 3) for state in ("meet", "make", "look")
    }
    branches = {each["name"]: each["branch"] for each in failed.json["results"]}
    assert git(checkout, "show", f"{branches['p-2 > make']}:made") == "b"  # an agent beside others has its own worktree
    assert not (checkout / "made").exists()

    dry = architect("resume", "latest", "--dry-run")
    assert (dry.code, dry.out) == (0, "would continue the flow in state p\n")
    (checkout / "c").touch()
    again = architect("resume", "latest", "--json")
    assert (again.code, again.json["status"]) == (0, "success"), again.err
    assert again.json["results"][-1]["output"] == "a b c"
    assert sorted((checkout / "log").read_text().split()) == ["a", "b", "c", "c"]  # only what had failed runs again
    assert sorted((checkout / "came").read_text().split()) == ["a", "b", "c"]


def test_a_stop_ends_all_instances_and_each_goes_on_where_it_was(architect: Architect, checkout: Path) -> None:
    (checkout / "part.yaml").write_text(
        "variables: {part: none}\n"
        "states:\n"
        "  one: {tool: bash, next: two, arguments: {command: 'echo {{ part }}1 >> log'}}\n"
        "  two: {tool: bash, on-error: {_: bad}, arguments: {command:\n"
        "    'test -e go || { touch {{ part }}; sleep 60; }; echo {{ part }}2 >> log'}}\n"
        "  bad: {tool: bash, arguments: {command: 'echo bad >> log'}}\n"
    )
    (checkout / "f.yaml").write_text(
        "p: {tool: parallel, arguments: {tasks: [\n"
        "  {tool: sub-flow, arguments: {workflow: part, variables: {part: a}}},\n"
        "  {tool: sub-flow, arguments: {workflow: part, variables: {part: b}}}]}}\n"
    )
    with subprocess.Popen(
        [SCRIPT, "flow", "run", "f.yaml", "--quiet"], cwd=checkout, stdout=subprocess.DEVNULL
    ) as flow:
        until = time.monotonic() + 60
        while not ((checkout / "a").exists() and (checkout / "b").exists()):
            assert time.monotonic() < until
            time.sleep(0.05)
        flow.send_signal(signal.SIGINT)
        assert flow.wait(60) == 130
    assert architect("status", "latest", "--json").json["status"] == "canceled"
    assert sorted((checkout / "log").read_text().split()) == ["a1", "b1"]  # a stop is no error that `on-error` handles
    (checkout / "go").touch()
    answer = architect("resume", "latest", "--json")
    assert (answer.code, answer.json["status"]) == (0, "success"), answer.err
    assert sorted((checkout / "log").read_text().split()) == ["a1", "a2", "b1", "b2"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run",), 2, "give either a FILE or --resume RUN"),
        (("run", "f.yaml", "--resume", "latest"), 2, "give either a FILE or --resume RUN"),
        (("run", "none.yaml"), 2, "none.yaml: there is no such file"),
        (("run", "f.yaml", "--var", "x"), 2, "is not NAME=VALUE"),
        (("run", "f.yaml", "--var", "x=1"), 2, "the flow has no variable 'x' (it has: name)"),
        (("run", "f.yaml", "--budget", "nan"), 2, "--budget"),
        (("run", "--resume", "latest"), 4, "no run"),
        (("validate", "."), 2, "is not a file"),
        (("run", "key.yaml"), 3, "backend claude cannot run"),
    ],
)
def test_bad_input_is_one_line_and_starts_nothing(
    architect: Architect, checkout: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    (checkout / "f.yaml").write_text(FLOW)
    (checkout / "key.yaml").write_text("a: {tool: claude, arguments: {prompt: x}}\n")
    (checkout / "c.yaml").write_text("backends: {claude: {command: [/nowhere/claude]}}\n")
    more = ("-c", "c.yaml") if "key.yaml" in words else ()
    answer = architect("flow", *words, *more)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert not (checkout / "log").exists()
    assert architect("status", "--json").json["runs"] == []


def test_validate_shows_the_way_through(architect: Architect, checkout: Path) -> None:
    (checkout / "f.yaml").write_text(FLOW)
    assert "  hello (bash) 3 → both" in architect("flow", "validate", "f.yaml").out
    assert json.loads(architect("flow", "validate", "f.yaml", "--json").out)["start_at"] == "hello"


def test_a_dry_run_finds_what_a_run_would_and_starts_nothing(architect: Architect, checkout: Path) -> None:
    (checkout / "f.yaml").write_text(FLOW)
    shown = architect("flow", "run", "f.yaml", "--dry-run", "--var", "name=x", "--budget", "2")
    assert (shown.code, shown.err) == (0, "")
    assert "      echo hello '{{ name }}'; exit 3\n" in shown.out
    assert "      shell: echo one > one.txt; echo {{ said }}\n" in shown.out
    assert shown.out.endswith("Cost ceiling: $2.00; nothing was started.\n")
    for words, said in (
        (("--var", "nope=1"), "the flow has no variable 'nope'"),
        (("--budget", "nan"), "--budget"),
        (("--timeout", "soon"), "--timeout"),
    ):
        answer = architect("flow", "run", "f.yaml", "--dry-run", *words)
        assert (answer.code, answer.out, said in answer.err) == (2, "", True)
    assert not (checkout / "log").exists()
    assert architect("status", "--json").json["runs"] == []


def test_a_flow_says_that_it_uses_no_host(
    architect: Architect, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "f.yaml").write_text(FLOW)
    monkeypatch.setenv("ARCHITECT_HOSTS", "ssh://box1")
    shown = architect("flow", "run", "f.yaml", "--dry-run", "--var", "name=x")
    assert shown.code == 0
    assert "flows and chains run on this machine: no host is used" in shown.out + shown.err


@pytest.mark.parametrize("way", ["signal", "cancel"])
def test_a_timed_pause_hears_who_ends_it_and_is_gone_on_with(architect: Architect, checkout: Path, way: str) -> None:
    (checkout / "f.yaml").write_text(
        "states:\n"
        "  a: {tool: bash, arguments: {command: echo a >> log}, next: p}\n"
        "  p: {tool: pause, arguments: {seconds: 60}, next: z}\n"
        "  z: {tool: bash, arguments: {command: echo z >> log}}\n"
    )
    with subprocess.Popen([SCRIPT, "flow", "run", "f.yaml", "--json"], cwd=checkout, stdout=subprocess.PIPE) as flow:
        until = time.monotonic() + 60
        while not (checkout / "log").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        with subprocess.Popen([SCRIPT, "watch", "--json"], cwd=checkout, stdout=subprocess.PIPE) as watch:
            assert watch.stdout is not None
            assert any(json.loads(line).get("state") == "p" for line in watch.stdout)
            watch.terminate()
        if way == "signal":
            flow.send_signal(signal.SIGINT)
        else:
            assert architect("cancel", "latest").code == 0
        out, _ = flow.communicate(timeout=60)
    ended = json.loads(out)  # one object
    assert flow.returncode == (130 if way == "signal" else 1)
    assert ended["status"] in ("canceled", "interrupted")
    assert "in state p" in ended["warnings"][0]
    (checkout / "f.yaml").write_text((checkout / "f.yaml").read_text().replace("seconds: 60", "seconds: 0.1"))
    answer = architect("flow", "run", "--resume", "latest", "--json")
    assert (answer.code, answer.json["status"]) == (0, "success")
    assert (checkout / "log").read_text() == "a\nz\n"


def test_ctrl_c_at_a_question_is_130_and_the_question_is_asked_again(architect: Architect, checkout: Path) -> None:
    (checkout / "f.yaml").write_text(FLOW)
    seen, code = on_terminal(checkout, "\x03", "flow", "run", "f.yaml")
    assert code == 130, seen
    assert "paused in state ask" in seen
    assert "Traceback" not in seen
    seen, code = on_terminal(checkout, "yes", "flow", "run", "--resume", "latest")
    assert code == 0, seen
    assert (checkout / "log").read_text() == "a\nb\n"


def test_a_failure_that_was_taken_care_of_is_not_repeated_after_a_kill(architect: Architect, checkout: Path) -> None:
    """Killed right after the failing task's end was recorded, before the flow moved on."""
    (checkout / "f.yaml").write_text(
        "a: {tool: bash, arguments: {command: echo a >> log; exit 3}, on-error: {3: b}}\n"
        "b: {tool: bash, arguments: {command: echo b >> log}}\n"
    )
    killed = """
import os, signal, sys
from architect_parallel.flows import runner as flows
flows._outcome = lambda result: os.kill(os.getpid(), signal.SIGKILL)
from architect_parallel.cli.app import main
sys.argv = ["architect", "flow", "run", "f.yaml", "--quiet"]
main()
"""
    done = subprocess.run([sys.executable, "-c", killed], cwd=checkout, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    answer = architect("resume", "latest", "--json")
    assert (answer.code, answer.json["status"]) == (0, "success")
    assert (checkout / "log").read_text() == "a\nb\n"
    (checkout / "f.yaml").write_text("a: {tool: bash, arguments: {command: echo a >> log; test -e good}}\n")
    assert architect("flow", "run", "f.yaml").code == 1
    (checkout / "good").touch()
    assert architect("resume", "latest").code == 0  # a flow that ended with a failure does it again


def test_an_output_without_a_place_is_a_failure_of_its_state(architect: Architect, checkout: Path) -> None:
    (checkout / "f.yaml").write_text(
        "a: {tool: bash, arguments: {command: echo a}, output: 'file({{ file(none) }})', on-error: {1: b}}\n"
        "b: {tool: bash, isolation: worktree, arguments: {command: pwd, cwd: /}}\n"
    )
    answer = architect("flow", "run", "f.yaml", "--json")
    assert (answer.code, answer.json["status"], answer.json["total_tasks"]) == (1, "failed", 1)
    assert "outside the repository" in answer.json["warnings"][0]


def test_a_worktree_without_the_directory_of_a_state_is_a_failure_of_the_state(
    architect: Architect, checkout: Path
) -> None:
    (checkout / "new").mkdir()
    (checkout / "f.yaml").write_text("a: {tool: bash, isolation: worktree, arguments: {command: pwd, cwd: new}}\n")
    answer = architect("flow", "run", "f.yaml", "--json")
    assert (answer.code, answer.json["total_tasks"]) == (1, 0)
    assert "state a.workdir: the commit the worktrees start from has no directory 'new'" in answer.json["warnings"][0]


def test_what_cannot_be_written_or_made_ready_goes_by_on_error(architect: Architect, checkout: Path) -> None:
    (checkout / "real").mkdir()
    (checkout / "link").symlink_to("real")
    (checkout / "target").write_text("old")
    (checkout / "to").symlink_to("target")
    (checkout / "f.yaml").write_text(
        "variables: {same: real/x}\n"
        "states:\n"
        "  a: {tool: bash, arguments: {command: echo a}, output: file(real), on-error: {1: p}}\n"
        "  p: {tool: parallel, on-error: {1: w}, arguments: {tasks: [\n"
        "    {tool: bash, arguments: {command: echo 1}, output: file(link/x)},\n"
        "    {tool: bash, arguments: {command: echo 2}, output: 'file({{ same }})'}]}}\n"
        "  w: {tool: bash, isolation: worktree, arguments: {command: pwd, cwd: /}, on-error: {1: z}}\n"
        "  z: {tool: bash, arguments: {command: echo new}, output: file(to), next: n}\n"
        "  n: {tool: bash, arguments: {command: echo gone}, output: file(pipe), next: o}\n"
        "  o: {tool: bash, arguments: {command: printf 'a\\0b'}, output: var(same), next: e}\n"
        "  e: {tool: bash, arguments: {command: pwd, cwd: '{{ same }}'}}\n"
    )
    os.mkfifo(checkout / "pipe")  # what is no file is written to, never replaced: /dev/null, for one
    reader = os.open(checkout / "pipe", os.O_RDWR | os.O_NONBLOCK)
    answer = architect("flow", "run", "f.yaml", "--json")
    assert [each["name"] for each in answer.json["results"]] == ["a", "p-1", "p-2", "z", "n", "o", "e"]
    assert (checkout / "real" / "x").read_text() == "1\n"
    assert (checkout / "to").is_symlink()
    assert (checkout / "target").read_text() == "new\n"
    assert os.read(reader, 100) == b"gone\n"
    os.close(reader)
    assert answer.json["results"][-1]["error"].endswith("there is no directory " + str(checkout / "ab"))


def test_a_state_that_became_another_one_is_not_gone_on_with(architect: Architect, checkout: Path) -> None:
    job = "{tool: bash, arguments: {command: 'false'}}"
    (checkout / "f.yaml").write_text(
        "variables: {x: a}\nstates:\n  a: {tool: bash, arguments: {command: 'false {{ x }}'}}\n"
    )
    assert architect("flow", "run", "f.yaml").code == 1
    assert "was changed" not in architect("resume", "latest").err
    (checkout / "f.yaml").write_text("variables: {x: a}\nstates:\n  a: {tool: bash, arguments: {command: 'true'}}\n")
    answer = architect("resume", "latest")
    assert (answer.code, "state a was changed: the jobs that had begun run as they were" in answer.err) == (1, True)
    (checkout / "f.yaml").write_text(f"a: {{tool: parallel, arguments: {{tasks: [{job}, {job}]}}}}\n")
    assert architect("flow", "run", "f.yaml").code == 1
    for changed in (f"a: {{tool: parallel, arguments: {{tasks: [{job}]}}}}\n", "a: {tool: pause, arguments: {}}\n"):
        (checkout / "f.yaml").write_text(changed)
        answer = architect("flow", "run", "--resume", "latest")
        assert (answer.code, "state a does other work" in answer.err) == (2, True), answer.err


def test_people_read_the_command_as_it_was_written(architect: Architect, checkout: Path) -> None:
    """Tables, `watch` and the commit's subject; the command that ran is told with its start."""
    (checkout / "f.yaml").write_text(
        "variables: {what: 'a  b'}\n"
        "states:\n  s: {tool: bash, isolation: worktree, arguments: {command: 'echo {{ what }} > made'}}\n"
    )
    run = architect("flow", "run", "f.yaml", "--json").json
    assert run["results"][0]["task"] == "echo {{ what }} > made"
    assert git(checkout, "log", "-1", "--format=%s", "architect/parallel-1") == "architect: echo {{ what }} > made"
    assert git(checkout, "show", "architect/parallel-1:made") == "a  b"
    assert "s: echo {{ what }} > made" in architect("status", "latest").out
    lines = architect("watch", "latest").out.splitlines()
    assert lines[0].endswith("f.yaml")
    assert any(line.endswith("[1] started: s: echo {{ what }} > made") for line in lines)
    told = [json.loads(line) for line in architect("watch", "latest", "--json").out.splitlines()]
    (started,) = (each for each in told if each["event"] == "agent_started")
    assert started["argv"][-1] == 'echo "${ARCHITECT_VALUE_1}" > made'


def test_money_spent_in_one_state_counts_in_the_next_and_a_resume_has_the_whole_budget(
    architect: Architect, checkout: Path
) -> None:
    (checkout / "c.yaml").write_text(
        "backends: {paid: {command: [sh, -c, 'echo {prompt} >> log; echo ''{\"said\": \"ok\", \"usd\": 0.6}'''],"
        " output: json, fields: {output: said, cost: usd}}}\n"
    )
    (checkout / "f.yaml").write_text(
        "".join(
            f"{one}: {{tool: paid, arguments: {{prompt: {one}}}, next: {two}}}\n" for one, two in ("ab", "bc", "cd")
        )
        + "d: {tool: bash, arguments: {command: echo d >> log}}\n"
    )
    stopped = architect("flow", "run", "f.yaml", "--budget", "1", "-c", "c.yaml", "--json")
    assert (stopped.code, stopped.json["status"]) == (1, "canceled")
    assert stopped.json["total_cost"] == pytest.approx(1.2)
    assert (checkout / "log").read_text() == "a\nb\n"  # each alone is within it
    said = "\n".join(stopped.json["warnings"])
    assert "stopped in state b (run budget)" in said
    assert "the run spent $1.2000: $0.2000 over its budget" in said

    whole = architect("resume", "latest", "-c", "c.yaml", "--json")
    assert (whole.code, whole.json["status"]) == (0, "success")
    assert whole.json["total_cost"] == pytest.approx(1.8)
    assert (checkout / "log").read_text() == "a\nb\nc\nd\n"
