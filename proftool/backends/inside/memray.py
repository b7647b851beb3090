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


def start(part, options):
    module = _import_tracker(options.get("library_paths", ()))
    return Recorder(part, module, bool(options.get("native", False)))


def _import_tracker(paths):
    """memray's extension module by itself; what it wants of rich is only for its own terminal reports."""
    folder = _fitting([*paths, *sys.path])
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in ("memray", "rich")}
    package = type(sys)("memray")
    package.__path__ = [folder]
    sys.modules["memray"] = package
    for name in ("rich", "rich.print", "rich.progress", "rich.console", "rich.table", "rich.markup"):
        sys.modules[name] = _Absent(name)
    try:
        import memray._memray as tracker  # pyright: ignore[reportMissingImports]
    finally:
        for name in list(sys.modules):
            if name.partition(".")[0] in ("memray", "rich"):
                del sys.modules[name]
        sys.modules.update(before)
    return tracker


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
    def __init__(self, part, module, native):
        self.module, self.native = module, native
        self.tracker = None
        self._enter(part)

    def _enter(self, part):
        tracker = self.module.Tracker(part, native_traces=self.native)
        tracker.__enter__()
        self.tracker = tracker

    def thread_started(self):
        pass

    def main_returned(self):
        import threading

        if all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
            self.stop()

    def forked(self, part):
        self.tracker = None  # memray's own fork handler has ended the parent's recording in this process
        self._enter(part)

    def abandon(self):
        self.tracker = None

    def stop(self):
        tracker, self.tracker = self.tracker, None
        if tracker is not None:
            tracker.__exit__(None, None, None)
