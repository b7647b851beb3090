"""memray on programs with known answers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from memray import AllocatorType, FileReader

from proftool.backends.memray import backend
from proftool.contracts import Mode, Program, Recording, RecordOptions
from proftool.launch.start import launch
from proftool.model.profile import Kind, Profile
from proftool.model.tree import function_total, metric_total

OPTIONS = RecordOptions(mode=Mode.MEMORY)
MIB = 1 << 20
PROGRAM = """
def hold(n): return [bytearray(1 << 20) for _ in range(n)]
class First:
    def run(self): return hold(24)
class Second:
    def run(self): return hold(8)
def brief():
    for _ in range(50): bytearray(1 << 19)
KEPT = [First().run(), Second().run()]
INDEX = {i: str(i) for i in range(60_000)}
brief()
"""


def recorded(folder: Path, text: str, options: RecordOptions = OPTIONS) -> tuple[Recording, Profile]:
    """The program under memray."""
    folder.mkdir()
    script = folder.parent / "program.py"
    script.write_text(text)
    program = Program(python=Path(sys.executable), script=str(script))
    recording = launch(program, backend.command(program, options, folder), options, folder)
    return recording, backend.read(recording)


def by_name(profile: Profile, metric: str) -> dict[str, int]:
    """Total by qualified name and file."""
    values = function_total(profile, profile.metric_index(metric))
    f = profile.functions
    found: dict[str, int] = {}
    for i in range(len(values)):
        key = f"{profile.text(int(f.file[i]))}:{profile.text(int(f.qualname[i]))}"
        found[key] = found.get(key, 0) + int(values[i])
    return found


def total(profile: Profile, metric: str, name: str) -> int:
    """Total of the functions of that qualified name."""
    return sum(value for key, value in by_name(profile, metric).items() if key.endswith(f":{name}"))


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, Profile]:
    """One recording of the program."""
    return recorded(tmp_path_factory.mktemp("memray") / "folder", PROGRAM)


def test_totals_are_memrays_own(once: tuple[Recording, Profile]) -> None:
    """Peak, allocated, leaked and temporary, each as its reader adds it up for the same file."""
    recording, profile = once
    (part,) = recording.processes[0].parts
    frees = (AllocatorType.FREE, AllocatorType.MUNMAP, AllocatorType.PYMALLOC_FREE)
    with FileReader(part) as reader:
        allocations = [record for record in reader.get_allocation_records() if record.allocator not in frees]
        truth = {
            "peak_bytes": reader.metadata.peak_memory,
            "allocated_bytes": sum(record.size for record in allocations),
            "allocations": len(allocations),
            "leaked_bytes": sum(record.size for record in reader.get_leaked_allocation_records()),
            "temporary_allocations": sum(record.n_allocations for record in reader.get_temporary_allocation_records(threshold=1)),
        }
    assert {name: metric_total(profile, profile.metric_index(name)) for name in truth} == truth


def test_what_is_kept_is_at_the_peak_and_leaked(once: tuple[Recording, Profile]) -> None:
    """24 and 8 MiB by methods of one name, which stay apart."""
    _, profile = once
    for metric in ("peak_bytes", "leaked_bytes"):
        assert 24 * MIB <= total(profile, metric, "First.run") < 25 * MIB
        assert 8 * MIB <= total(profile, metric, "Second.run") < 9 * MIB
        assert 32 * MIB <= total(profile, metric, "hold") < 33 * MIB


def test_what_is_freed_at_once_is_temporary(once: tuple[Recording, Profile]) -> None:
    """Fifty buffers that nobody keeps."""
    _, profile = once
    assert total(profile, "temporary_allocations", "brief") >= 49
    assert total(profile, "leaked_bytes", "brief") < MIB


def test_two_recordings_of_one_program_are_equal(tmp_path: Path) -> None:
    """A deterministic program gives the same bytes for every function of its own."""
    own = [
        {
            metric: {key: n for key, n in by_name(profile, metric).items() if key.startswith("program.py:")}
            for metric in ("peak_bytes", "allocated_bytes")
        }
        for _, profile in (recorded(tmp_path / f"folder-{n}", PROGRAM) for n in range(3))
    ]
    assert own[0]["peak_bytes"]
    assert own[1] == own[2]


def test_nothing_of_ours_shows(once: tuple[Recording, Profile]) -> None:
    """Neither the bootstrap nor the recorder nor memray."""
    _, profile = once
    files = {profile.text(int(file)) for file in profile.functions.file}
    assert not any("proftool" in file or "memray" in file or "sitecustomize" in file for file in files)


def test_native_frames_are_seen_and_arenas_are_not(tmp_path: Path) -> None:
    """With `--native` the C functions stand below Python's; Python's allocator still hides small objects, and the run says so."""
    text = "import zlib\ndef pack(): return [zlib.compressobj() for _ in range(20)]\nkept = pack()\n"
    _, profile = recorded(tmp_path / "folder", text, RecordOptions(mode=Mode.MEMORY, native=True))
    assert any("arenas" in sentence for sentence in profile.meta.passes[0].unseen)
    names = [profile.text(int(profile.functions.name[int(function)])) for function in profile.frames.function]
    kinds = [Kind(int(profile.functions.kind[int(function)])) for function in profile.frames.function]
    paths: list[list[int]] = []
    for parent, frame in zip(profile.nodes.parent.tolist(), profile.nodes.frame.tolist(), strict=True):
        paths.append([*(paths[parent] if parent >= 0 else []), frame])
    below = [path for path in paths if any(names[frame] == "pack" for frame in path) and kinds[path[-1]] is Kind.NATIVE]
    assert below
    assert all(names[path[0]] == "<module>" for path in below)


def test_arenas_that_python_does_not_use_are_not_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With PYTHONMALLOC=malloc memray sees every object."""
    monkeypatch.setenv("PYTHONMALLOC", "malloc")
    _, profile = recorded(tmp_path / "folder", "kept = bytearray(1 << 20)\n")
    assert not profile.meta.passes[0].unseen
