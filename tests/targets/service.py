"""A service to attach to: two threads that work, keep a quarter of a MiB each round, and rest; says `ready`, then its PID.

`service.py [FILE [STATUS]]`: ends after two minutes or when FILE is there, with `os._exit(STATUS)` where one is given.
"""

import os
import sys
import threading
import time

kept: list[bytearray] = []
end = time.monotonic() + 120


def burn(seconds):
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop:
        sum(range(200))


class Shop:
    def grow(self):
        kept.append(bytearray(1 << 18))


def serve():
    while time.monotonic() < end and not (len(sys.argv) > 1 and os.path.exists(sys.argv[1])):
        burn(0.02)
        Shop().grow()
        time.sleep(0.01)
        if len(kept) > 200:
            kept.clear()


threading.Thread(target=serve, name="side", daemon=True).start()
print("ready", os.getpid(), flush=True)
serve()
if len(sys.argv) > 2:
    os._exit(int(sys.argv[2]))
