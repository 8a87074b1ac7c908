"""A client of the Agent Client Protocol, as a program: it starts an agent and gives it one prompt.

    python -m architect_parallel.supervision.acp_client [OPTIONS] -- COMMAND... <PROMPT >FACTS

It is the supervised command of a worker (`backends.acp`), so that it and the agent are contained, limited and ended
together. Each fact is a JSON object on a line of stdout. SIGTERM and SIGINT cancel the turn.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from architect_parallel.backends.acp_connection import AgentEnded, AgentError, Connection
from architect_parallel.backends.acp_turn import Turn, TurnOptions

_ENDINGS = ((None, 0.5), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))
"""Signals, and the seconds that an agent has to end after each. `None` means that its input is closed."""


def main(argv: Sequence[str]) -> int:
    """Run one turn. Returns 0 if the agent answered the prompt."""
    parser = argparse.ArgumentParser(prog="acp_client", description="Give the prompt on stdin to an ACP agent.")
    parser.add_argument("--approval", default="none")
    parser.add_argument("--reading", action="store_true", help="allow nothing but reading")
    parser.add_argument("--own-files", action="store_true", help="let the agent read and write files by itself")
    parser.add_argument("--model")
    parser.add_argument("--session")
    parser.add_argument("--instructions", type=Path, help="a file with text to put before the prompt")
    parser.add_argument("command", nargs="+")
    words = vars(parser.parse_args(argv))
    command, instructions = words.pop("command"), words.pop("instructions")
    prompt = sys.stdin.buffer.read().decode(errors="replace")
    if instructions is not None:
        prompt = f"{instructions.read_text(encoding='utf-8', errors='replace')}\n\n{prompt}"
    return run_turn(command, prompt, TurnOptions(directory=Path.cwd(), **words))


def run_turn(command: Sequence[str], prompt: str, options: TurnOptions) -> int:
    """Start the agent, hold the conversation and end the agent. Returns the exit code of this program."""
    try:
        # In a group of its own: the polite signal is for this program, which still has to hear the agent's last words.
        agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
    except OSError as error:
        tell("result", status="error", error={"message": f"{command[0]}: {error.strerror}"}, retryable=False)
        return 1
    assert agent.stdin is not None
    assert agent.stdout is not None
    connection = Connection(agent.stdin, agent.stdout)
    turn = Turn(connection, options, tell)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: connection.interrupt(turn.cancel))
    try:
        stopped = turn.run(prompt)
    except AgentError as error:
        # Without a code it is this client that cannot go on, and would not the next time.
        words = {"error": {"message": str(error)}, "retryable": error.code is not None}
        tell("result", status="error", **words)
        end_agent(agent)
        return 1
    except AgentEnded:
        tell("ended", exit_code=end_agent(agent))
        return 1
    tell("result", status="success" if stopped == "end_turn" else "error", stop_reason=stopped)
    end_agent(agent)
    return 0


def tell(kind: str, **values: object) -> None:
    """Print a fact."""
    sys.stdout.write(json.dumps({"type": kind, **values}) + "\n")
    sys.stdout.flush()


def end_agent(agent: subprocess.Popen[bytes]) -> int:
    """End the agent and the processes of its group, and return its exit code."""
    assert agent.stdin is not None
    with suppress(OSError):
        agent.stdin.close()
    for number, wait_s in _ENDINGS:
        if number is not None:
            with suppress(ProcessLookupError):
                os.killpg(agent.pid, number)
        with suppress(subprocess.TimeoutExpired):
            agent.wait(wait_s)
            break
    with suppress(ProcessLookupError):
        os.killpg(agent.pid, signal.SIGKILL)
    return agent.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
