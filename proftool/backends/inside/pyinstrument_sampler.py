# pyright: basic
"""pyinstrument's sampler inside the target, under names of its own: it spares a thread, and it stays where an exception passes through it.

A signal's handler runs between two instructions of Python code, so also of the sampler's, and what it raises is the program's. It leaves
the sampler as it leaves any code; but the profile function is then taken away (pyinstrument 5.1.3, stat_profile.c: `PyEval_SetProfile(NULL,
NULL)` where its target fails), and a timeout by `signal.alarm`, or a Ctrl-C that is caught, would end the recording. So the end of the
target, which its weak reference tells, asks the interpreter (`Py_AddPendingCall`) to put the function back between two instructions of
the program. All of that is C: a `try`, or a callback in Python, would be interrupted itself, before its first instruction.
"""

import os
import sys
import time
from _thread import get_ident
from _weakref import ref


def load(library_paths):
    """pyinstrument's sampler modules under private names, so that a target's own pyinstrument is untouched and unchanged; its version."""
    folder = _fitting([*library_paths, *sys.path])
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "pyinstrument"}
    package = type(sys)("pyinstrument")  # without its __init__, which imports every renderer
    package.__path__ = [folder]
    sys.modules["pyinstrument"] = package
    try:
        import pyinstrument.stack_sampler as sampler  # pyright: ignore[reportMissingImports]
    finally:
        for name in list(sys.modules):
            if name.partition(".")[0] == "pyinstrument":
                del sys.modules[name]
        sys.modules.update(before)
    sampler.IGNORE_OVERHEAD_WARNING = True  # it would print into the target's stderr
    sampler.StackSampler = _staying(sampler.StackSampler)  # pyright: ignore[reportAttributeAccessIssue]
    sampler.thread_clock = thread_clock  # pyright: ignore[reportAttributeAccessIssue]
    sampler.threading = _Nameless  # pyright: ignore[reportAttributeAccessIssue, reportPrivateImportUsage]
    return sampler, _version(os.path.dirname(folder))


class _Nameless:
    """What pyinstrument's sampler takes for `threading`: it names the thread in each stack, where the lane does it here.

    `threading.current_thread()` would leave a dummy in `threading.enumerate()` for good where a thread is sampled at its very end,
    after `threading` has let go of it.
    """

    name, ident = "", 0

    @classmethod
    def current_thread(cls):
        return cls


def _staying(base):
    """pyinstrument's sampler, that lets a thread be until its next sample is `due` (building the stack is what costs), and stays."""

    class Staying(base):
        due_s = 0.0
        began_ns = 0
        """CPU time of the thread when its sample began: its own, also where it loses the processor meanwhile."""
        back = end = kind = None
        """Weak: the target. The profile function may not be held, or it would not end when it is taken away."""
        lost = ""
        """Why the thread is sampled no more."""

        def _sample(self, frame, event, arg):
            if not self.due_s or event == "context_changed" or self._timer() >= self.due_s:
                self.began_ns = time.thread_time_ns()
                base._sample(self, frame, event, arg)

        def _start_sampling(self, interval, use_timing_thread):
            if self.back is None:
                self.back = _Back(self)
            target = self._sample = self._sample
            base._start_sampling(self, interval, use_timing_thread)
            del self._sample  # the profile function alone holds it
            self.kind, self.end = type(sys.getprofile()), _End(target, self.back.add)

        def is_on(self):
            """Has nobody but an exception taken the profile function of the calling thread away?"""
            if self.back is not None and self.back.why_not and sys.getprofile() is None:
                self.lost = self.back.why_not
            return bool(self.lost) or (self.end is not None and self.end() is not None and type(sys.getprofile()) is self.kind)

    return Staying


class _End(ref):
    _as_parameter_ = 0  # it is handed to the C function too, which does not look at it


class _Back:
    """Puts the profile function of the main thread, where signals' handlers run, back: when the interpreter asks for its truth."""

    add = None
    why_not = ""

    def __init__(self, sampler):
        import threading

        self.sampler = sampler
        if threading.main_thread().ident == get_ident():
            try:
                self._prepare()
            except (ImportError, AttributeError, OSError, TypeError, ValueError) as error:
                self.why_not = f"{type(error).__name__}: {error}"

    def _prepare(self):
        # Without `ctypes`, which the target may not have loaded. It takes 0.8 ms.
        import _ctypes  # pyright: ignore[reportMissingImports]
        from _functools import partial  # pyright: ignore[reportMissingImports]

        pointer = type("pointer", (_ctypes._SimpleCData,), {"_type_": "P"})
        flags = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI
        function = type("function", (_ctypes.CFuncPtr,), {"_flags_": flags})
        library = _ctypes.dlopen(None, 0)  # pyright: ignore[reportArgumentType]
        add = function(_ctypes.dlsym(library, "Py_AddPendingCall"))  # pyright: ignore[reportCallIssue]
        self.add = partial(add, pointer(_ctypes.dlsym(library, "PyObject_IsTrue")), pointer(id(self)))

    def __bool__(self):
        own = self.sampler
        if own.subscribers and sys.getprofile() is None:
            _without_own_frames(sys.exc_info()[1])
            for subscriber in own.subscribers:
                subscriber.target.__self__.cut()
            own._start_sampling(own.current_sampling_interval, False)
        return False


def _without_own_frames(error):
    """The sampler called nothing of the program's: it does not belong into a traceback."""
    before = getattr(error, "__traceback__", None)
    while before is not None and before.tb_next is not None:
        after = before.tb_next
        if after.tb_frame.f_code.co_filename == __file__:
            while after is not None and not _is_handler(after.tb_frame):
                after = after.tb_next
            before.tb_next = after
            return
        before = after


def _is_handler(frame):
    """Of the frames below a sample, the program's own: pyinstrument's and the recorder's are loaded under names that nobody else has."""
    name = frame.f_globals.get("__name__", "")
    return frame.f_code.co_filename != __file__ and name != "_proftool_recorder" and not name.startswith("pyinstrument.")


def thread_clock(interval_s):
    """CPU time of the calling thread for a sampler that asks at every call and return: of the kernel only where a sample may be due.

    No thread runs for longer than the clock on the wall goes on, so until that has passed what was missing to the next sample, the last
    answer will do. pyinstrument 5.1.3 compares it with the same sum of the last sample's time and the interval.
    """
    ask_s, wall_s = time.thread_time, time.perf_counter
    known_s = ask_s()
    next_s, due_s = known_s + interval_s, wall_s() + interval_s

    def clock():
        nonlocal known_s, next_s, due_s
        now_s = wall_s()
        if now_s >= due_s:
            known_s = ask_s()
            if known_s >= next_s:
                next_s = known_s + interval_s
            due_s = now_s + next_s - known_s
        return known_s

    return clock


def _fitting(paths):
    """The first pyinstrument whose extension this interpreter can load."""
    import _imp

    for path in paths:
        folder = os.path.join(path, "pyinstrument")
        for ending in _imp.extension_suffixes():
            if os.path.isfile(os.path.join(folder, "low_level", "stat_profile" + ending)):
                return folder
    raise ImportError("no pyinstrument fits this interpreter")


def _version(folder):
    for name in os.listdir(folder):
        if name.startswith("pyinstrument-") and name.endswith(".dist-info"):
            return name[len("pyinstrument-") : -len(".dist-info")]
    return ""
