"""The workers of one service: a folder that each writes one file of, read as one; the dead are folded in once.

    BASE/NAME-PID-START/         a group: service, process that started its workers, when that one started
        PID-RANDOM.cells         a worker's segment (segments.py); its writer holds a lock on it (`flock`) as long as it lives
        folded.json              sums of workers that are gone, and which files are in it
        lock                     held by who folds
        born                     when the group began, ns since the epoch

The kernel releases a lock with its process, whatever killed it: no pid is guessed about. Folding writes the sums and the names of the
files they are of in one rename, and removes the files after it, so that a kill at any moment counts nothing twice and nothing
never. A reader takes no lock: it reads again if `folded.json` was replaced meanwhile. Counters and histograms of the dead stay in the
sums, their gauges vanish (prometheus/client_python issues 184, 227, 204).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path

from proftool.telemetry.points import Merge, Sample
from proftool.telemetry.segments import Segment, blocks_of

try:
    import fcntl
except ImportError:  # Windows: processes are read one by one there
    fcntl = None

SUFFIX = ".cells"
FOLDED = "folded.json"


@dataclass(slots=True)
class Own:
    """This process's part of a group."""

    folder: Path
    name: str
    segment: Segment
    lock: int
    """Descriptor whose lock says that this process lives."""
    pid: int

    def leave_to_parent(self) -> None:
        """In a forked child: let go of the parent's file without touching its lock."""
        with contextlib.suppress(OSError):
            os.close(self.lock)


def can_share() -> bool:
    """Are there locks that end with their process here?"""
    return fcntl is not None


def join(folder: Path) -> Own:
    """Add this process to a group; OSError where the folder cannot hold it."""
    assert fcntl is not None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
    path, born = folder / name, folder / f".{name}.new"
    descriptor = os.open(born, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        # A second description: the mapping keeps the first alive in forked children, and a lock with it.
        lock = os.open(born, os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(born, path)
        segment = Segment(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return Own(folder, name, segment, lock, os.getpid())


def born(folder: Path) -> int:
    """When the group began, ns since the epoch; the first that asks says so."""
    path = folder / "born"
    try:
        return int(path.read_text())
    except FileNotFoundError:
        new = folder / f".born.{secrets.token_hex(4)}"
        new.write_text(str(time.time_ns()))
        # A link is made whole or not at all, and not over another's.
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
        new.unlink()
        return int(path.read_text())


def read(folder: Path) -> list[Sample]:
    """Every series of the group, the dead included; folds them first if nobody else does."""
    fold(folder)
    while True:
        before = _stamp(folder)
        merge = Merge()
        gone = _read_folded(folder, merge)
        if all(_add(folder / name, name, merge) for name in _files(folder) if name not in gone) and _stamp(folder) == before:
            return merge.samples()


def fold(folder: Path) -> None:
    """Fold the files of the dead into `folded.json`; nothing where another process is at it, or nobody died."""
    if fcntl is None:
        return
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        dead = [name for name in _files(folder) if not is_alive(folder / name)]
        if not dead:
            return
        merge = Merge(keep_gauges=False)
        gone = _read_folded(folder, merge)
        for name in dead:
            if name not in gone and not _add(folder / name, name, merge):
                return
        _replace(folder / FOLDED, json.dumps({"files": dead, "series": merge.dump()}).encode())
        for name in dead:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(folder / name)
    finally:
        os.close(lock)


def claim(path: Path) -> int | None:
    """A lock that one process holds as long as it lives; None where another has it."""
    assert fcntl is not None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def turn(path: Path, timeout_s: float) -> Generator[None]:
    """A block in which one process is at a time; after the timeout all the same."""
    end = time.monotonic() + timeout_s
    held: int | None = None
    with contextlib.suppress(OSError):
        while (held := claim(path)) is None and time.monotonic() < end:
            time.sleep(0.005)
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def is_alive(path: Path) -> bool:
    """Does the writer of the file live?"""
    assert fcntl is not None
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _files(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX) and not name.startswith("."))
    except FileNotFoundError:
        return []


def _add(path: Path, name: str, merge: Merge) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        for description, cell in blocks_of(descriptor):
            merge.add_cell(description, cell, pid=name.partition("-")[0])
    finally:
        os.close(descriptor)
    return True


def _read_folded(folder: Path, merge: Merge) -> frozenset[str]:
    try:
        found = json.loads((folder / FOLDED).read_bytes())
    except FileNotFoundError:
        return frozenset()
    merge.load(found["series"])
    return frozenset(found["files"])


def _stamp(folder: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(folder / FOLDED)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _replace(path: Path, content: bytes) -> None:
    born = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    born.write_bytes(content)
    os.replace(born, path)


# --- which group this process belongs to ------------------------------------------------------------------------------------


def group_folder(service: str) -> Path:
    """Folder of the group that this process is in: of its own, or of the server that forked or spawned it."""
    safe = "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in service)[:80] or "service"
    leader = leader_pid()
    return base() / f"{safe}-{leader}-{started(leader) or 0}"


def leader_pid() -> int:
    """
    The process whose workers belong together.

    A child of multiprocessing (uvicorn's workers) belongs to its parent. A child whose command line is the parent's was forked by
    it (gunicorn's and uWSGI's workers). Anything else leads a group of its own; so two services started in one shell stay apart.
    """
    if (module := sys.modules.get("multiprocessing.process")) and (parent := module.parent_process()) and parent.pid:
        return parent.pid
    own, parent_pid = command_line(os.getpid()), os.getppid()
    if own and (own == command_line(parent_pid) or own.startswith(b"gunicorn: worker")):
        return parent_pid
    return os.getpid()


def command_line(pid: int) -> bytes:
    """The command line as the kernel has it; empty where it cannot be known."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def started(pid: int) -> int | None:
    """When the process started, in a unit of the system's own; None where there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        if sys.platform == "linux":
            return None
    import psutil

    try:
        return int(psutil.Process(pid).create_time() * 1000)
    except psutil.Error:
        return None


def base() -> Path:
    """Folder of the groups of this user: in memory where the system has a place for it; OSError if somebody else owns that name."""
    shared = Path("/dev/shm")
    parent = shared if shared.is_dir() and os.access(shared, os.W_OK) else Path(tempfile.gettempdir())
    folder = parent / f"proftool-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not this user's alone")
    return folder


def sweep(groups: Iterable[Path]) -> None:
    """Remove groups whose leader is gone and in which nobody lives."""
    for folder in groups:
        _, _, rest = folder.name.partition("-")
        parts = folder.name.rsplit("-", 2)
        if not rest or len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts[1:]):
            continue
        if started(int(parts[1])) == int(parts[2]) or any(is_alive(folder / name) for name in _files(folder)):
            continue
        shutil.rmtree(folder, ignore_errors=True)
