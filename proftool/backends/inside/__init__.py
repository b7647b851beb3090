"""The halves of in-process profilers that run inside the target.

Each file here is loaded by path in the target by `launch/_child.py` (`pyinstrument_sampler.py` by `pyinstrument.py`), in an interpreter
that may know nothing of proftool, so it imports only the standard library at its top and the profiler inside `start`. It has

    suffix: str                                         # of its part files, ".prof"
    def start(part: str, options: dict) -> Recorder     # begin to record this process into the file `part`

and the `Recorder` that it returns has

    stop() -> None              # stop and write the part; safe to call twice, safe in an exit handler
    main_returned() -> None     # the target's main code has returned, teardown has not begun (memory: what lives now is leaked)
    forked(part: str) -> None   # in a child of os.fork: forget the parent's recording, begin a new one into `part`
    is_on() -> bool             # optional: has nobody taken its place as the profile function of the calling thread?

and where the profiler has to be started in each thread, `per_thread = True` in the file and

    thread_started() -> None    # called in each new thread of `threading` before its first call
    abandon() -> None           # optional: in a child of os.fork that is not to be recorded, or before another program takes over

`at_once = True` in the file starts it while `site` still runs, not when that has returned: for profilers that may not be started from
within a profile function.

`capabilities.so_far` of the backend says that the recorder writes what it has seen as `part` + `.so-far`, whole or not at all, while
whoever looks touches the file `watched` beside the part.

A recorder never prints, never changes the target's exit status, and leaves no frame of its own in what it records.
"""
