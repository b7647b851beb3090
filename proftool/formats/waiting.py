"""Leaves that wait: functions in which a thread spends time without working, by name and file.

For recordings whose profiler does not say whether the thread ran. The list holds what blocks in the standard library and in the builtins
below it; a name that also works (`read` of a file in cache) is not in it.
"""

from __future__ import annotations

import re

_BUILTINS = frozenset(
    {
        "sleep", "select", "poll", "epoll", "kqueue", "control", "acquire", "wait", "wait4", "waitpid", "sigwait", "sigtimedwait",
        "recv", "recv_into", "recvfrom", "recvmsg", "accept", "connect", "getaddrinfo", "pause", "_ThreadHandle.join", "flock", "lockf",
        "input",
    }
)  # fmt: skip
_PYTHON = {
    "threading.py": frozenset({"wait", "acquire", "join", "_wait_for_tstate_lock", "Condition.wait", "Event.wait", "Thread.join",
                               "Thread._wait_for_tstate_lock", "Semaphore.acquire", "Barrier.wait", "Barrier._wait"}),
    "selectors.py": frozenset({"select", "SelectSelector.select", "EpollSelector.select", "PollSelector.select", "KqueueSelector.select"}),
    "subprocess.py": frozenset({"_try_wait", "Popen._try_wait", "Popen._wait", "_wait"}),
    "popen_fork.py": frozenset({"poll", "Popen.poll"}),
    "connection.py": frozenset({"_recv", "Connection._recv", "wait", "_poll"}),
    "queue.py": frozenset({"get", "Queue.get", "put", "Queue.put"}),
    "socket.py": frozenset({"accept", "socket.accept", "readinto", "SocketIO.readinto"}),
}  # fmt: skip


_CALLS = re.compile(
    r"\b(?:sleep|select|poll|recv|recv_into|recvfrom|accept|acquire|wait|wait_for|waitpid|communicate|input|getaddrinfo|urlopen)\s*\("
    r"|\.join\(\s*(?:\)|timeout|[\d.]+\s*\))"
)


def line_waits(text: str) -> bool:
    """Does a line of source call something that waits? `"".join(parts)` does not."""
    return _CALLS.search(text) is not None


def is_waiting(name: str, file: str) -> bool:
    """Does a thread whose innermost frame is this one wait? `file` is empty for builtins."""
    if not file or file.startswith("<built-in"):
        # `join` alone is not among them: nearly always it is that of str.
        return name in _BUILTINS or name.rpartition(".")[2] in _BUILTINS
    return name in _PYTHON.get(file.replace("\\", "/").rpartition("/")[2], frozenset())
