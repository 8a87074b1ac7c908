"""The first program inside `bwrap`: give up what it leaves of privileges, then become the agent.

Run as `python -I -S inside.py COUNT STEP... PROGRAM ARGUMENT...`, never imported. The steps are those of `child.cage`,
in hexadecimal. Descriptor 3 is the channel to the launcher, which gets the listening sockets.
"""

import os
import sys

CHANNEL = 3


def main() -> None:
    count = int(sys.argv[1])
    steps = [bytes.fromhex(word) for word in sys.argv[2 : 2 + count]]
    argv = [os.fsencode(word) for word in sys.argv[2 + count :]]
    cage = __import__("child.cage", fromlist=["Cage"]).Cage(steps)
    try:
        cage.listen(CHANNEL)
        os.closerange(CHANNEL, 1 << 16)
        cage.settle()
        __import__("child.spawn", fromlist=["set_all_signals"]).set_all_signals(0)
        os.execvp(argv[0], argv)
    except BaseException as error:
        os.write(2, f"cannot start {os.fsdecode(argv[0])} in the sandbox: {error}\n".encode(errors="backslashreplace"))
        os._exit(127)


if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
