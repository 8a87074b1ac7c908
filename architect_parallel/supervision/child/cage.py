"""Enter a cage: namespaces, a view of the file system, and the loss of privileges that cannot be won back.

The launcher has decided everything (`containment.steps`). Each step is a word and its arguments, and is carried out
here with system calls by `ctypes`. A step that fails ends the start: an agent is never started with less.

The process that `spawn` forks unshares, mounts and forks the *keeper*, which is process 1 of the new PID namespace. The
keeper mounts `/proc`, gives up its privileges and forks the agent. When the keeper dies, the kernel kills everything in
the namespace.
"""

from __future__ import annotations

import ctypes
import errno
import os

LIBC = ctypes.PyDLL(None, use_errno=True)

AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
OPEN_TREE, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, MOUNT_SETATTR = 428, 429, 430, 431, 432, 442
"""Numbers of system calls. The same on every architecture, as all from 424 on."""
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
CLONE, OPEN_CLOEXEC = 1, 0o2000000
TREE_OF_PATH, TREE_OF_DESCRIPTOR = AT_RECURSIVE | CLONE | OPEN_CLOEXEC, AT_EMPTY_PATH
MOVE_FROM_DESCRIPTOR = 4
RDONLY, NOSUID, NODEV = 1, 2, 4
"""`MOUNT_ATTR_*`. The flags of mount(2) have the same values."""
NOEXEC = 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
NEW_USER, NEW_NET = 0x10000000, 0x40000000
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 4, 24, 22, 38
RLIMIT_CORE, RLIMIT_NPROC, RLIMIT_NOFILE = 4, 6, 7
MOST_OPEN_FILES = 65536
"""Of each process."""


class CageError(Exception):
    """A step failed. The text says which and why."""


class Cage:
    """The steps of a cage, each as a tuple of a word and its arguments."""

    def __init__(self, steps: list[bytes]) -> None:
        self.steps = [tuple(step.split(b"\0")) for step in steps]
        self.root = b""
        """Path below which the view is built. Empty means that the present one is changed."""
        self.trees: dict[int, int] = {}
        """Index of a step → descriptor of the tree that it mounts, taken before anything is covered."""

    def words(self, verb: bytes) -> list[tuple[bytes, ...]]:
        return [step[1:] for step in self.steps if step[0] == verb]

    def enter(self) -> None:
        """Unshare and build the view. What the keeper has to do is left to `settle`."""
        for (flags,) in self.words(b"unshare"):
            self._unshare(int(flags))
        if not self.words(b"view"):
            return
        check(LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
        self._take_trees()
        if self.words(b"root"):
            self._new_root(self.words(b"root")[0][0])
        else:
            set_attributes(AT_FDCWD, b"/", RDONLY | NODEV)
        sealed = []
        for index, (verb, *details) in enumerate(self.steps):
            if verb in (b"bind", b"read", b"overlay", b"device"):
                self._attach(index, self.root + details[1])
            elif verb == b"hide":
                path = self.root + details[0]
                self._mkdir(path)
                check(LIBC.mount(b"none", path, b"tmpfs", NOSUID | NODEV, b"mode=755,size=1m"), f"hide {path!r}")
                sealed.append(path)
            elif verb == b"tmpfs":
                path = self.root + details[0]
                self._mkdir(path)
                check(LIBC.mount(b"none", path, b"tmpfs", NOSUID | NODEV, b"mode=1777"), f"mount {path!r}")
            elif verb == b"terminals":
                self._terminals(self.root + details[0])
            elif verb == b"link":
                self._link(details[0], self.root + details[1])
        if self.root:
            sealed.append(self.root)
        for path in sealed:
            check(LIBC.mount(None, path, None, MS_REMOUNT | MS_BIND | RDONLY | NOSUID | NODEV, None), f"seal {path!r}")
        if self.root:
            self._pivot()

    def listen(self, channel: int) -> None:
        """Make listening sockets on the loopback of this network, and hand them to the launcher."""
        for ports in self.words(b"listen"):
            import _socket  # the C part of `socket`: quicker to load, and few agents need it

            servers = []
            for port in ports:
                server = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
                server.bind(("127.0.0.1", int(port)))
                server.listen(128)
                servers.append(server)
            descriptors = b"".join(server.fileno().to_bytes(4, "little") for server in servers)
            launcher = _socket.socket(fileno=os.dup(channel))
            launcher.sendmsg([b"listening\n"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
            for used in (launcher, *servers):
                used.close()

    def settle(self) -> None:
        """In process 1: mount /proc, then give up every privilege. The agent that is forked next inherits that."""
        if self.words(b"view"):
            check(LIBC.mount(b"proc", b"/proc", b"proc", NOSUID | NODEV | NOEXEC, None), "mount /proc")
            for (path,) in self.words(b"keep"):
                if os.path.exists(path):
                    check(LIBC.mount(path, path, None, MS_BIND | MS_REC, None), f"bind {path!r}")
                    flags = MS_REMOUNT | MS_BIND | RDONLY | NOSUID | NODEV | NOEXEC
                    check(LIBC.mount(None, path, None, flags, None), f"seal {path!r}")
        set_limit(RLIMIT_CORE, 0)
        set_limit(RLIMIT_NOFILE, MOST_OPEN_FILES)
        for (count,) in self.words(b"processes"):
            set_limit(RLIMIT_NPROC, int(count))
        LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        for (kept,) in self.words(b"capabilities"):
            drop_capabilities(int(kept))
        for handled, scoped, *rules in self.words(b"landlock"):
            landlock(int(handled), int(scoped), rules)
        for (program,) in self.words(b"filter"):
            install_filter(bytes.fromhex(program.decode()))

    def _unshare(self, flags: int) -> None:
        uid, gid = os.geteuid(), os.getegid()
        check(LIBC.unshare(flags), "unshare")
        if flags & NEW_USER:
            # The supervisor hides its memory; the files of such a process are root's, and could not be written here.
            LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
            write_file("/proc/self/setgroups", "deny")
            write_file("/proc/self/uid_map", f"{uid} {uid} 1")
            write_file("/proc/self/gid_map", f"{gid} {gid} 1")
        if flags & NEW_NET:
            raise_loopback()

    def _take_trees(self) -> None:
        for index, (verb, *details) in enumerate(self.steps):
            if verb in (b"bind", b"read", b"device"):
                tree = LIBC.syscall(OPEN_TREE, AT_FDCWD, details[0], TREE_OF_PATH)
                if tree < 0 and ctypes.get_errno() == errno.ENOENT:
                    continue  # it went away since the launcher looked
                check(tree, f"open_tree {details[0]!r}")
                if verb == b"read":
                    set_attributes(tree, b"", RDONLY | NODEV)
                elif verb == b"bind":
                    set_attributes(tree, b"", NODEV)
                self.trees[index] = tree
            elif verb == b"overlay":
                tree = overlay(*details)
                if tree >= 0:
                    self.trees[index] = tree

    def _attach(self, index: int, path: bytes) -> None:
        tree = self.trees.get(index)
        if tree is None:
            return
        if not os.path.lexists(path):
            if os.path.isdir(tree):
                self._mkdir(path)
            else:
                self._mkdir(os.path.dirname(path))
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        check(LIBC.syscall(MOVE_MOUNT, tree, b"", AT_FDCWD, path, MOVE_FROM_DESCRIPTOR), f"mount {path!r}")
        os.close(tree)

    def _mkdir(self, path: bytes) -> None:
        if not os.path.isdir(path):
            os.makedirs(path, 0o755, exist_ok=True)

    def _terminals(self, path: bytes) -> None:
        """Mount pseudo-terminals of its own: through the user's, text could be typed into the user's shell."""
        self._mkdir(path)
        flags, options = NOSUID | NOEXEC, b"newinstance,ptmxmode=0666,mode=0620"
        check(LIBC.mount(b"devpts", path, b"devpts", flags, options), f"mount {path!r}")

    def _link(self, target: bytes, path: bytes) -> None:
        self._mkdir(os.path.dirname(path))
        if not os.path.lexists(path):
            os.symlink(target, path)

    def _new_root(self, place: bytes) -> None:
        check(LIBC.mount(b"none", place, b"tmpfs", NOSUID | NODEV, b"mode=755"), "mount a root")
        self.root = place

    def _pivot(self) -> None:
        os.chdir(self.root)
        check(LIBC.pivot_root(b".", b"."), "pivot_root")
        check(LIBC.umount2(b".", MNT_DETACH), "leave the old root")
        os.chdir("/")


def overlay(path: bytes, _: bytes, upper: bytes, work: bytes, otherwise: bytes) -> int:
    """A detached mount: the directory with changes of its own. Where that cannot be: an empty one, or none (-1)."""
    context = LIBC.syscall(FSOPEN, b"overlay", 1)
    if context >= 0:
        lower = path.replace(b"\\", b"\\\\").replace(b":", b"\\:")
        for key, value in ((b"lowerdir", lower), (b"upperdir", upper), (b"workdir", work), (b"userxattr", None)):
            if value is None:
                LIBC.syscall(FSCONFIG, context, 0, key, None, 0)
            elif LIBC.syscall(FSCONFIG, context, 1, key, value, 0) < 0:
                break
        else:
            if LIBC.syscall(FSCONFIG, context, 6, None, None, 0) == 0:
                tree: int = LIBC.syscall(FSMOUNT, context, 1, NOSUID | NODEV)
                if tree >= 0:
                    os.close(context)
                    return tree
        os.close(context)
    if otherwise == b"keep":
        return -1
    empty: int = LIBC.syscall(OPEN_TREE, AT_FDCWD, upper, TREE_OF_PATH)
    return check(empty, f"open_tree {upper!r}")


def check(result: int, what: str) -> int:
    if result < 0:
        raise CageError(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def write_file(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def set_attributes(descriptor: int, path: bytes, attributes: int) -> None:
    """`mount_setattr` on a whole tree."""
    fields = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = AT_RECURSIVE | (0 if path else AT_EMPTY_PATH)
    result = LIBC.syscall(MOUNT_SETATTR, descriptor, path, flags, ctypes.byref(fields), ctypes.sizeof(fields))
    check(result, f"mount_setattr {path!r}")


def set_limit(number: int, value: int) -> None:
    """Lower a limit, never raise it."""
    limits = (ctypes.c_uint64 * 2)()
    LIBC.getrlimit(number, ctypes.byref(limits))
    if value < limits[1]:
        limits[0], limits[1] = min(limits[0], value), value
        check(LIBC.setrlimit(number, ctypes.byref(limits)), "setrlimit")


def drop_capabilities(kept: int) -> None:
    """Keep no capability but those of the bit set `kept`. A program that is started later can have no other one."""
    for number in range(64):
        if not kept >> number & 1 and LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0:
            if ctypes.get_errno() == errno.EINVAL:
                break  # beyond the last one that this kernel knows
            if ctypes.get_errno() != errno.EPERM:
                check(-1, "drop a capability")
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    check(LIBC.capget(header, (ctypes.c_uint32 * 6)()), "capget")
    check(LIBC.capset(header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)), "capset")


def install_filter(program: bytes) -> None:
    """Install a seccomp filter, given as the bytes of its instructions."""
    instructions = ctypes.create_string_buffer(program, len(program))

    class FilterProgram(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    whole = FilterProgram(len(program) // 8, ctypes.addressof(instructions))
    check(LIBC.prctl(PR_SET_SECCOMP, 2, ctypes.byref(whole), 0, 0), "seccomp")


def landlock(handled: int, scoped: int, rules: list[bytes]) -> None:
    """Restrict this process by Landlock.

    Args:
        handled: Bits of the rights over files that no path has without a rule.
        scoped: Bits of the things that are reached only inside.
        rules: `RIGHTS PATH` each. A path that is gone is left out.
    """
    attributes = (ctypes.c_uint64 * 3)(handled, 0, scoped)
    size = 24 if scoped else 8
    ruleset = check(LIBC.syscall(LANDLOCK_CREATE, ctypes.byref(attributes), size, 0), "landlock")
    for rule in rules:
        rights, path = rule.split(b" ", 1)
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        number = int(rights)
        beneath = number.to_bytes(8, "little") + descriptor.to_bytes(4, "little")
        check(LIBC.syscall(LANDLOCK_ADD, ruleset, 1, beneath, 0), f"landlock {path!r}")
        os.close(descriptor)
    check(LIBC.syscall(LANDLOCK_RESTRICT, ruleset, 0), "landlock")
    os.close(ruleset)


def raise_loopback() -> None:
    """Switch on the only network device of a new network namespace."""
    af_inet, stream, get_flags, set_flags, up = 2, 2, 0x8913, 0x8914, 1
    descriptor = check(LIBC.socket(af_inet, stream, 0), "socket")
    memory = bytearray(b"lo".ljust(40, b"\0"))
    request = (ctypes.c_char * len(memory)).from_buffer(memory)
    check(LIBC.ioctl(descriptor, get_flags, request), "loopback")
    memory[16] |= up
    check(LIBC.ioctl(descriptor, set_flags, request), "loopback")
    os.close(descriptor)
