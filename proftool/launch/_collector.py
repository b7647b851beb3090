# pyright: basic
"""What the garbage collector takes of the target's time, and which lines were running when it did.

Loaded by `_child.py` in every process of a recording that is to tell it. A collection calls back as it begins and when it has ended, in
the thread that it holds up; the time between the two is read off that thread's CPU clock, so that a busy machine adds nothing. The line
is that of the nearest function outside of the standard library and of installed packages: the one that makes the objects.
"""

import os
import sys
import time

_MOST_LINES = 1000
_TOLD_LINES = 20
_FARTHEST = 40
"""Callers that are looked through for one of the program's own."""


def watch(children, notes):
    """Begin, in children of os.fork too where these are recorded; None, with a note, on a Python without such callbacks."""
    try:
        collector = Collector()
    except AttributeError as error:
        notes.append(f"the garbage collector's time is not known: {error}")
        return None
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=collector.clear if children else collector.stop)
    return collector


class Collector:
    """A callback of `gc`; the totals of one process."""

    def __init__(self):
        import gc

        self._gc = gc
        self._clock, self._frame = time.thread_time_ns, sys._getframe
        self._library = os.path.dirname(os.__file__) + os.sep
        self._own = {}
        self.clear()
        gc.callbacks.append(self)

    def clear(self):
        """Begin anew."""
        self.cpu_ns, self._began = 0, 0
        self.runs = [0, 0, 0]
        self.lines = {}

    def __call__(self, phase, info):
        if phase == "start":
            self._began = self._clock()
            return
        if not self._began:
            return
        spent_ns, self._began = self._clock() - self._began, 0
        self.cpu_ns += spent_ns
        self.runs[min(info["generation"], 2)] += 1
        first = frame = self._frame().f_back
        for _ in range(_FARTHEST):
            if frame is None or self._is_own(frame.f_code.co_filename):
                break
            frame = frame.f_back
        frame = frame or first
        if frame is None:  # the interpreter itself, at its end
            return
        key = (frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name)
        if key not in self.lines and len(self.lines) >= _MOST_LINES:
            return
        told = self.lines.setdefault(key, [0, 0])
        told[0] += spent_ns
        told[1] += 1

    def _is_own(self, file):
        own = self._own.get(file)
        if own is None:
            installed = "site-packages" in file or "dist-packages" in file
            own = self._own[file] = not installed and not file.startswith((self._library, "<frozen "))
        return own

    def stop(self):
        """Leave `gc` as it was; once."""
        if self in self._gc.callbacks:
            self._gc.callbacks.remove(self)

    def told(self):
        """For the process's file: CPU ns, collections by generation, and (file, line, name, ns, collections) of the dearest lines."""
        dearest = sorted(self.lines.copy().items(), key=lambda item: -item[1][0])[:_TOLD_LINES]
        return {"cpu_ns": self.cpu_ns, "runs": list(self.runs), "lines": [(*key, *values) for key, values in dearest]}
