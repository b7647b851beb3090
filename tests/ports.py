"""Ports for servers that tests start.

A port that the system hands out (`bind` to 0) lies where it also takes the near ends of outgoing connections from: between the probe and
the server's own `bind` another connection may get it. Ports below that range are nobody's unless a server asks for one.
"""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path
from typing import Final

_FIRST: Final = 10_000
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, that this process did not give before, and that no outgoing connection takes."""
    end = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    draw = random.Random(os.urandom(8))  # tests seed the common one, and then all workers would draw alike
    for _ in range(1000):
        port = draw.randrange(_FIRST, end)
        if port in _given:
            continue
        with socket.socket() as probe:
            # Listening servers leave connections in TIME_WAIT behind, which do not keep the next server away.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise AssertionError(f"no port is free between {_FIRST} and {end}")
