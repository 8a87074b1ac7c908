"""The small process that owns one worker's process tree. Run as `python -I -S supervisor.py FD`, never imported.

The program itself is the package `child` around this file, so that it is compiled once and not by every
worker: compiling costs each a megabyte and some milliseconds. It imports itself relatively, and nothing of
`architect_parallel`.

Standard library only and few modules of it: one of these runs per worker. It may not read the agent's output (that
goes straight to the launcher) nor decide anything about the worker; it starts one program, ends what came of it, and
tells what it saw.

Invariant: after `gone` with no survivors nothing of the tree is alive. The proof is `waitpid` saying ECHILD: as a
child subreaper this process is the parent every orphan of the tree falls to, whatever session, group, name or
environment the orphan has given itself. Signals, listings and the cookie only help to get there.

Two processes stand here. The *guard* is the launcher's child; it forks the *supervisor*, the parent of the agent. Both
are subreapers. An agent that kills or stops its parent hits the supervisor: the orphans fall to the guard, which wakes
a stopped supervisor and, for a dead one, ends the tree itself. Killing the guard changes nothing for the supervisor.
If both die at once the launcher sees the channel close without `gone` and sweeps for the cookie from outside.

The channel FD is a socket whose other end only the launcher holds. In, one line each: the configuration (so that
no secret stands in an argv), then `stop SECONDS` or `kill`. Its end, or the launcher's, is a stop. Out, one fact per
line: `started AGENT SUPERVISOR`, `spawn_failed TEXT`, `exited CODE`, `gone LEAKED SURVIVORS`.

A stop is a ladder: the agent's own polite signal to its group; SIGTERM to every descendant; at the end of the grace a
loop of SIGSTOP (so that nobody sees a sibling die and starts another) and SIGKILL until ECHILD.
"""

import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    __import__("child.main", fromlist=["main"]).main()
    os._exit(0)  # nothing is buffered here, and taking an interpreter down costs milliseconds, twice per worker
