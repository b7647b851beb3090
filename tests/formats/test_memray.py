"""memray's files: what is read is what memray's own reader says of the same file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from memray import AllocatorType, FileReader

from proftool.errors import CorruptProfile
from proftool.formats import memray_sums
from proftool.formats.memray import AGGREGATED, format
from proftool.model.profile import Category, Kind, Profile
from proftool.model.tree import function_total, lane_total, metric_total

MIB = 1 << 20
PROGRAM = """
import mmap, threading
class Cache:
    def keep(self): return list(bytearray(1 << 20) for _ in range(8))
class Buffer:
    def keep(self): return list(bytearray(1 << 20) for _ in range(3))
def brief(rounds):
    for n in range(rounds): bytearray(600 + n % 900)
def grown():
    text = bytearray()
    for _ in range(200): text += b"x" * 1000
    return text
def work(): held.append(bytearray(2 << 20)); brief(500)
held = [Cache().keep(), Buffer().keep(), grown()]
threads = [threading.Thread(target=work, name=f"worker-{n}") for n in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
with mmap.mmap(-1, 1 << 16) as mapped: mapped[0] = 1
brief({rounds})
"""
FREES = (AllocatorType.FREE, AllocatorType.MUNMAP, AllocatorType.PYMALLOC_FREE)


def recorded(folder: Path, *options: str, rounds: int = 2000) -> Path:
    """The program under `memray run`."""
    script, path = folder / "program.py", folder / "recording.bin"
    script.write_text(PROGRAM.replace("{rounds}", str(rounds)))
    words = [sys.executable, "-m", "memray", "run", "-q", "-f", *options, "-o", str(path), str(script)]
    subprocess.run(words, check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One recording of the program."""
    return recorded(tmp_path_factory.mktemp("memray"))


def totals(profile: Profile) -> dict[str, int]:
    """Every metric's total by name."""
    return {metric.name: metric_total(profile, index) for index, metric in enumerate(profile.metrics)}


def truth(path: Path) -> dict[str, int]:
    """The same by memray's reader."""
    with FileReader(path) as reader:
        made = [record.size for record in reader.get_allocation_records() if record.allocator not in FREES]
        return {
            "peak_bytes": reader.metadata.peak_memory,
            "allocated_bytes": sum(made),
            "allocations": len(made),
            "leaked_bytes": sum(record.size for record in reader.get_leaked_allocation_records()),
            "temporary_allocations": sum(record.n_allocations for record in reader.get_temporary_allocation_records(threshold=1)),
        }


def own(profile: Profile, metric: str) -> dict[str, int]:
    """Total by qualified name."""
    values, names = function_total(profile, profile.metric_index(metric)), profile.functions.qualname
    return {profile.text(int(names[row])): int(values[row]) for row in range(len(values))}


def test_totals_are_memrays_own(once: Path) -> None:
    """Peak, allocated, leaked and temporary to the byte."""
    assert totals(format.read(once)) == truth(once)


def test_totals_by_thread_are_memrays_own(once: Path) -> None:
    """Each thread is a lane with its name and what it allocated."""
    profile = format.read(once)
    with FileReader(once) as reader:
        by_tid: dict[int, int] = {}
        for record in reader.get_allocation_records():
            if record.allocator not in FREES:
                by_tid[record.tid] = by_tid.get(record.tid, 0) + record.size
    found = lane_total(profile, profile.metric_index("allocated_bytes"))
    assert dict(zip(profile.lanes.tid.tolist(), found.tolist(), strict=True)) == by_tid
    assert {"worker-0", "worker-1"} <= {profile.text(int(name)) for name in profile.lanes.thread_name}
    assert profile.lanes.is_main.tolist().count(True) == 1


def test_methods_of_one_name_stay_apart(once: Path) -> None:
    """Each `keep` has what it kept."""
    found = own(format.read(once), "leaked_bytes")
    assert 8 * MIB <= found["Cache.keep"] < 9 * MIB
    assert 3 * MIB <= found["Buffer.keep"] < 4 * MIB


def test_another_process_sums_up_the_same(once: Path) -> None:
    """Rows from beside are those of here: threads, names, stacks, bytes and counts."""
    for is_own in (True, False):
        with FileReader(once) as reader:
            here = memray_sums.sums(reader, is_own=is_own)
        assert sorted(memray_sums.Beside(once, is_own=is_own).rows()) == sorted(here)
        assert len(here) > 10


def test_a_large_file_is_summed_up_beside(once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the bound at nothing, the other process is asked, and the totals stay."""
    started: list[Path] = []

    class Watched(memray_sums.Beside):
        def __init__(self, path: Path, *, is_own: bool) -> None:
            started.append(path)
            super().__init__(path, is_own=is_own)

    monkeypatch.setattr(memray_sums, "Beside", Watched)
    monkeypatch.setattr(memray_sums, "MANY_BYTES", 0)
    monkeypatch.setattr(memray_sums, "cores", lambda: 2)
    assert totals(format.read(once)) == truth(once)
    assert started == [once]


def test_what_fails_beside_fails_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process's reader says why, and a process that dies is no empty answer."""
    path = tmp_path / "broken.bin"
    path.write_bytes(b"memray\0\xff" + b"\0" * 400)
    with pytest.raises(RuntimeError, match="header"):
        memray_sums.Beside(path, is_own=False).rows()
    monkeypatch.setattr(memray_sums, "__name__", "proftool.formats.none_of_these")
    with pytest.raises(RuntimeError, match="ended with status 1"):
        memray_sums.Beside(path, is_own=False).rows()


def test_an_aggregated_file_has_peak_and_leaked_only(tmp_path: Path) -> None:
    """`memray run --aggregate`: what is not in the file is no zero, and the profile says what is missing."""
    path = recorded(tmp_path, "--aggregate")
    profile = format.read(path)
    assert profile.metrics == AGGREGATED
    with FileReader(path) as reader:
        leaked = sum(record.size for record in reader.get_leaked_allocation_records())
        assert totals(profile) == {"peak_bytes": reader.metadata.peak_memory, "leaked_bytes": leaked}
    assert own(profile, "leaked_bytes")["Cache.keep"] >= 8 * MIB
    assert any("temporary" in sentence for sentence in profile.meta.lost)
    assert not format.read(recorded(tmp_path)).meta.lost


def test_circumstances_are_those_of_the_file(once: Path) -> None:
    """When it was recorded, how long and by which command; no Python, which the file does not name."""
    meta = format.read(once).meta
    with FileReader(once) as reader:
        assert meta.started_ns == int(reader.metadata.start_time.timestamp() * 1e9)
    assert meta.duration_ns is not None
    assert meta.duration_ns > 0
    assert meta.command is not None
    assert meta.command[-1].endswith("program.py")
    assert (meta.python, meta.source) == (None, "memray")
    assert {profile.text(int(name)) for profile in [format.read(once)] for name in profile.counters.name} == {
        "resident_bytes",
        "heap_bytes",
    }


def test_stacks_are_memrays_own(once: Path) -> None:
    """One calling context for each of memray's stacks of what was kept, as long as memray gives it."""
    profile = format.read(once)
    names = [profile.text(int(profile.functions.name[int(function)])) for function in profile.frames.function]
    stacks: list[tuple[str, ...]] = []
    for parent, frame in zip(profile.nodes.parent.tolist(), profile.nodes.frame.tolist(), strict=True):
        stacks.append((*(stacks[parent] if parent >= 0 else ()), names[frame]))
    with FileReader(once) as reader:
        told = {tuple(site[0] for site in reversed(record.stack_trace())) for record in reader.get_leaked_allocation_records()}
    assert {stack for stack in told if "keep" in stack} == {stack for stack in stacks if stack[-1] == "<genexpr>" and "keep" in stack}


@pytest.mark.parametrize("data", [b"", b"memray\0", b"memray\0\x0c" + b"\0" * 20, b"memray\0\x01" + b"\xff" * 2000])
def test_broken_files_are_refused(data: bytes, tmp_path: Path) -> None:
    """An error that names the file and says what to do."""
    path = tmp_path / "broken.bin"
    path.write_bytes(data)
    with pytest.raises(CorruptProfile) as caught:
        format.read(path)
    assert "broken.bin" in caught.value.what
    assert caught.value.cause
    assert caught.value.fix


NATIVE = "import zlib\ndef pack(): return [zlib.compressobj() for _ in range(20)]\ndef outer(): return pack()\nkept = outer()\n"


def test_native_frames_are_there_where_the_file_has_them(tmp_path: Path) -> None:
    """`memray run --native`: below the Python function that called them, and the totals stay."""
    script, path = tmp_path / "program.py", tmp_path / "recording.bin"
    script.write_text(NATIVE)
    words = [sys.executable, "-m", "memray", "run", "-q", "--native", "-o", str(path), str(script)]
    subprocess.run(words, check=True, capture_output=True)
    profile = format.read(path)
    if "deflateInit2_" not in own(profile, "allocated_bytes"):
        with FileReader(path) as reader:
            stacks = [record.hybrid_stack_trace() for record in reader.get_high_watermark_allocation_records()]
        assert not any(site[0] == "deflateInit2_" for stack in stacks for site in stack)
        pytest.skip("memray finds no symbols of zlib here")
    assert totals(profile) == truth(path)
    names = [profile.text(int(profile.functions.name[int(function)])) for function in profile.frames.function]
    paths: list[list[str]] = []
    for parent, frame in zip(profile.nodes.parent.tolist(), profile.nodes.frame.tolist(), strict=True):
        paths.append([*(paths[parent] if parent >= 0 else []), names[frame]])
    (packed,) = {tuple(name for name in found if name in ("outer", "pack", "deflateInit2_")) for found in paths if "deflateInit2_" in found}
    assert packed == ("outer", "pack", "deflateInit2_")
    row = next(at for at, name in enumerate(profile.functions.qualname) if profile.text(int(name)) == "deflateInit2_")
    assert (profile.functions.kind[row], profile.functions.category[row]) == (Kind.NATIVE, Category.NATIVE)


def test_a_stack_with_native_frames_keeps_every_python_frame() -> None:
    """memray cuts the outermost ones off, and how the interpreter came to run them is no part of the program."""

    class Record:
        def stack_trace(self, max_stacks: int = 1) -> list[memray_sums.Site]:
            return [("inner", "a.py", 3), ("outer", "a.py", 2), ("<module>", "a.py", 1)][:max_stacks]

        def hybrid_stack_trace(self, max_stacks: int = 1) -> list[memray_sums.Site]:
            return [("malloc_it", "a.c", 7), ("inner", "a.py", 3), ("call_it", "b.c", 8), ("outer", "a.py", 2), ("_start", "<unknown>", 0)]

    found = memray_sums.sites(Record(), is_own=True, native=True)  # type: ignore[arg-type]
    assert [site[0] for site in found] == ["malloc_it", "inner", "call_it", "outer", "<module>"]
    assert [site[1].startswith(memray_sums.NATIVE) for site in found] == [True, False, True, False, False]
