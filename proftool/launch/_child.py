# pyright: basic
"""The bootstrap inside every recorded Python process: gate, recorder, orderly end.

Loaded by path from the start-up hook that hook.py writes, so it runs in the target's own interpreter (Python 3.8 or newer), imports
the standard library only, and as little of that as it can. The target itself is started by Python as in a plain run: nothing here
runs its code, so argv, `__main__`, `sys.path`, tracebacks and statuses are Python's own.

Each process writes `process-PID-N`, a Python literal, when it begins and again when it ends, and its profiler's part
`part-PID-N.SUFFIX`. A process ends in order by returning, by `os._exit` (workers), by a fatal signal with default action, or by
`exec`; each of these saves first and then takes its course, so the status is what it would have been.

Rule: nothing here may change what the target does. Every failure becomes a note in the process's file.
"""

import _signal  # pyright: ignore[reportMissingImports]
import _thread
import os
import sys
import time

_FATAL = ("SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGTERM", "SIGXCPU", "SIGVTALRM", "SIGPROF")
"""Signals whose default action ends a process and which a handler may survive to save; SIGINT is already an exception."""

_real_exit = os._exit
_real_kill = os.kill
_real_signal = _signal.signal
_real_getsignal = _signal.getsignal
_state = None
"""The recording of this process, or None."""
_thread_hook = None
"""What `threading` calls in each new thread, where the recorder has to be started in each."""


class _Process:
    """The recording of one process; a fork makes a new one."""

    hook = recorder = signal = None
    collector = None  # of all: what tells the garbage collector's time, where that is asked for
    checked = stopping = stopped = False

    def __init__(self, config, module):
        self.config = config
        self.module = module
        self.pid = os.getpid()
        self.notes = []
        self.thread_names = {}
        self.started_ns = time.time_ns()
        self.main_tid = _thread.get_native_id()
        n = 0
        while os.path.exists(os.path.join(config["folder"], f"process-{self.pid}-{n}")):
            n += 1  # the process that was here before exec, or the PID came round again
        self.file = os.path.join(config["folder"], f"process-{self.pid}-{n}")
        self.part = os.path.join(config["folder"], f"part-{self.pid}-{n}{module.suffix if module else ''}")
        self.debt = os.path.join(config["folder"], f"debt-{self.pid}")

    def begin(self):
        """Start the profiler of a process that has just begun."""
        self.write(False, "")
        if self.module is None:
            return
        try:
            self.recorder = self.module.start(self.part, self.config["options"])
            self.hook = None if hasattr(self.recorder, "is_on") else sys.getprofile()
        except Exception as error:
            self.notes.append(f"the profiler did not start: {type(error).__name__}: {error}")
            self.write(False, "")

    def check_hooks(self):
        """Note where the target took the profiler's place by `sys.setprofile` or `threading.setprofile`: nobody tells the profiler."""
        if self.checked or self.recorder is None or _thread.get_native_id() != self.main_tid:
            return
        self.checked = True
        lost = "the program set a profile function of its own (`{}`): {} not recorded".format
        is_on = self.recorder.is_on() if hasattr(self.recorder, "is_on") else sys.getprofile() is self.hook
        if not is_on:
            self.notes.append(lost("sys.setprofile", "what its main thread did from then on was"))
        if _thread_hook is not None and getattr(sys.modules.get("threading"), "_profile_hook", None) is not _thread_hook:
            self.notes.append(lost("threading.setprofile", "threads that began after that were"))

    def owe(self, owes):
        """Keep or pay the debt of a process that saves before it dies of SIGTERM (woken.py)."""
        try:
            if owes:
                with open(self.debt, "w", encoding="ascii") as file:
                    file.write(f"{time.time()}\n")
            else:
                os.unlink(self.debt)
        except OSError:
            pass  # paid already, or the folder is gone

    def name_thread(self):
        """Remember the calling thread's name: it may have ended when the recording does."""
        thread = getattr(sys.modules.get("threading"), "_active", {}).get(_thread.get_ident())
        if thread is not None:
            self.thread_names[_thread.get_native_id()] = thread.name

    def stop(self, reason):
        """Stop the profiler, write its part and this process's file; once."""
        if self.stopping or self.pid != os.getpid():
            return
        self.stopping = True
        self.owe(False)
        complete = True
        self.check_hooks()
        if self.recorder is not None:
            try:
                self.recorder.stop()
            except Exception as error:
                complete = False
                self.notes.append(f"its recording could not be written: {type(error).__name__}: {error}")
        elif self.module is not None:
            complete = False
        self.write(complete, reason)
        self.stopped = True
        if self.signal is not None:
            _die(self.signal)

    def write(self, complete, reason):
        """This process's file, whole or not at all."""
        ident = _thread.get_ident()
        for thread in list(getattr(sys.modules.get("threading"), "_active", {}).values()):
            if getattr(thread, "native_id", None) and thread.ident != ident:
                self.thread_names[thread.native_id] = thread.name
        self.name_thread()  # after a fork, `native_id` of the surviving thread is its parent's until Python 3.12
        record = {
            "pid": self.pid,
            "ppid": os.getppid(),
            "name": _process_name(),
            "argv": list(getattr(sys, "orig_argv", None) or getattr(sys, "argv", [])),
            "started_ns": self.started_ns,
            "ended_ns": time.time_ns() if reason else None,
            "python": "{} {}.{}.{}".format(
                {"cpython": "CPython", "pypy": "PyPy"}.get(sys.implementation.name, sys.implementation.name), *sys.version_info[:3]
            ),
            "thread_names": self.thread_names,
            "main_tid": self.main_tid,
            "part": os.path.basename(self.part) if self.module else "",
            "complete": complete,
            "exit_reason": reason,
            "notes": self.notes,
            "collector": self.collector and self.collector.told(),
        }
        try:
            with open(self.file + ".new", "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(ascii(record))
            os.replace(self.file + ".new", self.file)
        except OSError:
            pass  # the folder is gone (the recording has ended before this process) or the disk is full: the launcher says which


def begin(config, blind=False):
    """Join the recording: the first process waits at the gate; the profiler starts after start-up (`blind`: it is over, see _blind.py)."""
    gate = os.environ.pop("PROFTOOL_GATE", None)
    if not config["children"]:  # the target alone is recorded, so its children need nothing from here
        os.environ.pop("PYTHONPATH", None)
        if config["pythonpath"] is not None:
            os.environ["PYTHONPATH"] = config["pythonpath"]
    if config["tracer_pid"] and (gate is not None or config["children"]):
        _allow_tracing(config["tracer_pid"])
    if gate:
        _pass_gate(gate)
    elif gate is None and (not config["children"] or _is_resource_tracker()):
        return
    module = _load(config["recorder"]) if config["recorder"] else None
    if blind or getattr(module, "at_once", False):
        _record(config, module)
    else:
        _after_start_up(lambda: _record(config, module))


def _allow_tracing(pid):
    """prctl(PR_SET_PTRACER): that process and its descendants may trace us. Without `ctypes`, which the target may not have loaded."""
    import _ctypes  # pyright: ignore[reportMissingImports]

    prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # pyright: ignore[reportArgumentType]
    _ctypes.call_function(prctl, (0x59616D61, pid, 0, 0, 0))


def _pass_gate(gate):
    ready, go = (int(number) for number in gate.split(","))
    os.write(ready, b"ready")
    os.close(ready)
    os.read(go, 1)  # a byte, or the end of the file where the launcher is gone
    os.close(go)


def _is_resource_tracker():
    """multiprocessing's helper that unlinks semaphores: no work of the target's, and it outlives it."""
    try:
        with open("/proc/self/cmdline", "rb") as file:
            return b"multiprocessing.resource_tracker" in file.read(4096)
    except OSError:
        return any("multiprocessing.resource_tracker" in word for word in getattr(sys, "orig_argv", ()))


def _load(path):
    """A recorder, by path, through the bytecode cache where there is one."""
    import _frozen_importlib_external as files

    module = type(sys)("_proftool_recorder")
    module.__file__ = path
    exec(files.SourceFileLoader(module.__name__, path).get_code(module.__name__), module.__dict__)  # pyright: ignore[reportArgumentType]
    return module


def _after_start_up(action):
    """Run `action` when the interpreter's own start-up (`site`) has returned, so that nothing of it is recorded."""

    def hook(frame, event, arg):
        if event == "return" and frame.f_back is None:
            sys.setprofile(None)
            action()

    sys.setprofile(hook)


def _record(config, module):
    global _state
    _state = _Process(config, module)
    import atexit

    if module is not None:
        _wrap_ends()
        _tell_when_main_returns()
        if hasattr(module, "prepare"):
            module.prepare(config["options"])
        if _real_getsignal(_signal.SIGTERM) is _on_signal:
            _state.owe(True)
    if module is None or getattr(module, "per_thread", False):
        _watch_threads()  # a profiler from outside finds no name for a thread that began after its last look at `threading`
    # Registered before any of the target's, so it runs after all of them.
    atexit.register(_stop, "exit")
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork if config["children"] else _forget)
    _state.begin()
    if config["collector"]:
        _Process.collector = _load(config["collector"]).watch(config["children"], _state.notes)


def _stop(reason):
    if _state is not None:
        _state.stop(reason)


def _after_fork():
    """A child of os.fork: it inherits the profiler's state and must begin a part of its own."""
    global _state
    parent = _state
    if parent is None or (parent.recorder is None and parent.module is not None):
        return
    caller = sys._getframe(1)
    if caller.f_code.co_name == "_execute_child" and caller.f_globals.get("__name__") == "subprocess":
        _forget()  # a fork with `preexec_fn`: another program takes its place at once
        return
    _state = _Process(parent.config, parent.module)
    if parent.recorder is not None:
        try:
            parent.recorder.forked(_state.part)
            _state.recorder, _state.hook = parent.recorder, None if parent.hook is None else sys.getprofile()
        except Exception as error:
            _state.notes.append(f"the profiler did not start after fork: {type(error).__name__}: {error}")
    if _real_getsignal(_signal.SIGTERM) is _on_signal:
        _state.owe(True)
    _state.write(False, "")


def _forget():
    """A child that is not to be recorded."""
    global _state
    parent, _state = _state, None
    if parent is not None and parent.recorder is not None and hasattr(parent.recorder, "abandon"):
        parent.recorder.abandon()


def _watch_threads():
    """Keep each new thread's name, and let the recorder see the thread from its first call.

    Set beside `threading.setprofile`, not through it, so that a program that asks `threading.getprofile()` sees its own.
    """
    import threading

    def hook(frame, event, arg):
        sys.setprofile(None)
        process = _state
        if process is not None and not process.stopping and (process.recorder is not None or process.module is None):
            process.name_thread()
            if process.recorder is not None:
                process.recorder.thread_started()

    global _thread_hook
    threading._profile_hook = _thread_hook = hook
    if hasattr(threading, "getprofile"):
        real = threading.getprofile
        threading.getprofile = lambda: None if threading._profile_hook is hook else real()


def _tell_when_main_returns():
    import threading

    def returned():
        if _state is not None and _state.recorder is not None and not _state.stopping:
            _state.check_hooks()
            _state.recorder.main_returned()

    register = getattr(threading, "_register_atexit", None)
    if register is None:
        from atexit import register
    register(returned)


def _wrap_ends():
    """Save at the ends that skip exit handlers: os._exit, exec, and signals with default action."""

    def _exit(status):
        _stop("os._exit")
        _real_exit(status)

    def kill(pid, sig, /):
        _real_kill(pid, sig)
        if sig == _signal.SIGTERM and _state is not None:
            try:
                debt = os.open(os.path.join(_state.config["folder"], f"debt-{pid}"), os.O_WRONLY | os.O_APPEND)
                os.write(debt, b"sent\n")
                os.close(debt)
            except OSError:
                pass  # it owes nothing

    kill.__doc__ = _real_kill.__doc__
    os._exit, os.kill = _exit, kill
    for name in ("execv", "execve"):
        if hasattr(os, name):
            setattr(os, name, _exec(getattr(os, name)))
    for name in _FATAL:
        number = getattr(_signal, name, None)
        if number is not None and _real_getsignal(number) == _signal.SIG_DFL:
            try:
                _real_signal(number, _on_signal)
            except (OSError, ValueError):
                continue

    # A program that asks for or replaces the handler sees the default action that it would see in a plain run.
    def signal(signalnum, handler):
        mine = handler == _signal.SIG_DFL and signalnum in _ours and _state is not None and not _state.stopping
        before = _real_signal(signalnum, _on_signal if mine else handler)
        if signalnum == _signal.SIGTERM and _state is not None and (before is _on_signal) != mine:
            _state.owe(mine)
        return _signal.SIG_DFL if before is _on_signal else before

    def getsignal(signalnum):
        handler = _real_getsignal(signalnum)
        return _signal.SIG_DFL if handler is _on_signal else handler

    _ours = {int(getattr(_signal, name)) for name in _FATAL if hasattr(_signal, name)}
    signal.__doc__, getsignal.__doc__ = _real_signal.__doc__, _real_getsignal.__doc__
    _signal.signal, _signal.getsignal = signal, getsignal


def _exec(real):
    def replace(*words, **named):
        _stop("exec")
        real(*words, **named)  # raises where it fails; that recording then ends here

    replace.__name__ = real.__name__
    return replace


def _on_signal(number, frame):
    process = _state
    if process is not None and process.pid == os.getpid() and process.recorder is not None:
        if process.stopping and not process.stopped:
            process.signal = number  # it interrupted the writing of the part; die when that is done
            return
        process.stop(f"signal {number}")
    _die(number)


def _die(number):
    """End by the signal's default action, as the target would have in a plain run."""
    _real_signal(number, _signal.SIG_DFL)
    if hasattr(_signal, "pthread_sigmask"):
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [number])
    _real_kill(os.getpid(), number)


def _process_name():
    """multiprocessing's name, else the script's, module's or `-c`."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.current_process().name != "MainProcess":
        return process.current_process().name
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name[: -len(".__main__")] if spec.name.endswith(".__main__") else spec.name
    words = getattr(sys, "orig_argv", ())
    for kind in ("forkserver", "spawn"):
        if any(f"multiprocessing.{kind} import" in word for word in words):
            return kind
    argv = getattr(sys, "argv", None) or [""]
    return os.path.basename(argv[0]) or "python"
