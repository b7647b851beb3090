# pyright: basic
"""Runs a target whose interpreter options (-I, -E, -S) keep Python from reading the start-up hook.

`python -I _blind.py HOOK_FOLDER script|module|code WHAT ARGUMENT…`: reads the hook itself, then runs the target in a fresh
`__main__` as Python does. Only here does proftool run the target's code; its frames are taken off tracebacks.
"""

import sys


def _run(hook, how, what):
    import _frozen_importlib_external as files

    main = type(sys)("__main__")
    main.__dict__.update(__builtins__=__builtins__, __spec__=None)
    sys.modules["__main__"] = main
    has_path = not (sys.flags.isolated or getattr(sys.flags, "safe_path", False))
    if has_path:
        del sys.path[0]  # this file's folder
    sys.path[:] = [entry for entry in sys.path if entry != hook]
    with open(hook + "/sitecustomize.py", encoding="ascii") as file:
        text, own = file.read(), {"__name__": "sitecustomize"}
    exec(compile(text[: text.rindex("try:\n    chain()")], hook, "exec"), own)
    sys.argv[0] = {"script": what, "module": "-m", "code": "-c"}[how]
    own["begin"](blind=True)  # pyright: ignore[reportCallIssue]
    if how == "script":
        import os

        if os.path.isdir(what) or (not what.endswith(".py") and _is_zip(what)):
            sys.path.insert(0, what)
            import runpy

            getattr(runpy, "_run_module_as_main")("__main__", False)  # noqa: B009
            return
        if has_path:
            sys.path.insert(0, os.path.dirname(os.path.realpath(what)))
        what = os.path.abspath(what)  # as Python does since 3.9
        with open(what, "rb") as file:
            code = compile(file.read(), what, "exec", dont_inherit=True)
        main.__dict__.update(__file__=what, __cached__=None, __loader__=files.SourceFileLoader("__main__", what))
        exec(code, main.__dict__)
    elif how == "module":
        if has_path:
            import os

            sys.path.insert(0, os.getcwd())
        import runpy

        getattr(runpy, "_run_module_as_main")(what, True)  # noqa: B009
    else:
        if has_path:
            sys.path.insert(0, "")
        import _frozen_importlib as builtin

        main.__dict__.update(__loader__=builtin.BuiltinImporter)
        exec(compile(what, "<string>", "exec", dont_inherit=True), main.__dict__)


def _is_zip(path):
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _trim(trace):
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def _main():
    hook, how, what = sys.argv[1:4]
    del sys.argv[1:4]
    try:
        _run(hook, how, what)
    except SystemExit:
        raise
    except BaseException:
        hook_of_target = sys.excepthook

        def excepthook(kind, error, trace):
            sys.excepthook = hook_of_target
            trace = _trim(trace)
            hook_of_target(kind, error.with_traceback(trace), trace)

        sys.excepthook = excepthook
        raise  # so that Python itself chooses the status, and the signal for KeyboardInterrupt


_main()
