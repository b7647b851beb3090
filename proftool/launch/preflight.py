"""What is known of a running process before anything touches it: what it is, and whether it may be read.

Whether it may be traced is asked of the kernel itself: `process_vm_readv` of one byte at address 0 passes the same check as every
profiler that reads from outside (user, capabilities, Yama, user namespaces, security modules, the container's system-call filter) and then
fails on the address, so nothing of the process is read. The facts only explain the answer. Linux; elsewhere the check is the profiler's.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from proftool.contracts import Interpreter, Unavailable
from proftool.errors import TargetError
from proftool.launch.interpreter import inspect

_CAP_SYS_PTRACE = 19
_LIBPYTHON = re.compile(r"/libpython(3)\.(\d+)(t?)(?:d|m)?\.(?:so|dylib)")
_DYNLOAD = re.compile(r"/python(3)\.(\d+)(t?)/(?:lib-dynload|site-packages|dist-packages)/")
_EXECUTABLE = re.compile(r"(?:python|pypy)(?:(\d)(?:\.(\d+)(t?))?)?")
_NAMESPACES = ("pid", "mnt", "net", "user")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A running process; None = not told by the system."""

    pid: int
    argv: tuple[str, ...]
    uid: int | None
    executable: Path | None
    """As the process sees it."""
    interpreter: Interpreter | None
    """None: it is Python, and which is not known."""
    tracer_pid: int
    """Process that traces it, 0 = none."""
    may_read: bool
    """The kernel's own answer."""
    foreign: frozenset[str]
    """Namespaces (`pid`, `mnt`, `net`, `user`) in which it is not with us."""
    cwd: Path | None
    libraries: frozenset[str]
    """File names of the shared libraries that it has loaded."""


def facts(pid: int) -> Facts:
    """The facts of a Python process. TargetError where there is none of that number, it has ended, or it is not Python."""
    status = _status(pid)
    if status is None:
        raise TargetError(f"no process {pid}", cause="it has ended, or never was", fix=_whereabouts(pid))
    if status.get("State", "").startswith(("Z", "X")):
        raise TargetError(
            f"process {pid} has ended", cause="only its exit status is left, its parent has not fetched it", fix="name a running one"
        )
    argv = _argv(pid)
    if not argv and "VmSize" not in status:
        raise TargetError(
            f"process {pid} is no program", cause="it is a thread of the kernel", fix="name a Python process: `pgrep -a python`"
        )
    executable, maps = _link(pid, "exe"), _maps(pid)
    foreign = frozenset(name for name in _NAMESPACES if _is_foreign(pid, name))
    may_read = _may_read(pid)
    known = executable is not None
    if known and not _is_python(executable, maps):
        raise _not_python(pid, executable)
    if not known and argv and not _EXECUTABLE.match(Path(argv[0]).name) and may_read:
        raise _not_python(pid, Path(argv[0]))
    return Facts(
        pid=pid,
        argv=argv,
        uid=int(status["Uid"].split()[0]) if "Uid" in status else None,
        executable=executable,
        interpreter=_interpreter(pid, executable, argv, maps, foreign),
        tracer_pid=int(status.get("TracerPid", "0")),
        may_read=may_read,
        foreign=foreign,
        cwd=_link(pid, "cwd"),
        libraries=frozenset(line.rpartition("/")[2].strip() for line in maps.splitlines() if ".so" in line),
    )


def may_trace(known: Facts) -> Unavailable | None:
    """Why an external profiler may not read that process, and the one thing that changes it; None where it may."""
    pid = known.pid
    if known.tracer_pid:
        who = _name(known.tracer_pid)
        return Unavailable(
            cause=f"process {known.tracer_pid} ({who}) traces it already, and the kernel allows one tracer",
            fix=f"end {who} first, or wait for it",
            exit_code=4,
        )
    if known.may_read:
        return None
    again = f"sudo {sys.executable} -m proftool attach {pid}"
    own = _status(os.getpid()) or {}
    capable = bool(int(own.get("CapEff", "0"), 16) >> _CAP_SYS_PTRACE & 1)
    root, contained = os.geteuid() == 0, _in_container()
    if not root and known.uid is not None and known.uid != os.geteuid():
        return Unavailable(cause=f"it belongs to another user ({_user(known.uid)})", fix=f"`{again}`", exit_code=4)
    if contained and not capable:
        return Unavailable(
            cause="this container has no CAP_SYS_PTRACE",
            fix="start it with `docker run --cap-add SYS_PTRACE …` (Kubernetes: `securityContext: {capabilities: {add: [SYS_PTRACE]}}`)",
            exit_code=4,
        )
    scope = _yama()
    if scope == 3:
        return Unavailable(
            cause="this kernel forbids tracing altogether (kernel.yama.ptrace_scope is 3, until the next boot)",
            fix="start the program under `proftool run --backend pyinstrument`, which traces nothing",
            exit_code=4,
        )
    if scope and not capable:
        return Unavailable(
            cause=f"this kernel lets only a parent trace its children (kernel.yama.ptrace_scope is {scope})",
            fix=f"`{again}`" if scope == 2 else f"`{again}`, or once `sudo sysctl kernel.yama.ptrace_scope=0`",
            exit_code=4,
        )
    if "user" in known.foreign:
        return Unavailable(
            cause="it lives in a user namespace in which you have no rights",
            fix=f"run proftool in that namespace: `nsenter --target {pid} --user --mount --pid {sys.executable} -m proftool attach …`",
            exit_code=4,
        )
    return Unavailable(
        cause="the kernel refuses to let it be read (it changed its user, or a security module or system-call filter protects it)",
        fix=f"`{again}`" if not root else "run proftool outside of the sandbox that this shell is in",
        exit_code=4,
    )


def find(words: str) -> tuple[int, ...]:
    """Python processes whose command line holds `words`, without those whose parent is one of them too, and never proftool's own line."""
    own, at = {os.getpid()}, os.getpid()
    while (at := _parent(at)) > 0:
        own.add(at)
    hits: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isascii() and name.isdigit() and int(name) not in own:
            pid = int(name)
            if words in " ".join(_argv(pid)):
                try:
                    facts(pid)
                except TargetError:
                    continue
                hits[pid] = _parent(pid)
    return tuple(sorted(pid for pid, parent in hits.items() if parent not in hits))


def read(pid: int, name: str) -> str:
    """A file of /proc/PID, empty where it is gone or not for us."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _status(pid: int) -> dict[str, str] | None:
    if pid <= 0 or not (text := read(pid, "status")):
        return None
    rows = (line.partition(":") for line in text.splitlines())
    found = {key: value.strip() for key, _, value in rows}
    return found if found.get("Tgid", str(pid)) == str(pid) else None


def _argv(pid: int) -> tuple[str, ...]:
    return tuple(read(pid, "cmdline").rstrip("\0").split("\0")) if read(pid, "cmdline") else ()


def _link(pid: int, name: str) -> Path | None:
    try:
        return Path(os.readlink(f"/proc/{pid}/{name}").removesuffix(" (deleted)"))
    except OSError:
        return None


def _maps(pid: int) -> str:
    """The part of its memory map that names files."""
    return "\n".join(line for line in read(pid, "maps").splitlines() if "/" in line)


def _parent(pid: int) -> int:
    words = read(pid, "stat").rpartition(")")[2].split()
    return int(words[1]) if len(words) > 1 else 0


def _name(pid: int) -> str:
    return read(pid, "comm").strip() or "?"


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _is_foreign(pid: int, namespace: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/{namespace}") != os.readlink(f"/proc/self/ns/{namespace}")
    except OSError:
        return False


def _is_python(executable: Path | None, maps: str) -> bool:
    return bool(executable and _EXECUTABLE.match(executable.name)) or bool(_LIBPYTHON.search(maps) or _DYNLOAD.search(maps))


def _not_python(pid: int, executable: Path | None) -> TargetError:
    inner = _python_below(pid)
    what = f"`{executable.name}`" if executable else "another program"
    if inner is not None:
        return TargetError(
            f"process {pid} is not Python", cause=f"it is {what}, which started one", fix=f"name its child: `proftool attach {inner}`"
        )
    return TargetError(f"process {pid} is not Python", cause=f"it is {what}", fix="name a Python process: `pgrep -a python`")


def _python_below(pid: int) -> int | None:
    """The nearest descendant that is Python, as the child of a launcher (`uv run`, a shell, a supervisor) is."""
    from proftool.launch.clocks import family

    for child in sorted(family(pid)):
        if child != pid and _is_python(_link(child, "exe"), _maps(child)):
            return child
    return None


def _is_same(file: Path, pid: int) -> bool:
    """Is that the file which the process runs?"""
    try:
        return os.path.samefile(file, f"/proc/{pid}/exe")
    except OSError:
        return False


def _interpreter(pid: int, executable: Path | None, argv: tuple[str, ...], maps: str, foreign: frozenset[str]) -> Interpreter | None:
    """By asking the same program, where it is the same file here; else by the names of its files."""
    if executable is not None and "mnt" not in foreign and _EXECUTABLE.fullmatch(executable.name):
        # argv[0] of a virtual environment names its own link, which knows its packages.
        named = Path(argv[0]) if argv else executable
        for own in ([named] if named.is_absolute() and _is_same(named, pid) else []) + [executable]:
            try:
                return inspect(own)
            except TargetError:
                continue  # not here, or not for this user; the names of its files still tell
    found = _LIBPYTHON.search(maps) or _DYNLOAD.search(maps)
    if found is None and executable is not None:
        found = _EXECUTABLE.fullmatch(executable.name)
    if found is None or executable is None or not found[2]:
        return None
    implementation = "PyPy" if executable.name.startswith("pypy") else "CPython"
    return Interpreter(
        executable=executable, version=(int(found[1]), int(found[2]), 0), implementation=implementation, free_threaded=bool(found[3])
    )


def _may_read(pid: int) -> bool:
    call = getattr(ctypes.CDLL(None, use_errno=True), "process_vm_readv", None)
    if call is None:
        return True
    byte = ctypes.create_string_buffer(1)
    here, there = (ctypes.c_void_p * 2)(ctypes.addressof(byte), 1), (ctypes.c_void_p * 2)(None, 1)
    call(pid, here, ctypes.c_ulong(1), there, ctypes.c_ulong(1), ctypes.c_ulong(0))
    return ctypes.get_errno() not in (errno.EPERM, errno.EACCES, errno.ENOSYS)


def _yama() -> int:
    try:
        return int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except (OSError, ValueError):
        return 0


def _in_container() -> bool:
    return any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")) or "KUBERNETES_SERVICE_HOST" in os.environ


def _whereabouts(pid: int) -> str:
    """A process that is called `pid` inside a PID namespace of its own, if there is one."""
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            inside = (_status(int(name)) or {}).get("NSpid", "").split()
            if len(inside) > 1 and inside[-1] == str(pid):
                return f"a container calls process {name} so; from here it is `proftool attach {name}`"
    return "`pgrep -a python` lists the Python processes"
