"""The names of `import proftool`: record a block or a function in this process, load a run, compare two.

A recording here is made by the same in-process halves as `proftool run` uses, and stored in the same place. One recording at a time:
the profilers hook the interpreter, and two would see each other.
"""

from __future__ import annotations

import functools
import inspect as inspecting
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from proftool import registry, settings
from proftool.contracts import Inside, Mode, ProcessRecord, Program, Recording, RecordOptions
from proftool.contracts_store import Run
from proftool.errors import BackendFailed, BackendUnavailable, UsageError
from proftool.launch.interpreter import inspect
from proftool.store import open_store
from proftool.store.names import resolve, resolve_side

if TYPE_CHECKING:
    from proftool.model.diff import Diff
    from proftool.model.profile import Profile
    from proftool.store.runs import SqlRunStore

F = TypeVar("F", bound=Callable[..., object])

_one_at_a_time = threading.Lock()


class _Recorder(Protocol):
    def stop(self) -> None: ...

    def main_returned(self) -> None: ...


class profile:  # used like a function: `with proftool.profile():`, `@proftool.profile()`
    """Record a block (`with`), or every call of a function or coroutine (`@`), in this process; `run` and `profile` hold the last one."""

    def __init__(self, *, mode: str = "sample", label: str | None = None, rate_hz: float | None = None) -> None:
        if mode not in [str(m) for m in Mode]:
            raise UsageError(
                f"no mode `{mode}`", cause="a mode says which question a recording answers", fix=f"known are: {', '.join(Mode)}"
            )
        self._mode, self._label, self._rate_hz = Mode(mode), label, rate_hz
        self.run: Run | None = None
        self.profile: Profile | None = None

    def __enter__(self) -> profile:
        if not _one_at_a_time.acquire(blocking=False):
            raise UsageError(
                "a recording is under way in this process",
                cause="two profilers in one process would see each other",
                fix="end the first one before",
            )
        try:
            self._begin()
        except BaseException:
            _one_at_a_time.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._end()
        finally:
            self._store.discard_recording(self._folder)
            _one_at_a_time.release()

    def __call__(self, function: F) -> F:
        """The function, recorded at each call; a coroutine function until it returns."""
        if inspecting.iscoroutinefunction(function):

            @functools.wraps(function)
            async def recorded_coroutine(*args: object, **more: object) -> object:
                with self:
                    return await cast(Callable[..., Coroutine[object, object, object]], function)(*args, **more)

            return cast(F, recorded_coroutine)

        @functools.wraps(function)
        def recorded(*args: object, **more: object) -> object:
            with self:
                return function(*args, **more)

        return cast(F, recorded)

    def _begin(self) -> None:
        interpreter = inspect(Path(sys.executable))
        self._backend = next(
            (
                backend
                for backend in map(registry.backend, registry.names("backend"))
                if backend.capabilities.in_process and self._mode in backend.capabilities.modes
            ),
            None,
        )
        if self._backend is None:
            raise BackendUnavailable(
                f"nothing records the mode `{self._mode}` in a process", cause="no such backend", fix="`proftool doctor`"
            )
        self._store: SqlRunStore = open_store(settings.load())
        self._folder = self._store.recordings_folder()
        self._options = RecordOptions(mode=self._mode, rate_hz=self._rate_hz, children=False)
        self._program = Program(
            python=Path(sys.executable),
            script=sys.argv[0] or None,
            code=None if sys.argv[0] else "",
            argv=tuple(sys.argv[1:]),
            typed=tuple(sys.argv),
        )
        command = self._backend.command(self._program, self._options, self._folder)
        assert isinstance(command, Inside)
        module = _load(command.recorder)
        self._part = self._folder / f"part-{os.getpid()}-0{module.suffix}"
        self._interpreter = interpreter
        self._started_ns, self._begun_ns, self._cpu_ns = time.time_ns(), time.monotonic_ns(), time.process_time_ns()
        self._recorder = cast(_Recorder, module.start(str(self._part), dict(command.options)))

    def _end(self) -> None:
        self._recorder.main_returned()
        self._recorder.stop()
        duration_ns = time.monotonic_ns() - self._begun_ns
        if not self._part.is_file():
            raise BackendFailed("nothing was recorded", cause="the profiler left no file", fix="`proftool doctor`")
        names = {thread.native_id: thread.name for thread in threading.enumerate() if thread.native_id is not None}
        process = ProcessRecord(
            pid=os.getpid(),
            ppid=os.getppid(),
            name="main",
            argv=tuple(sys.argv),
            started_ns=self._started_ns,
            ended_ns=self._started_ns + duration_ns,
            thread_names=names,
            main_tid=threading.main_thread().native_id,
            parts=(self._part,),
            complete=True,
        )
        recording = Recording(
            folder=self._folder,
            target=self._program,
            options=self._options,
            processes=(process,),
            exit_status=None,
            started_ns=self._started_ns,
            duration_ns=duration_ns,
            cpu_ns=time.process_time_ns() - self._cpu_ns,
            interpreter=self._interpreter,
        )
        assert self._backend is not None
        from proftool.model.check import checked

        self.profile = checked(self._backend.read(recording))
        self.run = self._store.add(self.profile, label=self._label)


def load(name: str) -> Profile:
    """The profile of a run or file, by any of its names: `@latest`, a label, an id, a path."""
    store = open_store(settings.load())
    return resolve(name, store, Path.cwd()).load(store)


def diff(
    base: str | Profile | Sequence[Profile], new: str | Profile | Sequence[Profile], *, metric: str | None = None, force: bool = False
) -> Diff:
    """
    What changed from one side to the other: each a profile, several of one program, or any name that `load` takes.

    A label that several runs bear names them all.

    Raises:
        RunNotFound: a name that stands for nothing.
        NotComparable: the sides measure different things, and `force` was not given.
    """
    from proftool.model.compare import diff as compared
    from proftool.workflows.compare import compare

    found = settings.load()
    if isinstance(base, str) and isinstance(new, str):
        return compare(base, new, open_store(found), Path.cwd(), metric=metric, force=force, floor_share=found.diff_floor).diff
    names = tuple(side if isinstance(side, str) else name for side, name in ((base, "base"), (new, "new")))
    return compared(_profiles(base), _profiles(new), metric=metric, floor_share=found.diff_floor, names=(names[0], names[1]), force=force)


def _profiles(side: str | Profile | Sequence[Profile]) -> list[Profile]:
    if isinstance(side, str):
        store = open_store(settings.load())
        return [found.load(store) for found in reversed(resolve_side(side, store, Path.cwd()))]
    return list(side) if isinstance(side, Sequence) else [side]


def _load(path: Path) -> ModuleType:
    """The half of a backend that runs in the target, loaded by its path as in the target."""
    spec = spec_from_file_location(f"_proftool_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
