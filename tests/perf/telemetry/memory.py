"""Is memory flat over a million requests: resident memory of a process of its own, with everything on, each tenth of the way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def memory(requests: int) -> None:
    """Print resident memory after each tenth."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, __file__, str(requests)], env=os.environ | {"PERF_FOLDER": folder}, capture_output=True, text=True, check=True
        )
    resident = [int(word) / 1e6 for word in done.stdout.split()]
    print(f"resident memory over {requests:,} requests, everything on, MB at each tenth: {' '.join(f'{value:.1f}' for value in resident)}")
    grown = resident[-1] - resident[1]
    print(f"after the first tenth: {grown:+.1f} MB, {grown * 1e6 / (0.9 * requests):+.2f} bytes a request")


async def _child(requests: int) -> None:
    import apps
    from inside import serve

    from proftool.telemetry.leaks import resident_bytes

    app = apps.everything()
    await serve(app, 1000)
    print(resident_bytes(), flush=True)
    for _ in range(10):
        for _ in range(requests // 10_000):
            await serve(app, 1000)
            await asyncio.sleep(0)  # as a server: the loop comes round, the writer's thread has its turn
        print(resident_bytes(), flush=True)
    os._exit(0)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    asyncio.run(_child(int(sys.argv[1])))
