# pyright: basic
"""cProfile inside the target: exact calls and times, a profile for each thread.

The part is `marshal` of (format, threads); a thread is (native id, queued ns, [entry…]), where `queued ns` is how long the thread
stood in line for a processor while it was profiled (Linux's schedstat; None where the system does not tell, or the thread has
ended); an entry (key, calls, recursive calls, total ns, self ns, [callee…]) and a callee (key, calls, recursive calls, total ns,
self ns), all times inclusive as in `_lsprof`. A key is (file, first line, qualified name, bare name) of a code object (no qualified
name before Python 3.11), or ("", 0, text, text) of a builtin: more than pstats keeps, so methods of one name stay apart.
"""

import marshal
import os
import sys
from _thread import get_native_id

suffix = ".calls"
per_thread = True
FORMAT = 2


def start(part, options):
    return Recorder(part)


def queued_ns(tid):
    """How long a thread of this process has stood in line for a processor since it began; None where the system does not tell."""
    try:
        with open(f"/proc/self/task/{tid}/schedstat", "rb") as file:
            return int(file.read().split()[1])
    except (OSError, ValueError, IndexError):
        return None


class Recorder:
    def __init__(self, part):
        self.part = part
        self.threads = []
        self.done = False
        # Python 3.12 and later profile every thread through one tool slot, so a second profile cannot be enabled.
        self.whole_process = sys.version_info >= (3, 12)
        self._enable()

    def _enable(self):
        import _lsprof

        profiler = _lsprof.Profiler()
        tid = get_native_id()
        self.threads.append((tid, queued_ns(tid), profiler))
        profiler.enable(subcalls=True, builtins=True)

    def thread_started(self):
        if not self.done and not self.whole_process:
            self._enable()

    def main_returned(self):
        pass

    def forked(self, part):
        self.abandon()
        self.part, self.threads, self.done = part, [], False
        self._enable()

    def abandon(self):
        self.done = True
        for _, _, profiler in self.threads:
            profiler.disable()

    def stop(self):
        if self.done:
            return
        self.done = True
        ends = [queued_ns(tid) for tid, _, _ in self.threads]
        for _, _, profiler in self.threads:
            profiler.disable()  # also ends the calls that are still open, in every thread, and counts their time
        data = (
            FORMAT,
            [
                (tid, None if begin is None or end is None else end - begin, _entries(profiler))
                for (tid, begin, profiler), end in zip(self.threads, ends)  # noqa: B905 - strict= needs 3.10
            ],
        )
        with open(self.part + ".new", "wb") as file:
            marshal.dump(data, file, 2)
        os.replace(self.part + ".new", self.part)


def _entries(profiler):
    """Without the recording's own functions, and without the calls of builtins that these made while the profile was on."""
    found, own = [], {}
    entries = [(_key(entry.code), entry) for entry in profiler.getstats()]
    for key, entry in entries:
        if key is None:
            for c in entry.calls or ():
                if isinstance(c.code, str):
                    sums = own.setdefault(_key(c.code), [0, 0, 0, 0])
                    for place, value in enumerate((c.callcount, c.reccallcount, _ns(c.totaltime), _ns(c.inlinetime))):
                        sums[place] += value
    for key, entry in entries:
        if key is None:
            continue
        values = (entry.callcount, entry.reccallcount, _ns(entry.totaltime), _ns(entry.inlinetime))
        n, n_again, total_ns, self_ns = (max(value - less, 0) for value, less in zip(values, own.get(key, (0, 0, 0, 0))))  # noqa: B905
        if not n:
            continue
        callees = [(_key(c.code), c.callcount, c.reccallcount, _ns(c.totaltime), _ns(c.inlinetime)) for c in entry.calls or ()]
        callees = [callee for callee in callees if callee[0] is not None]
        found.append((key, n, n_again, total_ns, self_ns, callees))
    return found


def _ns(seconds):
    return round(seconds * 1e9)


def _key(code):
    """None for the recording's own functions."""
    if isinstance(code, str):
        return ("", 0, code, code)
    if code.co_filename in (__file__, _CHILD):
        return None
    return (code.co_filename, code.co_firstlineno, getattr(code, "co_qualname", ""), code.co_name)


_CHILD = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "launch", "_child.py")
