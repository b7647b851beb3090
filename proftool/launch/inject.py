"""Bring an in-process recorder into a running process through gdb, and take it out again.

memray's own means are used: `_inject.abi3.so` and `_attach.gdb` of its package make the target start a thread that runs a script read
from a loopback port. The script starts the recorder (backends/inside/NAME.py, as at the start of a program) and then waits on a second
connection; when proftool says so, or is gone, it stops the recorder and is gone too. So gdb is needed only once, and a recording never
outlives proftool.

Rule: the target survives. gdb holds breakpoints in it until it comes to a safe place (its next allocation under the interpreter's
lock). One that does not come there, because it sleeps, is left by interrupting gdb: on SIGINT it takes its breakpoints out and detaches.
Measured with gdb 13.1: on SIGTERM it leaves them in, and the target dies of SIGTRAP when it wakes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from proftool.contracts import Inside
from proftool.errors import BackendFailed, BackendUnavailable
from proftool.launch import parts
from proftool.launch.signals import die_with_parent

_SAFE_PLACE_S = 15.0
"""How long the target may take to come to a safe place."""
_ANSWER_S = 20.0
_LAST_WORDS_S = 5.0
"""For why it did not start, which it writes after it has let the second connection go: on a busy machine not at once."""
_END_S = 60.0
"""How long the recorder may take to write what it has."""
_RTLD_NOW = 2

_SCRIPT = """
def _proftool_attached(place):
    import _frozen_importlib_external as files, _thread, atexit, os, socket, sys
    pid, once, ended = os.getpid(), _thread.allocate_lock(), []
    module = type(sys)("_proftool_recorder")
    module.__file__ = place["recorder"]
    exec(files.SourceFileLoader(module.__name__, place["recorder"]).get_code(module.__name__), module.__dict__)
    control = socket.create_connection(("127.0.0.1", place["port"]), 10)
    control.settimeout(None)
    recorder = module.start(place["part"], place["options"])
    def finish():
        if os.getpid() != pid:
            return  # a fork: memray has ended the recording there itself
        with once:
            if ended:
                return
            ended.append(True)
            recorder.stop()
            active = getattr(sys.modules.get("threading"), "_active", {})
            names = {thread.native_id: thread.name for thread in list(active.values()) if getattr(thread, "native_id", None)}
            try:
                control.sendall(ascii({"thread_names": names}).encode() + b"\\n")
                control.close()
            except OSError:
                pass
    def wait():
        try:
            control.recv(1)  # a byte: stop; the end of the stream: proftool is gone
        except OSError:
            pass
        atexit.unregister(finish)
        finish()
    atexit.register(finish)
    control.sendall(place["token"].encode() + b"\\n")
    _thread.start_new_thread(wait, ())
_proftool_attached(PLACE)
"""
"""Waits in a thread that nobody joins: the script's own is joined at the target's end, which would then never come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the recorder left."""

    part: Path | None
    thread_names: Mapping[int, str]
    complete: bool
    notes: tuple[str, ...]


class Injected:
    """A recorder inside a running process, from its start to `end`."""

    def __init__(self, pid: int, command: Inside, folder: Path, stop: threading.Event) -> None:
        """Bring it in; BackendFailed where it does not start, the target then being as it was."""
        self._pid, self._folder = pid, folder
        self._lent = _lend(pid)
        self._part = (self._lent or folder) / f"part-{pid}-0.memray"
        token = secrets.token_hex(16)
        try:
            with socket.create_server(("127.0.0.1", 0)) as server:
                port = int(server.getsockname()[1])
                place = {
                    "port": port,
                    "token": token,
                    "recorder": str(command.recorder),
                    "part": str(self._part),
                    "options": {**command.options, "library_paths": [str(path) for path in command.library_paths]},
                }
                _inject(pid, port, stop)
                with _accept(server, pid) as channel:
                    channel.sendall(f"PLACE = {place!a}\n{_SCRIPT}".encode())
                    channel.shutdown(socket.SHUT_WR)
                    self._control = _accept(server, pid, channel)
                    try:
                        self._await_start(token, channel)
                    except BaseException:
                        self._control.close()
                        raise
        except BaseException:
            if self._lent is not None:
                shutil.rmtree(self._lent, ignore_errors=True)
            raise

    def has_ended(self) -> bool:
        """Did the recorder stop by itself, with the target?"""
        return bool(select.select([self._control], [], [], 0)[0])

    def end(self) -> Told:
        """Stop it; what it left."""
        notes: list[str] = []
        names: Mapping[int, str] = {}
        complete = False
        try:
            if not self.has_ended():
                self._control.sendall(b"x")
            said = self._line(_END_S)
            if said:
                names, complete = literal_eval(said)["thread_names"], True
            else:
                notes.append("the process ended in the middle of the recording, which holds what was written until then")
        except (OSError, ValueError, SyntaxError, KeyError) as problem:
            notes.append(f"the recorder did not say that it ended: {problem}")
        self._control.close()
        part = self._folder / self._part.name
        if self._lent is not None:
            if self._part.is_file():
                shutil.move(self._part, part)
            shutil.rmtree(self._lent, ignore_errors=True)
        return Told(part=part if part.is_file() else None, thread_names=names, complete=complete, notes=tuple(notes))

    def _await_start(self, token: str, channel: socket.socket) -> None:
        """Until it has said that it records; where it cannot, the script's error comes on the first connection."""
        said = self._line(_ANSWER_S)
        if not said:
            channel.settimeout(_LAST_WORDS_S)
            error = ""
            with contextlib.suppress(OSError):  # it holds its tongue, or is gone
                error = channel.recv(4096).decode(errors="replace").strip()
            raise _failed(self._pid, f"the recorder did not start there: {error or 'it said nothing'}")
        if said != token:
            raise _failed(self._pid, "another process answered on its port")

    def _line(self, within_s: float) -> str:
        """The next line that it says, empty where it is gone or says none in time."""
        said, end = b"", time.monotonic() + within_s
        while not said.endswith(b"\n") and time.monotonic() < end:
            is_there = parts.state(self._pid) not in ("", "Z")
            if not select.select([self._control], [], [], 0.2 if is_there else 0)[0]:
                if not is_there:
                    break
                continue
            piece = self._control.recv(1)
            if not piece:
                break
            said += piece
        return said.decode(errors="replace").strip() if said.endswith(b"\n") else ""


def injector() -> tuple[Path, Path] | None:
    """memray's library and gdb script, found without importing it."""
    spec = find_spec("memray")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    library, script = folder / "_inject.abi3.so", folder / "commands" / "_attach.gdb"
    return (library, script) if library.is_file() and script.is_file() else None


def _lend(pid: int) -> Path | None:
    """A folder that the target may write, where it is another user's and we are root."""
    try:
        owner = os.stat(f"/proc/{pid}")
    except OSError:
        return None
    if os.geteuid() or not owner.st_uid:
        return None
    folder = Path(tempfile.mkdtemp(prefix="proftool-attach-"))
    os.chown(folder, owner.st_uid, owner.st_gid)
    return folder


def _inject(pid: int, port: int, stop: threading.Event) -> None:
    found = injector()
    if found is None:
        raise BackendUnavailable("memray cannot be brought in", cause="memray's injector is not installed", fix="`pip install memray`")
    library, script = found
    argv = ["gdb", "-batch", "-p", str(pid), "-nx", "-nw", "-iex=set auto-solib-add off", "-iex=set debuginfod enabled off"]
    argv += [f"-ex=set $rtld_now={_RTLD_NOW}", f'-ex=set $libpath="{library}"', f"-ex=set $port={port}", f"-x={script}"]
    parent = os.getpid()
    with tempfile.TemporaryFile() as out:
        # In a session of its own, or gdb would take the terminal and stop for it. It must not be killed with us: breakpoints would stay.
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(parent, signal.SIGINT),
        )
        end = time.monotonic() + _SAFE_PLACE_S
        while process.poll() is None and time.monotonic() < end and not stop.wait(0.01):
            pass
        if process.poll() is None:
            _leave(process)
            raise BackendFailed(
                f"memray could not be brought into process {pid}",
                cause="it was interrupted before the recording began"
                if stop.is_set()
                else f"it slept for {_SAFE_PLACE_S:.0f} s: it must come to a safe place by itself",
                fix="try again while it works; `--backend py-spy` reads it asleep too",
            )
        out.seek(0)
        said = out.read().decode(errors="replace")
    if not any(' "SUCCESS"' in line for line in said.splitlines() if not line.startswith("(gdb)")):
        raise _failed(pid, _reason(said))


def _leave(process: subprocess.Popen[bytes]) -> None:
    """Have gdb take its breakpoints out and go; asked again, as it may be between two commands."""
    while True:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(5)
            return
        except subprocess.TimeoutExpired:
            continue


def _reason(said: str) -> str:
    if "ptrace: " in said or "Could not attach" in said:
        return next(
            (line.strip() for line in said.splitlines() if "ptrace: " in line or "Could not attach" in line), "gdb may not trace it"
        )
    if "cannot open shared object file" in said:
        return "it cannot read memray's library (another user, or another file system)"
    if 'Process is Python 3.7+."' not in said:
        return "gdb finds no Python in it"
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "gdb said nothing")
    return f"gdb gave up: {last}"


def _failed(pid: int, cause: str) -> BackendFailed:
    return BackendFailed(
        f"memray could not be brought into process {pid}",
        cause=cause,
        fix=f"`proftool attach {pid} --check` says which backends can attach",
    )


def _accept(server: socket.socket, pid: int, other: socket.socket | None = None) -> socket.socket:
    """The target's next connection, or what it says on the other one instead."""
    end = time.monotonic() + _ANSWER_S
    watched = [server] if other is None else [server, other]
    while time.monotonic() < end and parts.state(pid) not in ("", "Z"):
        ready = select.select(watched, [], [], 0.1)[0]
        if server in ready:
            return server.accept()[0]
        if other is not None and other in ready:
            said = other.recv(4096).decode(errors="replace").strip()
            if said:
                raise _failed(pid, f"the recorder did not start there: {said}")
            watched.remove(other)
    gone = parts.state(pid) in ("", "Z")
    raise _failed(pid, "it ended before the recording began" if gone else "it did not answer (it may have a network of its own)")
