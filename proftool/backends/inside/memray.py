# pyright: basic
"""memray inside the target: every allocation of every thread, with the stack that made it.

Recording ends when the main code has returned and no other thread still works, so that what lives at that moment is what leaked, and what
the interpreter frees on its way out is not mistaken for it. memray's tracker is imported without its package's front (its
`__init__` loads rich and IPython hooks: 90 ms of 127), under names that are taken away again: the target's own memray is untouched.
"""

import os
import sys

suffix = ".memray"
at_once = True  # from a profile function, memray would not see this file's own frames return, and read them when they are gone


_loaded = None


def prepare(options):
    """Load memray before the bootstrap listens for forks: the handler by which memray ends its recording in a child has to run first."""
    global _loaded
    try:
        _loaded = _Tracker(options.get("library_paths", ()))
    except Exception as error:
        _loaded = error  # start() tells it


def start(part, options):
    if _loaded is None:
        prepare(options)
    if isinstance(_loaded, Exception):
        raise _loaded
    return Recorder(part, _loaded, bool(options.get("native", False)))


class _Tracker:
    """memray's extension module by itself: what it imports on the way is only for its own reports, and is there while it is needed."""

    def __init__(self, paths):
        package = type(sys)("memray")
        package.__path__ = [_fitting([*paths, *sys.path])]
        reporters = type(sys)("memray.reporters.module_tools")
        reporters.get_python_path_info = lambda: {"stdlib": None, "site_packages": [], "sys_path": []}
        absent = ("rich", "rich.print", "rich.progress", "rich.console", "rich.table", "rich.markup", "memray.reporters")
        self._modules = {"memray": package, reporters.__name__: reporters, **{name: _Absent(name) for name in absent}}
        self._module = self._with_modules(self._load)

    def make(self, part, native):
        return self._with_modules(lambda: self._module.Tracker(part, native_traces=native))

    def _load(self):
        import memray._memray as module  # pyright: ignore[reportMissingImports]

        return module

    def _with_modules(self, action):
        before = self._taken_away()
        sys.modules.update(self._modules)
        try:
            return action()
        finally:
            self._modules = self._taken_away()
            sys.modules.update(before)

    def _taken_away(self):
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in ("memray", "rich")}


class _Absent(type(sys)):
    """A module that has every name: the reports that would use them are never made here."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _fitting(paths):
    import _imp

    for path in paths:
        folder = os.path.join(path, "memray")
        for ending in _imp.extension_suffixes():
            if os.path.isfile(os.path.join(folder, "_memray" + ending)):
                return folder
    raise ImportError("no memray fits this interpreter")


class Recorder:
    def __init__(self, part, tracker, native):
        self.maker, self.native = tracker, native
        self.tracker = None
        self._enter(part)

    def _enter(self, part):
        import threading

        tracker = self.maker.make(part, self.native)
        self.before = sys.getprofile(), threading._profile_hook
        tracker.__enter__()
        self.tracker = tracker

    def thread_started(self):
        pass

    def main_returned(self):
        import threading

        if all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
            self.stop()

    def forked(self, part):
        self.abandon()
        self._enter(part)

    def abandon(self):
        """After a fork: memray's own handler has ended the parent's recording here, and left its hooks."""
        import threading

        self.tracker = None
        sys.setprofile(self.before[0])
        threading._profile_hook = self.before[1]
        for attribute in ("_name", "_ident"):
            if type(threading.Thread.__dict__.get(attribute)).__name__ == "ThreadNameInterceptor":
                delattr(threading.Thread, attribute)

    def stop(self):
        tracker, self.tracker = self.tracker, None
        if tracker is not None:
            tracker.__exit__(None, None, None)
