"""Makes the kept file of the current version; run it once a version, files of old versions are never made again."""

from __future__ import annotations

from pathlib import Path

from proftool.formats import native
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta, Pass
from proftool.model.profile import ROOT, SAMPLES, WALL_TIME, Category, Identified

builder = ProfileBuilder((WALL_TIME, SAMPLES))
lane = builder.lane(pid=4711, tid=4711, process_name="app.py", thread_name="MainThread", is_main=True, start_ns=1_700_000_000_000_000_000)
node = ROOT
for n, qualname in enumerate(("main", "Shop.total", "outer.<locals>.inner", "<lambda>")):
    function = builder.function(
        qualname,
        module="shop.app",
        file="shop/app.py",
        first_line=n + 1,
        code_hash=f"{n:016x}",
        identified=Identified.SOURCE,
        category=Category.PROJECT,
    )
    node = builder.node(node, builder.frame(function, n + 2))
    builder.add(node, lane, 0, (n + 1) * 4_200_000)
    builder.add(node, lane, 1, n + 1)
    builder.sample(n * 10_000_000, lane, node, 10_000_000)
builder.counter("resident_bytes", 5, 1 << 24)
builder.marker("gc", 3, 9, lane)
meta = Meta(
    passes=(Pass(mode="sample", backend="py-spy", rate_asked_hz=100.0, samples=10, exit_status=0),),
    command=("app.py", "--größe"),
    python="CPython 3.11.7",
    sources=(("shop/app.py", "def main(): ...\n"),),
)
(Path(__file__).parent / f"v{native.VERSION}.proftool").write_bytes(native.dumps(builder.build(meta)))
