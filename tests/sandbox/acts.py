"""Acts that a contained agent must not be able to do. A program: `python3 acts.py JSON` tries them all.

Prints a line per act: its name, `through` or `held`, and what it saw. It imports nothing of the package: it runs as an
agent, in a worktree.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import multiprocessing
import multiprocessing.shared_memory
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
W: dict[str, Any] = {}
ACTS: dict[str, Callable[[], object]] = {}
ROOT_ONLY = set[str]()
X86 = os.uname().machine == "x86_64"


def act(function: Callable[[], object]) -> Callable[[], object]:
    ACTS[function.__name__] = function
    return function


def of_root(function: Callable[[], object]) -> Callable[[], object]:
    ROOT_ONLY.add(function.__name__)
    return act(function)


def call(number: int, *arguments: object) -> int:
    result: int = LIBC.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def users(place: str) -> Path:
    """A directory of the user. Inside, there may be another one at its path, in which nothing of the user's is."""
    status = os.stat(W[place])
    if [status.st_dev, status.st_ino] != W[f"{place}_identity"]:
        raise OSError("not the user's")
    return Path(W[place])


def home(name: str) -> Path:
    return users("home") / name


def main_checkout(name: str) -> Path:
    return users("checkout") / name


def append(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("\n# planted\n")


def secret_in(path: Path) -> None:
    if "hunter2" not in path.read_text():
        raise OSError("nothing is there")


# Writing


@act
def write_bashrc() -> None:
    append(home(".bashrc"))


@act
def write_claude_settings() -> None:
    append(home(".claude/settings.json"))


@act
def write_ssh_authorized_keys() -> None:
    append(home(".ssh/authorized_keys"))


@act
def write_user_configuration() -> None:
    append(home(".config/autostart/x.desktop"))


@act
def write_gitconfig() -> None:
    append(home(".gitconfig"))


@act
def make_file_at_home() -> None:
    append(home("new-file"))


@act
def write_main_checkout() -> None:
    append(main_checkout("README.md"))


@act
def make_file_in_main_checkout() -> None:
    append(main_checkout("new-file"))


@act
def delete_from_main_checkout() -> None:
    main_checkout("doomed.txt").unlink()


@act
def rename_in_main_checkout() -> None:
    main_checkout("doomed-too.txt").rename(main_checkout("renamed.txt"))


@act
def write_git_config() -> None:
    append(main_checkout(".git/config"))


@act
def plant_hook() -> None:
    append(main_checkout(".git/hooks/pre-commit"))


@act
def write_git_exclude() -> None:
    append(main_checkout(".git/info/exclude"))


@act
def move_main_branch() -> None:
    main_checkout(".git/refs/heads/planted").write_text(main_checkout(".git/refs/heads/main").read_text())


@act
def write_head() -> None:
    append(main_checkout(".git/HEAD"))


@act
def write_index() -> None:
    append(main_checkout(".git/index"))


@act
def delete_objects() -> None:
    for path in main_checkout(".git/objects").glob("??/*"):
        path.chmod(0o600)
        path.unlink()
        return
    raise OSError("no loose object")


@act
def plant_alternates() -> None:
    append(main_checkout(".git/objects/info/alternates"))


@act
def write_registration() -> None:
    for path in main_checkout(".git/worktrees").iterdir():
        append(path / "gitdir")
        return
    raise OSError("no registration")


@act
def write_journal() -> None:
    append(next(main_checkout(".git/architect").glob("*.db")))


@act
def write_run_directory() -> None:
    append(next(main_checkout(".git/architect/runs").iterdir()) / "planted")


@act
def write_other_worktree() -> None:
    append(main_checkout(".architect-parallel-90") / "planted")


@act
def write_beside_repository() -> None:
    secret_in(Path(W["checkout"]).parent / "known")  # inside, an upper directory may be a place of its own
    append(Path(W["checkout"]).parent / "planted")


@act
def change_mode_outside() -> None:
    main_checkout("README.md").chmod(0o666)


@act
def change_times_outside() -> None:
    os.utime(main_checkout("README.md"), (1, 1))


@act
def set_attribute_outside() -> None:
    os.setxattr(main_checkout("README.md"), "user.planted", b"1")


@act
def link_outside_file_and_write() -> None:
    os.link(main_checkout("README.md"), "hard")
    append(Path("hard"))


@act
def write_through_symbolic_link() -> None:
    os.symlink(main_checkout("README.md"), "soft")
    append(Path("soft"))


@act
def map_outside_file() -> None:
    descriptor = os.open(main_checkout("README.md"), os.O_RDWR)
    mmap.mmap(descriptor, 1)[0:1] = b"#"


@act
def write_temporary_file_of_others() -> None:
    with open(Path(W["tmp"]) / "file", "r+") as file:
        file.write("hunter2")


@act
def read_temporary_file_of_others() -> None:
    secret_in(Path(W["tmp"]) / "file")


@act
def write_shared_memory_file() -> None:
    descriptor = os.open(W["shm"], os.O_RDWR)
    os.write(descriptor, b"planted")


@of_root
def write_etc() -> None:
    Path("/etc/architect-planted").write_text("")
    Path("/etc/architect-planted").unlink()


@of_root
def write_kernel_setting() -> None:
    path = Path("/proc/sys/kernel/core_pattern")
    path.write_text(path.read_text())


@of_root
def write_sysrq() -> None:
    os.close(os.open("/proc/sysrq-trigger", os.O_WRONLY))


@of_root
def write_sys() -> None:
    os.close(os.open("/sys/kernel/mm/ksm/run", os.O_WRONLY))


@of_root
def open_disk() -> None:
    os.close(os.open(W["disk"], os.O_RDWR))


@of_root
def make_device() -> None:
    os.mknod("device", 0o600 | 0o020000, os.makedev(1, 5))
    os.close(os.open("device", os.O_RDONLY))


# Ways out


@act
def write_through_process_root() -> None:
    append(Path(f"/proc/{W['victim']}/root{home('.bashrc')}"))


@act
def write_through_working_directory_of_process() -> None:
    append(Path(f"/proc/{os.getppid()}/root{home('.profile')}"))


@of_root
def remount_writable() -> None:
    check(LIBC.mount(None, b"/", None, 32 | 4096, None))
    append(home(".bashrc"))


@act
def remount_in_own_namespace() -> None:
    if os.geteuid() == 0:
        check(LIBC.unshare(0x20000))
    else:
        own_user_namespace(0x20000)
    check(LIBC.mount(None, b"/", None, 16384 | (1 << 18), None))
    LIBC.mount(None, b"/", None, 32 | 4096, None)
    LIBC.umount2(os.fsencode(home(".ssh")), 2)
    append(home(".profile"))


@act
def uncover_in_own_namespace() -> None:
    if os.geteuid() == 0:
        LIBC.unshare(0x20000)
    else:
        own_user_namespace(0x20000)
    LIBC.umount2(os.fsencode(home(".ssh")), 2)
    secret_in(home(".ssh/id_ed25519"))


def own_user_namespace(more: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    check(LIBC.unshare(0x10000000 | more))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


@of_root
def enter_namespace_of_process() -> None:
    descriptor = os.open(f"/proc/{W['victim']}/ns/mnt", os.O_RDONLY)
    check(LIBC.setns(descriptor, 0))
    append(home(".bashrc"))


@of_root
def escape_by_chroot() -> None:
    os.makedirs("jail", exist_ok=True)
    os.chroot("jail")
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    append(home(".bashrc"))


@of_root
def open_by_handle() -> None:
    handle = (ctypes.c_uint32 * 34)(128)
    mount = ctypes.c_int()
    check(LIBC.name_to_handle_at(-100, os.fsencode(W["checkout"]), handle, ctypes.byref(mount), 0))
    descriptor = os.open(W["checkout"], os.O_RDONLY)
    check(LIBC.open_by_handle_at(descriptor, handle, os.O_RDONLY))


# Processes


@act
def signal_process() -> None:
    os.kill(W["victim"], signal.SIGUSR1)
    if Path(f"/proc/{W['victim']}/comm").read_text() != W["victim_name"]:
        raise OSError("another process")


@act
def read_environment_of_process() -> None:
    secret_in(Path(f"/proc/{W['victim']}/environ"))


@act
def read_memory_of_process() -> None:
    os.close(os.open(f"/proc/{W['victim']}/mem", os.O_RDONLY))
    secret_in(Path(f"/proc/{W['victim']}/environ"))


@act
def trace_process() -> None:
    check(LIBC.ptrace(16, W["victim"], 0, 0))
    os.waitpid(W["victim"], 0x40000000)
    check(LIBC.ptrace(17, W["victim"], 0, 0))
    secret_in(Path(f"/proc/{W['victim']}/environ"))


@act
def see_processes() -> None:
    if not any(W["victim_name"] == comm.read_text() for comm in Path("/proc").glob("[0-9]*/comm")):
        raise OSError("not seen")


@act
def change_priority_of_process() -> None:
    os.setpriority(os.PRIO_PROCESS, W["victim"], 15)
    secret_in(Path(f"/proc/{W['victim']}/environ"))


@act
def attach_shared_memory_segment() -> None:
    LIBC.shmat.restype = ctypes.c_void_p
    if LIBC.shmat(W["segment"], None, 0) in (None, 2**64 - 1):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@act
def connect_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{W['abstract']}")


@act
def connect_socket_in_tmp() -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{W['tmp']}/socket")


@of_root
def connect_socket_in_run() -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(W["run_socket"])


@act
def agent_of_keys_in_environment() -> None:
    os.environ["SSH_AUTH_SOCK"]


# Kernel


if X86:

    @act
    def use_bpf() -> None:
        if os.geteuid() != 0:  # refused to ordinary users anyway: what counts is how
            call(321, 0, None, 0)
        LIBC.syscall(321, 0, None, 0)
        if ctypes.get_errno() == 1:
            raise PermissionError("bpf")

    @act
    def use_io_uring() -> None:
        parameters = ctypes.create_string_buffer(120)
        os.close(call(425, 1, parameters))

    @act
    def use_session_keys() -> None:
        call(250, 0, -3, 1)

    @act
    def use_userfaultfd() -> None:
        os.close(call(323, 1))

    @act
    def use_performance_counters() -> None:
        attributes = ctypes.create_string_buffer((1).to_bytes(4, "little") + (128).to_bytes(4, "little"), 128)
        LIBC.syscall(298, attributes, 0, -1, -1, 0)
        if ctypes.get_errno() == 1:
            raise PermissionError("perf_event_open")

    @of_root
    def load_module() -> None:
        LIBC.syscall(313, -1, b"", 0)
        if ctypes.get_errno() == 1:
            raise PermissionError("finit_module")


# Reading


def reads(name: str, path: Callable[[], Path]) -> None:
    ACTS[name] = lambda: secret_in(path())


for word, where in {
    "read_ssh_key": ".ssh/id_ed25519",
    "read_gnupg": ".gnupg/secret",
    "read_cloud_key": ".aws/credentials",
    "read_netrc": ".netrc",
    "read_npmrc": ".npmrc",
    "read_pypirc": ".pypirc",
    "read_git_credentials": ".git-credentials",
    "read_github_login": ".config/gh/hosts.yml",
    "read_cargo_credentials": ".cargo/credentials.toml",
    "read_docker_login": ".docker/config.json",
    "read_kube_config": ".kube/config",
    "read_shell_history": ".bash_history",
    "read_browser_profile": ".mozilla/firefox/cookies.sqlite",
    "read_login_of_claude": ".claude/.credentials.json",
    "read_login_of_codex": ".codex/auth.json",
    "read_configuration_of_launcher": ".config/architect-parallel/config.yaml",
}.items():
    reads(word, lambda where=where: home(where))  # type: ignore[misc]  # the default binds it
reads("read_environment_file_of_checkout", lambda: main_checkout(".env"))
reads("read_other_worktree", lambda: main_checkout(".architect-parallel-90") / "secret")


@act
def read_journal() -> None:
    next(main_checkout(".git/architect").glob("*.db")).read_bytes()


@act
def read_log_of_run() -> None:
    run = next(main_checkout(".git/architect/runs").iterdir())
    next((run / "logs").iterdir()).read_bytes()


# Reading that only `closed` holds

READING = ("read_main_checkout", "read_file_at_home", "list_home")


@act
def read_main_checkout() -> None:
    main_checkout("README.md").read_bytes()


@act
def read_file_at_home() -> None:
    home(".bashrc").read_bytes()


@act
def list_home() -> None:
    if ".bashrc" not in os.listdir(W["home"]):
        raise OSError("it is empty")


# Network: held only with `--network none`

NETWORK = ("connect_loopback_service", "send_datagram")


@act
def connect_loopback_service() -> None:
    socket.create_connection(("127.0.0.1", W["port"]), timeout=5).close()


@act
def send_datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("192.0.2.1", 9))
        client.send(b"x")


# Ordinary work, which no level may break

WORK: dict[str, Callable[[], object]] = {}


def work(function: Callable[[], object]) -> Callable[[], object]:
    WORK[function.__name__] = function
    return function


def shell(script: str) -> str:
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{done.returncode}: {done.stderr[-300:]}")
    return done.stdout


@work
def change_worktree() -> None:
    shell(
        "echo x > own && mkdir -p d && mv own d/own && chmod 755 d/own && ln -s own d/link && touch -d 2001-01-01 d/own"
    )


@work
def use_git() -> None:
    shell(
        "git add -A && git commit -qm one && git branch extra && git tag v0 && echo y > own2 && git stash -qu"
        " && git stash pop -q && git log --oneline && git status --short && git gc -q && git fsck --no-progress"
    )


@work
def use_temporary_places() -> None:
    shell("f=$(mktemp) && echo x > $f && mkdir -p ${TMPDIR:-/var/tmp}/d && f=$(mktemp -p /dev/shm) && rm $f")


@work
def use_cache_at_home() -> None:
    shell('test -f ~/.cache/known && mkdir -p "$XDG_CACHE_HOME/d" && echo x > "$XDG_CACHE_HOME/new"')


@work
def use_devices() -> None:
    shell("echo x > /dev/null && head -c 8 /dev/urandom > /dev/null && head -c 8 /dev/zero > /dev/null && ls /dev/fd/")


@work
def use_terminal() -> None:
    leader, follower = os.openpty()
    os.write(leader, b"x\n")
    os.close(follower)


@work
def use_sockets() -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        name = tempfile.mktemp()
        server.bind(name)
        server.listen()
        client.connect(name)
        os.unlink(name)
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


@work
def use_processes() -> None:
    shell("sleep 30 & kill $! ; wait $! || true; ps -ef > /dev/null; (exit 0) | cat; timeout 5 true")


@work
def read_settings() -> None:
    shell("git config user.email && cat /etc/passwd > /dev/null && cat /etc/resolv.conf > /dev/null; ls ~ > /dev/null")


@work
def use_shared_memory() -> None:
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=64)
    memory.close()
    memory.unlink()
    multiprocessing.Lock().acquire()


@work
def use_nested_sandbox() -> None:
    """As browsers and bwrap do."""
    own_user_namespace(0x20000)
    check(LIBC.mount(None, b"/", None, 16384 | (1 << 18), None))
    check(LIBC.mount(b"none", b"/tmp", b"tmpfs", 0, None))


def attempt(kind: str, name: str, function: Callable[[], object], good: str, bad: str) -> None:
    """Tries one act in a process of its own: some leave their process changed."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    signal.alarm(20)
    try:
        function()
    except BaseException as error:
        print(f"{kind} {name} {bad} {type(error).__name__}: {error}".replace("\n", " "))
    else:
        print(f"{kind} {name} {good}")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    W.update(json.loads(sys.argv[1]))
    for name, function in WORK.items():
        attempt("WORK", name, function, "done", "broken")
    for name, function in ACTS.items():
        if name not in ROOT_ONLY or os.geteuid() == 0:
            attempt("ACT", name, function, "through", "held")
