"""The half of the backend that runs in the target: proftool/backends/inside/__init__.py says what such a file has.

The part is `marshal` of (frames, threads): a frame is (file, first line, qualified name, name, line), a thread (native id, stacks), a
stack (numbers of frames, outermost first; samples; ns).
"""

import marshal
import os
import sys
import time
from _thread import allocate_lock, get_ident, get_native_id, start_new_thread

suffix = ".frames"
per_thread = True


def start(part, options):
    return Recorder(part, float(options["interval_s"]), (__file__, options["hidden"]))


class Recorder:
    def __init__(self, part, interval_s, hidden):
        self.interval_s, self.hidden = interval_s, hidden
        self._begin(part)

    def _begin(self, part):
        self.part, self.done = part, False
        self.frames, self.stacks, self.tids = {}, {}, {}
        self.thread_started()
        # A thread of `_thread` is none that the program can see in `threading`.
        self.asked, self.ended = allocate_lock(), allocate_lock()
        self.asked.acquire()
        self.ended.acquire()
        start_new_thread(self._sample, (self.asked, self.ended))

    def _sample(self, asked, ended):
        own, last_ns = get_ident(), time.perf_counter_ns()
        while not asked.acquire(True, self.interval_s):
            now_ns = time.perf_counter_ns()
            for ident, frame in sys._current_frames().items():
                if ident != own:
                    self._saw(self.tids.get(ident, ident), frame, now_ns - last_ns)
            last_ns = now_ns
        ended.release()

    def _saw(self, tid, frame, wall_ns):
        stack = []
        while frame is not None:
            code = frame.f_code
            if code.co_filename not in self.hidden:
                key = (code.co_filename, code.co_firstlineno, getattr(code, "co_qualname", None), code.co_name, frame.f_lineno or 0)
                stack.append(self.frames.setdefault(key, len(self.frames)))
            frame = frame.f_back
        if stack:
            found = self.stacks.setdefault((tid, tuple(reversed(stack))), [0, 0])
            found[0] += 1
            found[1] += wall_ns

    def thread_started(self):
        self.tids[get_ident()] = get_native_id()

    def main_returned(self):
        pass

    def forked(self, part):
        self._begin(part)  # the parent's sampling thread is not in the child

    def abandon(self):
        self.done = True
        if self.asked.locked():
            self.asked.release()

    def stop(self):
        if self.done:
            return
        self.abandon()
        self.ended.acquire(True, 5.0)
        threads = {}
        for (tid, stack), (n, wall_ns) in list(self.stacks.items()):
            threads.setdefault(tid, []).append((stack, n, wall_ns))
        with open(self.part + ".new", "wb") as file:
            marshal.dump((list(self.frames), list(threads.items())), file, 2)
        os.replace(self.part + ".new", self.part)
