"""Start a target, record it, and hand back what is left: the one way a program comes to run under proftool.

The target is proftool's direct child, so its status is what waitpid says and no profiler's word counts. An in-process profiler comes
in through the start-up hook; an external one is attached to the target's PID while that waits at a gate (a pipe), so nothing of the
program is missed. Signals go to the target (signals.py). When proftool dies, the kernel kills the target.

Layout of a recording's folder: `process-PID-N` (a Python literal, written by each recorded process), `part-PID-N.SUFFIX`
(profiler's), `debt-PID` (woken.py), `hook/`. Nothing is written elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from proftool.contracts import Command, Inside, Mode, Outside, Program, Recording, RecordOptions, Segment
from proftool.errors import BackendFailed, BackendUnavailable, TargetError
from proftool.launch import hook, parts, woken
from proftool.launch.interpreter import inspect
from proftool.launch.segments import Segments
from proftool.launch.signals import Guard, die_with_parent, stop_with

_GATE_S = 30.0
"""How long a target's interpreter may take to start up before an external profiler is attached."""


def launch(
    program: Program,
    command: Command,
    options: RecordOptions,
    folder: Path,
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    meanwhile: Callable[[int], None] | None = None,
) -> Recording:
    """Run the program to its end under a profiler, recording into `folder` (which exists, is empty and is the caller's).

    `meanwhile` is called once with the target's PID, when the target's own code may run. Raises TargetError where the interpreter cannot be
    started, BackendUnavailable outside Linux, BackendFailed or PermissionNeeded where an external profiler could not attach (the target's
    code has then not run).
    """
    _refuse_elsewhere()
    inside = command if isinstance(command, Inside) else None
    pythonpath = os.environ.get("PYTHONPATH")
    try:
        hooks = hook.write(
            folder,
            inside,
            children=options.children,
            pythonpath=pythonpath,
            tracer_pid=_tracer_pid(inside),
            collector=options.mode is Mode.SAMPLE,  # what a tracer or an allocation tracker costs would be told as the collector's
        )
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        raise BackendFailed(
            f"cannot record into {folder}: the program was not started",
            cause=cause,
            fix="make room there, or name another place with PROFTOOL_STORE",
        ) from error
    env = dict(os.environ)
    env["PYTHONPATH"] = str(hooks) if not pythonpath else os.pathsep.join((str(hooks), pythonpath))
    notes: list[str] = []
    argv = hook.argv(program, hooks)
    if hook.is_blind(program) and options.children:
        notes.append(
            "child processes that inherit the interpreter's options -I, -E or -S were not recorded: these ignore the start-up hook"
        )
    interpreter = inspect(program.python)
    started_ns = begun = 0
    segments: tuple[Segment, ...] = ()
    chatter, interrupted = "", False

    def told(duration_ns: int) -> Recording:
        return Recording(
            folder=folder,
            target=program,
            options=options,
            processes=parts.collect(folder, target.pid, recorded=inside is not None, status=target.status),
            exit_status=target.status,
            started_ns=started_ns,
            duration_ns=duration_ns,
            cpu_ns=target.cpu_ns,
            profiler_stderr=chatter,
            interrupted=interrupted,
            interpreter=interpreter,
            segments=segments,
            notes=(*notes, *parts.failures(folder)),
        )

    in_main = threading.current_thread() is threading.main_thread()
    with contextlib.ExitStack() as held:
        held.callback(hook.remove, folder, hooks)
        guard = held.enter_context(Guard(folder)) if in_main else None
        target = _Target(argv, env, stdin, stdout, guard, waits=isinstance(command, Outside))
        profiler: Segments | None = None
        try:
            if isinstance(command, Outside):
                target.await_gate(guard)
                profiler = Segments(
                    command,
                    target.pid,
                    folder,
                    _before_exec(guard, ()),
                    children=options.children,
                    budget=options.overhead_budget,
                    so_far=lambda: told(time.monotonic_ns() - begun),
                )
                profiler.await_ready(target.poll, lambda within_s: target.watch(guard, within_s))
            started_ns, begun = time.time_ns(), time.monotonic_ns()
            target.open_gate()
            if meanwhile is not None:
                meanwhile(target.pid)
            deadline = None if options.duration_ns is None else begun + options.duration_ns
            while not target.poll():
                if deadline is not None and time.monotonic_ns() >= deadline and profiler is not None:
                    profiler.interrupt()
                    deadline = None
                left_s = woken.EVERY_S if deadline is None else max((deadline - time.monotonic_ns()) / 1e9, 0.0)
                target.watch(guard, min(left_s, woken.EVERY_S))
                woken.wake(folder)
        except BaseException:
            target.kill()
            if profiler is not None:
                profiler.kill()
            raise
        duration_ns = target.ended_ns - begun
        if profiler is not None:
            segments, chatter, of_profiler = profiler.end(target.ended_ns)
            notes += of_profiler
        interrupted = guard is not None and guard.interrupted
    return told(duration_ns)


def _refuse_elsewhere() -> None:
    """BackendUnavailable where the system lacks what a target is started and watched with: macOS has no `sigtimedwait`, Windows neither."""
    needed = ((signal, "sigtimedwait"), (signal, "pthread_sigmask"), (os, "waitid"), (os, "wait4"))
    missing = [f"`{module.__name__}.{name}`" for module, name in needed if not hasattr(module, name)]
    if missing:
        raise BackendUnavailable(
            "programs are recorded on Linux only",
            cause=f"Python has no {' and no '.join(missing)} on this system",
            fix="record on Linux, in a container for instance; runs and files of other profilers can be read, shown and compared here",
        )


class _Target:
    """The target's first process: our direct child."""

    def __init__(
        self, argv: list[str], env: dict[str, str], stdin: int | None, stdout: int | None, guard: Guard | None, *, waits: bool
    ) -> None:
        self.status: int | None = None
        self.cpu_ns: int | None = None
        self.ended_ns = 0
        self._ready = self._go = -1
        inherited: tuple[int, ...] = ()
        if waits:
            self._ready, ready = os.pipe()
            go, self._go = os.pipe()
            inherited = (ready, go)
        env = env | {"PROFTOOL_GATE": ",".join(map(str, inherited))}  # marks the first process even where nothing waits
        try:
            # Descriptors that proftool was given (a shell's `<(…)`, make's job server) are the target's too, so close_fds is False.
            self._process = subprocess.Popen(
                argv, env=env, stdin=stdin, stdout=stdout, close_fds=False, preexec_fn=_before_exec(guard, inherited), restore_signals=True
            )
        except OSError as error:
            self.open_gate()
            cause = (error.strerror or str(error)).lower()
            raise TargetError(f"`{argv[0]}` cannot be started", cause=cause, fix="name another interpreter with `--python PATH`") from error
        finally:
            for descriptor in inherited:
                os.close(descriptor)
        self.pid = self._process.pid
        # While the target runs, proftool imports what it will need and may notice the end of a short program 0.3 s late. A thread
        # that does nothing but wait for it is woken within a few milliseconds; WNOWAIT leaves the status for wait4.
        self._end_seen = threading.Thread(target=self._see_end, name="proftool-end", daemon=True)
        self._end_seen.start()

    def _see_end(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self.ended_ns = time.monotonic_ns()

    def await_gate(self, guard: Guard | None) -> None:
        """Until the interpreter has started and waits."""
        end = time.monotonic() + _GATE_S
        os.set_blocking(self._ready, False)
        while not self.poll():
            try:
                if os.read(self._ready, 64):
                    return
            except BlockingIOError:
                pass
            if time.monotonic() > end:
                raise BackendFailed(
                    "the target did not come to the gate",
                    cause=f"its interpreter did not start within {_GATE_S:.0f} s",
                    fix="run it without proftool and see where it waits",
                )
            self._pause(guard, 0.005)

    def open_gate(self) -> None:
        """Let the program run."""
        for descriptor in (self._go, self._ready):
            if descriptor >= 0:
                os.close(descriptor)
        self._go = self._ready = -1

    def poll(self) -> bool:
        """Has it ended? Stops with it where it was stopped."""
        if self.status is not None:
            return True
        pid, status, usage = os.wait4(self.pid, os.WNOHANG | os.WUNTRACED)
        if not pid:
            return False
        if os.WIFSTOPPED(status):
            if parts.state(self.pid) == "T":
                stop_with(self.pid)
            return False
        self._end_seen.join()
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code
        self.status = 128 - code if code < 0 else code
        self.cpu_ns = round((usage.ru_utime + usage.ru_stime) * 1e9)
        return True

    def watch(self, guard: Guard | None, within_s: float) -> None:
        """Wait for a change of the target, forwarding signals."""
        self._pause(guard, within_s)

    def _pause(self, guard: Guard | None, within_s: float) -> None:
        if guard is not None:
            guard.wait(self.pid, within_s)
        else:
            time.sleep(min(within_s, 0.02))

    def kill(self) -> None:
        self.open_gate()
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._process.wait()


def _tracer_pid(inside: Inside | None) -> int | None:
    """Our PID where the target has to allow us and our children to trace it: Yama's scope 1, and no root."""
    if inside is not None or os.geteuid() == 0:
        return None
    try:
        return os.getpid() if Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip() == "1" else None
    except OSError:
        return None


def _before_exec(guard: Guard | None, inherited: tuple[int, ...]) -> Callable[[], None]:
    parent = os.getpid()

    def prepare() -> None:
        die_with_parent(parent)
        for descriptor in inherited:
            os.set_inheritable(descriptor, True)
        if guard is not None:
            guard.unblock()

    return prepare
