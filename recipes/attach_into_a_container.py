"""
Question: a program runs in a container, with process numbers and files of its own. What does it do?

Run: `python recipes/attach_into_a_container.py`, on Linux as root. It makes what a container is made of (a PID and a mount namespace, the
program's source on a file system that only they see), and records it twice: from the host, and from a sidecar.

Read the answer: nothing has to be installed in the container. py-spy reads the process from outside, and its sources through
`/proc/PID/root`, so that functions have their lines. The same with the tools that people use:

    host        sudo proftool attach "$(docker inspect -f '{{.State.Pid}}' NAME)" --duration 30s
    inside      docker run --cap-add SYS_PTRACE ...      then   docker exec NAME proftool attach 1 --duration 30s
    sidecar     docker run --rm --pid container:NAME --cap-add SYS_PTRACE -v "$PWD/runs:/runs" -e PROFTOOL_STORE=/runs IMAGE \\
                    proftool attach --match gunicorn --duration 30s
    Kubernetes  kubectl debug POD -it --image IMAGE --target CONTAINER --profile sysadmin -- proftool attach --match gunicorn --duration 30s
                or in the pod's own description: `shareProcessNamespace: true`, and a container of IMAGE with
                `securityContext: {capabilities: {add: [SYS_PTRACE]}}`

IMAGE is any image in which `pip install proftool` was run. The sidecar writes nothing into the container. memray has to be brought into the
program, so it works inside only (`docker exec`), with gdb there; `proftool attach PID --check` says which backends can.

Clean up: the container ends with the recipe; `proftool rm host sidecar` removes the runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SERVICE = """
import time

def price(order):
    return sum(n * n for n in range(order))

def serve():
    while True:
        price(2000)

print("ready", flush=True)
serve()
"""
CONTAINER = """
mount -t tmpfs none /mnt && mkdir /mnt/app && cat > /mnt/app/in_a_container.py && cd /mnt/app && exec "$0" in_a_container.py < /dev/null
"""
PROFTOOL = [sys.executable, "-m", "proftool"]


def shown(label: str) -> dict[str, object]:
    """What the run has of `price`."""
    done = subprocess.run([*PROFTOOL, "show", label, "--json"], check=True, stdout=subprocess.PIPE, text=True)
    return next(function for function in json.loads(done.stdout)["functions"] if function["name"] == "price")


def python_below(pid: int) -> int:
    """The container's first process, as the host numbers it."""
    done = subprocess.run(["pgrep", "-P", str(pid)], check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.split()[0])


def main() -> None:
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() or not shutil.which("unshare") or not shutil.which("pgrep"):
        print("This recipe makes a container of its own, which needs Linux, root and util-linux.")
        return
    apart = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
    command = [*apart, "sh", "-ec", CONTAINER, sys.executable]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as container:
        assert container.stdin is not None
        assert container.stdout is not None
        container.stdin.write(SERVICE)
        container.stdin.close()
        if container.stdout.readline().strip() != "ready":
            print("This recipe makes a container of its own, which is not allowed here.")
            return
        pid = python_below(container.pid)
        try:
            assert not Path("/mnt/app/in_a_container.py").exists(), "its files are its own"
            subprocess.run([*PROFTOOL, "attach", str(pid), "--duration", "2s", "--label", "host"], check=True)

            # A sidecar shares the container's process numbers and nothing else; its own view of /proc is theirs.
            sidecar = ["nsenter", "--target", str(pid), "--pid", "--", "unshare", "--mount", "--fork", "--mount-proc"]
            attach = [*PROFTOOL, "attach", "--match", "in_a_container.py", "--duration", "2s", "--label", "sidecar"]
            subprocess.run([*sidecar, *attach], check=True)
            assert container.poll() is None, "the container lives on"
        finally:
            container.kill()

    lines = {label: shown(label)["line"] for label in ("host", "sidecar")}
    assert lines == {"host": 4, "sidecar": 4}, lines
    print(f"Host and sidecar both see price, at line {lines['host']} of a file that only the container has.")


if __name__ == "__main__":
    main()
