"""Which functions wait: the innermost frames in which a thread sleeps, polls, or stands at a lock, a socket or a child.

For sources that know no thread states (pyinstrument's sessions, collapsed stacks): a sample is *waiting* where its leaf is one
of these. A backend that reports states (py-spy's idle, the kernel's scheduler) is believed before this list.

Names are bare ones. A Python function counts only together with its module, since everybody calls something `wait`; a
built-in counts by name alone where the tool gives no module (pyinstrument, and native frames).
"""

from __future__ import annotations

BUILTINS = frozenset(
    """
    sleep select poll epoll_wait kevent kqueue control acquire acquire_lock recv recv_into recvfrom recvfrom_into recvmsg accept connect
    getaddrinfo waitpid wait wait3 wait4 waitid waitstatus sigwait sigwaitinfo sigtimedwait pause sem_acquire flock lockf join_thread
    WaitForSingleObject WaitForMultipleObjects
    """.split()
)
"""Built-in and native functions that do nothing but wait."""

PYTHON = frozenset(
    [
        ("threading", "wait"),
        ("threading", "wait_for"),
        ("threading", "acquire"),
        ("threading", "join"),
        ("threading", "_wait_for_tstate_lock"),
        ("selectors", "select"),
        ("socket", "accept"),
        ("socket", "readinto"),
        ("socket", "create_connection"),
        ("socket", "getaddrinfo"),
        ("ssl", "read"),
        ("ssl", "recv"),
        ("ssl", "recv_into"),
        ("ssl", "do_handshake"),
        ("subprocess", "_try_wait"),
        ("subprocess", "_wait"),
        ("subprocess", "wait"),
        ("subprocess", "_communicate"),
        ("queue", "get"),
        ("queue", "put"),
        ("asyncio.base_events", "_run_once"),
        ("multiprocessing.connection", "_recv"),
        ("multiprocessing.connection", "_poll"),
        ("multiprocessing.connection", "wait"),
        ("multiprocessing.connection", "accept"),
        ("multiprocessing.popen_fork", "poll"),
        ("multiprocessing.popen_fork", "wait"),
        ("multiprocessing.synchronize", "acquire"),
        ("multiprocessing.synchronize", "__enter__"),
        ("multiprocessing.queues", "get"),
        ("concurrent.futures._base", "result"),
        ("concurrent.futures._base", "wait"),
        ("concurrent.futures.thread", "_worker"),
        ("gevent.hub", "switch"),
        ("time", "sleep"),
    ]
)
"""(module, bare name) of Python functions whose own line is a call that waits, where built-ins have no frame."""


def waits(module: str, name: str, *, is_python: bool) -> bool:
    """Does a thread wait whose innermost frame is this function? `name` may be qualified."""
    bare = name.rpartition(".")[2]
    return (module, bare) in PYTHON if is_python else bare in BUILTINS
