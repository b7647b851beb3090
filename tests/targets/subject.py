"""Hostile but ordinary programs with known answers, one a function: `subject.py NAME [ARGUMENT…]`."""

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor


def hold(megabytes):
    return [bytearray(1 << 20) for _ in range(megabytes)]


def busy(seconds, clock=time.thread_time):
    """Processor time: who has to stand in line works as long, and is sampled as often."""
    end = clock() + seconds
    while clock() < end:
        sum(range(200))


def end(before, seconds, ready, after):
    kept = hold(8)
    exec(before)
    with open(ready, "w") as file:
        file.write("working")
    busy(float(seconds))
    exec(after)
    return kept


def streams():
    sys.stdout.buffer.write("héllo ☃ 🐍\n".encode())
    sys.stdout.buffer.write(sys.stdin.buffer.read() + b"raw \xff\xfe\x00 bytes\r\n" + bytes(range(256)) * 512)
    for n in range(50):
        print("talk", n, "ü", file=sys.stderr)


def closes_stdout():
    os.close(1)
    busy(0.2)
    os._exit(9)


def work(n):
    hold(2)
    busy(0.3)
    return n * n


def subprocess_work():
    print("subprocess", work(3), flush=True)


def spawn_work(n):
    return work(n)


def fork_work(n):
    return work(n)


def forkserver_work(n):
    return work(n)


def executor_work(n):
    return work(n)


def os_fork_work(n):
    return work(n)


def children(kind):
    if kind == "subprocess":
        subprocess.run([sys.executable, sys.argv[0], "subprocess_work"], check=True)
    elif kind == "os_fork":
        child = os.fork()
        if not child:
            os._exit(os_fork_work(3))
        print(kind, os.WEXITSTATUS(os.waitpid(child, 0)[1]), flush=True)
    elif kind == "executor":
        with ProcessPoolExecutor(2) as pool:
            print(kind, *pool.map(executor_work, [2, 3]), flush=True)
    else:
        with multiprocessing.get_context(kind).Pool(2) as pool:
            print(kind, *pool.map(globals()[kind + "_work"], [2, 3]), flush=True)


def daemon():
    """Double-forks a process that outlives this one and holds its streams."""
    if not os.fork():
        os.setsid()
        if not os.fork():
            time.sleep(60)
        os._exit(0)
    os.wait()
    busy(0.2)


def execs():
    busy(0.3)
    os.execv(sys.executable, [sys.executable, sys.argv[0], "subprocess_work"])


spin_s = 0.05


def spin():
    kept = hold(1)
    busy(spin_s, time.thread_time)
    return kept


def spin_0():
    spin()


def spin_1():
    spin()


def spin_2():
    spin()


def threads(count="3"):
    globals().update(spin_s=0.15 / int(count))
    started = [threading.Thread(target=globals()[f"spin_{n % 3}"], name=f"spinner-{n}") for n in range(int(count))]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def down(n):
    return down(n - 1) + 1 if n else 0 * work(0)


def deep():
    print("depth", down(900))


def deepest():
    try:
        forever()
    except RecursionError:
        print("recursion error")
    busy(0.05)


def forever():
    forever()


class First:
    def run(self):
        busy(0.2)
        return self


class Second:
    def run(self):
        busy(0.2)
        return self


def names():
    def inner():
        busy(0.2)

    First().run()
    Second().run()
    inner()
    (lambda: busy(0.2))()


class Point:
    x = 21


def look(point):
    return [point.x, type(point).__module__, __name__]


def place(**more):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        worker = pool.map(look, [Point()])
    more.update(
        argv=sys.argv,
        path0=sys.path[0],
        path=list(sys.path),
        cwd=os.getcwd(),
        main=sys.modules["__main__"].__name__,
        file=__file__,
        spec=getattr(__spec__, "name", None),
        package=__package__,
        cached=str(globals().get("__cached__")),
        loader=type(__loader__).__name__,
        worker=worker,
        pickled=look(pickle.loads(pickle.dumps(Point()))),
        flags=str(sys.flags),
        sitecustomize="sitecustomize" in sys.modules and getattr(sys.modules["sitecustomize"], "MINE", None),
        umask=oct(os.umask(0o77)),
        handlers=[str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)],
        mask=sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
        descriptors=sorted(os.listdir("/proc/self/fd")),
        profile=str(sys.getprofile()) if "tracing" in sys.argv else "",
        threads=[thread.name for thread in threading.enumerate()],
        home=os.environ.get("HOME"),
    )
    print(json.dumps(more))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
