"""The small process that owns one worker's process tree. Run as `python -I -S supervisor.py FD`, never imported.

The program itself is the package `child` around this file, so that it is compiled once and not by every worker:
compiling costs each a megabyte and some milliseconds. It imports itself relatively, and nothing of
`architect_parallel`.

It uses the standard library only, and few modules of it, because one of these runs per worker. It does not read the
agent's output, which goes straight to the launcher, and decides nothing about the worker. It starts one program, ends
the program's process tree, and reports the facts.

Invariant: after `gone` with no survivors no process of the tree is alive. The proof is that `waitpid` fails with
ECHILD. As a child subreaper this process becomes the parent of every orphan of the tree, whatever session, group, name
or environment the orphan has given itself. Signals, listings and the cookie only help to get there.

There are two processes. The *guard* is the launcher's child. It forks the *supervisor*, the parent of the agent. Both
are subreapers. An agent that kills or stops its parent hits the supervisor. The orphans then belong to the guard, which
wakes a stopped supervisor and ends the tree of a dead one. Killing the guard changes nothing for the supervisor. If
both die at once, the launcher sees the channel close without `gone` and sweeps for the cookie from outside.

The channel FD is a socket whose other end only the launcher holds. In, one line each: the configuration (so that no
argv holds a secret), then `stop SECONDS` or `kill`. The end of the channel, or of the launcher, is a stop. Out, one
fact per line: `started AGENT SUPERVISOR`, `spawn_failed TEXT`, `exited CODE`, `gone LEAKED SURVIVORS`.

A stop has three steps. First the agent's own polite signal to its group, then SIGTERM to every descendant. At the end
of the grace follows a loop of SIGSTOP (so that no process sees a sibling die and starts another) and SIGKILL until
ECHILD.
"""

import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    __import__("child.main", fromlist=["main"]).main()
    os._exit(0)  # nothing is buffered here, and shutting down an interpreter costs milliseconds, twice per worker
