# pyright: basic
"""pyinstrument inside the target: its stack sampler, subscribed in every thread.

pyinstrument's `Profiler` sees the thread that starts it and keeps every sample as a list of texts. Its sampler (`StackSampler`, one a
thread) is the same machinery without these limits, so this subscribes to it directly, keeps each stack once, and needs no renderer:
the import costs a few milliseconds in place of ninety.

The part is `marshal` of a dict: format, version, clock, interval, started_ns, frames (pyinstrument's frame texts),
qualnames ((file, first line, name) of a code object -> its qualified name, from Python 3.11), stacks (tuples of frame
numbers, outermost first) and threads: {tid, name, offset_ns, stacks (numbers), wall_ns, cpu_ns, queued_ns, tasks: arrays of bytes, int64},
folded (of samples before those: stack, task, little CPU time, next to none for long, n, wall, CPU and queued ns),
tasks (names of asyncio tasks; a thread's `tasks` count from 1, 0 = none ran),
overhead_ns (time that sampling took of the thread that it took most of), lowered (tid, second, share of time, Hz before, Hz after) and
lost (tid, why it was sampled no more).
`queued_ns` is how long the thread stood in line for a processor (Linux's schedstat); None where the system does not tell.

While somebody looks (the file `watched` beside the part is new), a sampled thread writes what there is so far as `part` + `SO_FAR`,
whole or not at all: the same dict, a prefix of what the part will hold. Nobody looks: one `stat` a second.
"""

import marshal
import os
import posix
import sys
import time
from _thread import allocate_lock, get_ident, get_native_id
from array import array

suffix = ".stacks"
per_thread = True
FORMAT = 3
GAP_NS = 200_000
"""Time off the processor from which on it is worth 5 µs to ask why."""
WINDOW_S = 0.5
"""Time that a thread is sampled for before what its samples cost is judged."""
TIMELINE_MAX = 200_000
"""Samples of a thread that are kept one by one, 8 MB; what is older counts in the totals alone."""
LONG_NS = 20_000_000
"""Without a blocking call in sight, so long without work is waiting."""
TASKS_MAX = 100
"""Names of asyncio tasks that are told apart in a process."""
LONGEST_S = 0.2
"""No thread is sampled more rarely."""
ENOUGH = 20
"""Samples that a judgement rests on."""
TOLERANCE = 5
"""Beyond this many budgets the rate is lowered, to one: it takes nothing but the sampled thread's own time, and fewer samples are
the worse answer to a few percent."""
SO_FAR = ".so-far"
LOOK_NS = 1_000_000_000
"""Between two looks whether somebody looks."""
LOOK_REST = 100
"""Between two writings of what there is so far, as a multiple of what one took: at most 1 % of a thread's time."""
HAS_QUALNAMES = sys.version_info >= (3, 11)


def start(part, options):
    _own.append(options["sampler"])
    sampler, version = _load(options["sampler"]).load(options.get("library_paths", ()))
    return Recorder(
        part, sampler, version, float(options["interval_s"]), bool(options.get("cpu", False)), float(options.get("budget", 1.0))
    )


def _load(path):
    """The other file of this recorder, by path and under the recorder's name: nothing of it is in `sys.modules`."""
    import _frozen_importlib_external as files

    module = type(sys)(__name__)
    module.__file__ = path
    exec(files.SourceFileLoader(__name__, path).get_code(__name__), module.__dict__)  # pyright: ignore[reportArgumentType]
    return module


_open, _read, _write, _close = posix.open, posix.read, posix.write, posix.close  # the target may replace those of `os`
_stat, _replace, _unlink, _now_ns = posix.stat, posix.replace, posix.unlink, time.perf_counter_ns


def _drop(path):
    try:
        _unlink(path)
    except OSError:
        return  # it is not there, or the folder is gone


def queued_ns():
    """How long the calling thread has stood in line for a processor since it began; None where the system does not tell."""
    try:
        # Opened each time: a descriptor that is held would be one that the target may close, or count.
        file = _open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(_read(file, 100).split()[1])
        finally:
            _close(file)
    except (OSError, ValueError, IndexError):
        return None


class _Thread:
    """Samples of one thread. `saw` is called in it, at most once an interval."""

    def __init__(self, recorder):
        self.recorder = recorder
        self.tid = get_native_id()
        self.ident = get_ident()
        self.offset_ns = _now_ns() - recorder.begun_ns
        self.stacks, self.wall_ns, self.cpu_ns, self.queued_ns = array("q"), array("q"), array("q"), array("q")
        self.last_cpu_ns = time.thread_time_ns()
        self.last_queued_ns = queued_ns()
        self.tasks = array("q")
        self.oldest, self.folded = 0, {}
        self.own = recorder.sampler.get_stack_sampler()
        self.wait_s = self.seen_s = 0.0
        self.cost_ns = self.past_cost_ns = self.n_seen = self.n_kept = 0
        self.away_s = 0.0  # of the time since the last sample what went into writing what there is so far

    def saw(self, call_stack, seconds, _async_state):
        cpu_ns = time.thread_time_ns()
        away_s, own = self.away_s, self.own
        seconds = max(seconds - away_s, 0.0)
        now_s = own.last_profile_time + away_s + seconds  # when this sample began: pyinstrument notes it when it has ended
        wall_ns, spent_ns = int(seconds * 1e9), cpu_ns - self.last_cpu_ns
        in_line_ns, so_far_ns = 0, self.last_queued_ns
        if wall_ns - spent_ns > GAP_NS and so_far_ns is not None:
            now_ns = queued_ns()
            if now_ns is not None:
                in_line_ns, so_far_ns = now_ns - so_far_ns, now_ns
        values = (wall_ns, spent_ns, in_line_ns, self.recorder.task(), self.recorder.stack(call_stack, sys._getframe(1)))
        columns = (self.wall_ns, self.cpu_ns, self.queued_ns, self.tasks, self.stacks)
        if len(self.stacks) < TIMELINE_MAX:
            for column, value in zip(columns, values):  # noqa: B905 - strict= needs 3.10
                column.append(value)
        else:
            self._fold(self.oldest)
            for column, value in zip(columns, values):  # noqa: B905
                column[self.oldest] = value
            self.oldest = (self.oldest + 1) % TIMELINE_MAX
        # No call from here to the end of the block, so no signal's handler: a sample is kept with all that goes with it or not at all.
        self.n_kept += 1
        self.last_cpu_ns, self.last_queued_ns, self.away_s = cpu_ns, so_far_ns, 0.0
        own.last_profile_time = now_s
        self.n_seen += 1
        self.seen_s += seconds
        self.cost_ns += time.thread_time_ns() - own.began_ns
        if self.seen_s > WINDOW_S and self.n_seen >= ENOUGH:
            self._spare()
        if self.wait_s:
            own.due_s = now_s + self.wait_s
        if _now_ns() >= self.recorder.look_ns and self.recorder.looked_at():
            self._write_so_far(own)

    def cut(self):
        """A sample was not finished: the next one tells its time too."""
        for column in (self.wall_ns, self.cpu_ns, self.queued_ns, self.tasks, self.stacks):
            del column[self.n_kept :]

    def _write_so_far(self, own):
        """It takes the thread's time, which is then left out of its next sample."""
        clock = time.thread_time if self.recorder.cpu else own._timer
        began_s, began_ns, before_ns = clock(), _now_ns(), time.thread_time_ns()
        self.recorder.write_so_far()
        self.recorder.look_ns = _now_ns() + max(LOOK_NS, LOOK_REST * (_now_ns() - began_ns))
        self.last_cpu_ns = time.thread_time_ns()
        self.past_cost_ns += self.last_cpu_ns - before_ns
        self.last_queued_ns = None if self.last_queued_ns is None else queued_ns()
        self.away_s = clock() - began_s

    def _fold(self, at):
        """Keep the oldest sample in the totals alone, apart by what tells waiting from work."""
        wall_ns, cpu_ns, queued_ns = self.wall_ns[at], self.cpu_ns[at], self.queued_ns[at]
        own_ns = wall_ns - min(queued_ns, max(wall_ns - cpu_ns, 0))
        key = (self.stacks[at], self.tasks[at], cpu_ns * 2 < own_ns, own_ns > LONG_NS and cpu_ns * 50 < own_ns)
        sums = self.folded.get(key)
        if sums is None:
            sums = self.folded[key] = [0, 0, 0, 0]
        for place, value in enumerate((1, wall_ns, min(cpu_ns, wall_ns), wall_ns - own_ns)):
            sums[place] += value

    def _spare(self):
        """Sample more rarely where the last samples took far more of the thread's time than the budget."""
        recorder, share = self.recorder, self.cost_ns / 1e9 / self.seen_s
        if share > recorder.budget * TOLERANCE and self.wait_s < LONGEST_S:
            before_s = self.wait_s or recorder.interval_s
            self.wait_s = min(before_s * share / recorder.budget, LONGEST_S)
            at_s = (_now_ns() - recorder.begun_ns) / 1e9
            recorder.lowered.append((self.tid, at_s, share, 1 / before_s, 1 / self.wait_s))
        self.past_cost_ns += self.cost_ns
        self.cost_ns, self.n_seen, self.seen_s = 0, 0, 0.0


class Recorder:
    def __init__(self, part, sampler, version, interval_s, cpu, budget):
        self.part, self.sampler, self.version, self.interval_s, self.cpu = part, sampler, version, interval_s, cpu
        self.budget = budget
        self._clear()
        self.thread_started()

    def _clear(self):
        self.done = False
        self.threads, self.lowered = [], []
        self.stack_numbers, self.task_names, self.qualnames = {}, {}, {}
        self.writes = allocate_lock()
        self.watched, self.watched_ns = os.path.join(os.path.dirname(self.part), "watched"), 0
        self.started_ns = time.time_ns()
        self.begun_ns = _now_ns()
        self.look_ns = self.begun_ns + LOOK_NS

    def looked_at(self):
        """Did somebody look since what there was so far was written last?"""
        self.look_ns = _now_ns() + LOOK_NS
        try:
            watched_ns = _stat(self.watched).st_mtime_ns
        except OSError:
            return False  # nobody ever did, or the target may not see the folder any more
        is_new, self.watched_ns = watched_ns != self.watched_ns, watched_ns
        return is_new

    def write_so_far(self):
        """What there is, whole or not at all: where it cannot be written, the target goes on and the part tells all at the end."""
        if self.done or not self.writes.acquire(False):
            return
        path = self.part + SO_FAR
        try:
            data = memoryview(marshal.dumps(self._told(), 4))
            file = _open(path + "~", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                while data:
                    data = data[_write(file, data) :]
            finally:
                _close(file)
            _replace(path + "~", path)
        except (OSError, MemoryError):
            _drop(path + "~")  # no room, or no right to write here any more
        finally:
            self.writes.release()

    def stack(self, call_stack, frame):
        stack = tuple(call_stack[1:])  # the first entry is the thread; the lane says that
        number = self.stack_numbers.get(stack)
        if number is None:
            number = self.stack_numbers[stack] = len(self.stack_numbers)
            if HAS_QUALNAMES:
                while frame is not None:
                    code = frame.f_code
                    self.qualnames[code.co_filename, code.co_firstlineno, code.co_name] = code.co_qualname
                    frame = frame.f_back
        return number

    def task(self):
        """Number of the name of the asyncio task that runs in the calling thread, 0 where none does."""
        tasks = sys.modules.get("asyncio.tasks")
        if tasks is None:
            return 0
        try:
            loop = tasks.events._get_running_loop()
            task = None if loop is None else tasks.current_task(loop)
            # Only Python's own tasks are asked: a class of the target's would run its code here.
            if task is None or type(task) not in (tasks.Task, tasks._PyTask):
                return 0
            name = task.get_name()
            coroutine = task.get_coro()
        except (AttributeError, RuntimeError):
            return 0  # it is being imported, or another Python names these otherwise
        if name.startswith("Task-") and type(coroutine).__name__ in ("coroutine", "generator"):
            name = coroutine.__qualname__  # nobody named it: a server has one such for each request
        number = self.task_names.get(name)
        if number is None:
            full = len(self.task_names) >= TASKS_MAX
            number = self.task_names.setdefault("(other tasks)" if full else name, len(self.task_names) + 1)
        return number

    def thread_started(self):
        if self.done:
            return
        thread = _Thread(self)
        own = self.sampler.get_stack_sampler()
        if self.cpu:
            own.timer_func = self.sampler.thread_clock(self.interval_s)
        self.threads.append(thread)
        own.subscribe(thread.saw, desired_interval=self.interval_s, use_async_context=False)

    def is_on(self):
        return self.sampler.get_stack_sampler().is_on()

    def main_returned(self):
        pass

    def forked(self, part):
        self.abandon()
        self.part = part
        self._clear()
        self.thread_started()

    def abandon(self):
        """Only the calling thread can be unsubscribed, and after a fork it is the only one."""
        self.done = True
        own = self.sampler.get_stack_sampler()
        for thread in self.threads:
            if any(subscriber.target == thread.saw for subscriber in own.subscribers):
                own.unsubscribe(thread.saw)

    def stop(self):
        if self.done:
            return
        self.abandon()
        _drop(self.part + SO_FAR)  # room for the part
        with open(self.part + ".new", "wb") as file:
            marshal.dump(self._told(), file, 4)
        os.replace(self.part + ".new", self.part)

    def _told(self):
        """What the part holds. Samples before stacks, frames and names: threads that still run add the others first."""
        threads = [self._thread(thread) for thread in list(self.threads)]
        frames = {}
        stacks = [tuple(frames.setdefault(text, len(frames)) for text in stack) for stack in list(self.stack_numbers)]
        return {
            "format": FORMAT,
            "version": self.version,
            "cpu": self.cpu,
            "interval_ns": int(self.interval_s * 1e9),
            "started_ns": self.started_ns,
            "duration_ns": _now_ns() - self.begun_ns,
            "own": [*_own, self.sampler.__file__],
            "frames": list(frames),
            "qualnames": dict(self.qualnames),
            "stacks": stacks,
            "tasks": list(self.task_names),
            "overhead_ns": max((thread.past_cost_ns + thread.cost_ns for thread in list(self.threads)), default=0),
            "lowered": self.lowered[:100],
            "lost": [(thread.tid, thread.own.lost) for thread in list(self.threads) if thread.own.lost],
            "threads": threads,
        }

    def _thread(self, thread):
        """Threads that still run may have added a sample meanwhile: take what is whole."""
        n = min(map(len, (thread.cpu_ns, thread.wall_ns, thread.stacks, thread.queued_ns, thread.tasks)))
        first = thread.oldest

        def in_order(column):
            return (column[first:n] + column[:first]).tobytes()

        return {
            "tid": thread.tid,
            "offset_ns": thread.offset_ns,
            "stacks": in_order(thread.stacks),
            "wall_ns": in_order(thread.wall_ns),
            "tasks": in_order(thread.tasks),
            "cpu_ns": in_order(thread.cpu_ns),
            "queued_ns": None if thread.last_queued_ns is None else in_order(thread.queued_ns),
            "folded": [(*key, *sums) for key, sums in list(thread.folded.items())],
        }


_CHILD = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "launch", "_child.py")
_own = [__file__, _CHILD, os.path.join(os.path.dirname(_CHILD), "_collector.py")]
"""Files of proftool's in the target."""
