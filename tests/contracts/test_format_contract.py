"""What every format promises: known by content, a fixed point after one reading, and one of three errors for anything broken."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from formats.profiles import profiles, same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proftool import registry
from proftool.contracts import Format, WritableFormat
from proftool.errors import CorruptProfile, FormatError, LimitExceeded, NewerVersion, ReportError
from proftool.model.check import checked
from proftool.model.profile import Profile
from proftool.model.tree import metric_total

GOLDEN = Path(__file__).parent.parent / "golden"
SAMPLES = {
    "native": [GOLDEN / "native" / "v1.proftool"],
    "pstats": [GOLDEN / "files" / "cprofile.prof"],
    "speedscope": [GOLDEN / "files" / "py-spy.speedscope.json", GOLDEN / "files" / "evented.speedscope.json"],
    "pyinstrument": [GOLDEN / "files" / "pyinstrument.pyisession"],
    "collapsed": [GOLDEN / "files" / "py-spy.collapsed"],
    "pprof": [GOLDEN / "files" / "profile.pb.gz"],
    "otlp": [GOLDEN / "files" / "profiles.otlp"],
    "firefox": [GOLDEN / "files" / "firefox48.json", GOLDEN / "files" / "firefox58.json"],
    "chrome": [GOLDEN / "files" / "viztracer.json"],
    "austin": [GOLDEN / "files" / name for name in ("austin.txt", "austin-full.txt", "austin.mojo")],
    "perf": [GOLDEN / "files" / "perf.txt"],
}
READ_ONLY = "memray"
"""Recorded anew: a release of memray reads the files of its own format version only."""
STREAMS = ("collapsed", "austin", "perf")
"""A recording that was cut between two samples is a shorter recording; nothing in the file tells."""
CASES = [(name, path) for name, paths in SAMPLES.items() for path in paths]
WRITABLE = [name for name in SAMPLES if isinstance(registry.format(name), WritableFormat)]
cases = pytest.mark.parametrize(("name", "path"), CASES, ids=[path.name for _, path in CASES])
read_only_too = pytest.mark.parametrize("sample", [*CASES, READ_ONLY], ids=[*(path.name for _, path in CASES), READ_ONLY], indirect=True)


@pytest.fixture(scope="session")
def memray_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of memray's own command."""
    folder = tmp_path_factory.mktemp("memray")
    script, path = folder / "program.py", folder / "recording.bin"
    script.write_text("def keep(): return [bytearray(5000) for _ in range(20)]\nheld = keep()\n")
    words = [sys.executable, "-m", "memray", "run", "-q", "-o", str(path), str(script)]
    subprocess.run(words, check=True, capture_output=True)
    return path


@pytest.fixture
def sample(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """(format, file)."""
    return (READ_ONLY, request.getfixturevalue("memray_file")) if request.param == READ_ONLY else request.param


def sniffed(data: bytes) -> Format | None:
    """The first format, in the registry's order, that takes the content for its own."""
    return next((format for format in registry.formats() if data and format.matches(data[:4096])), None)


def read(format: Format, data: bytes, folder: Path) -> Profile:
    """The content through a file whose name says nothing."""
    path = folder / "content"
    path.write_bytes(data)
    return format.read(path)


def outcome(format: Format, data: bytes, folder: Path) -> str:
    """How reading ended: `read`, or the error; any other exception is the test's failure."""
    try:
        checked(read(format, data, folder))
    except (CorruptProfile, LimitExceeded, NewerVersion) as error:
        if not (error.cause and error.fix):
            raise
        return type(error).__name__
    return "read"


@read_only_too
def test_known_by_content_alone(sample: tuple[str, Path]) -> None:
    """Every format recognises its own files and no stricter format claims them."""
    name, path = sample
    found = sniffed(path.read_bytes())
    assert found is not None
    assert found.name == name


@read_only_too
def test_reading_names_modes_and_source(sample: tuple[str, Path]) -> None:
    """Each metric says which mode measured it, and an imported profile where it came from."""
    name, path = sample
    profile = checked(registry.format(name).read(path))
    assert len(profile.nodes)
    assert all(metric.mode in ("sample", "trace", "memory") for metric in profile.metrics) or name == "native"
    assert profile.meta.source == (None if name == "native" else name)


@pytest.mark.parametrize(("name", "path"), [case for case in CASES if case[0] in WRITABLE], ids=lambda value: getattr(value, "name", ""))
def test_read_write_read_is_a_fixed_point(name: str, path: Path, tmp_path: Path) -> None:
    """What was read once and written again reads the same: every table, string and metric."""
    format = registry.format(name)
    assert isinstance(format, WritableFormat)
    first = format.read(path)
    written = format.write(first)
    assert sniffed(written) is format
    second = read(format, written, tmp_path)
    assert_alike(first, second)
    assert format.write(second) == written


def assert_alike(a: Profile, b: Profile) -> None:
    """Equal but for the order of rows, since the order of nodes is not a format's business."""
    assert a.metrics == b.metrics
    assert sorted(map(str, rows(a))) == sorted(map(str, rows(b)))


def rows(p: Profile) -> Iterator[tuple[object, ...]]:
    """Everything measured, by text instead of by row number."""
    f, s = p.functions, p.strings
    names = [
        (s[f.qualname[i]], s[f.name[i]], s[f.module[i]], s[f.file[i]], int(f.first_line[i]), int(f.kind[i]), int(f.category[i]))
        for i in range(len(f))
    ]
    stacks: list[tuple[object, ...]] = []
    for parent, frame in zip(p.nodes.parent.tolist(), p.nodes.frame.tolist(), strict=True):
        stacks.append((stacks[parent] if parent >= 0 else (), names[p.frames.function[frame]], int(p.frames.line[frame])))
    c, t, e = p.cells, p.samples, p.edges
    for i in range(len(p.lanes)):
        yield "lane", i, s[p.lanes.thread_name[i]], int(p.lanes.tid[i]), int(p.lanes.pid[i])
    for i in range(len(c)):
        yield "cell", int(c.metric[i]), int(c.lane[i]), int(c.value[i]), stacks[c.node[i]]
    for i in range(len(t)):
        yield "sample", int(t.time_ns[i]), int(t.lane[i]), int(t.weight[i]), int(t.status[i]), stacks[t.node[i]]
    for i in range(len(e)):
        caller = names[e.caller[i]] if e.caller[i] >= 0 else None
        yield (
            "edge",
            caller,
            names[e.callee[i]],
            int(e.lane[i]),
            int(e.calls[i]),
            int(e.primitive_calls[i]),
            int(e.self_ns[i]),
            int(e.total_ns[i]),
        )


@pytest.mark.parametrize("name", WRITABLE)
@given(profile=profiles())
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_is_written_or_refused_with_a_reason(name: str, profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever a profile holds, the file that is written can be read, keeps the total, and its losses are sentences."""
    format = registry.format(name)
    assert isinstance(format, WritableFormat)
    try:
        written = format.write(profile)
    except ReportError:
        return
    losses = format.lost(profile)
    assert all(len(sentence) > 20 and not sentence.endswith(".") for sentence in losses)
    if not len(profile.cells):
        return
    again = read(format, written, tmp_path_factory.getbasetemp())
    if name == "native":
        assert same(profile, again)
        return
    kept = profile.metric_index("samples") if name == "collapsed" and profile.has_metric("samples") else 0
    assert abs(metric_total(again, 0) - metric_total(profile, kept)) <= len(profile.cells)


@cases
@pytest.mark.parametrize("most", [400, pytest.param(10**9, marks=[pytest.mark.full, pytest.mark.timeout(1800)])], ids=["some", "every"])
def test_every_truncation_is_read_or_refused(name: str, path: Path, tmp_path: Path, most: int) -> None:
    """A file cut short anywhere ends in a profile (text may be cut between two lines) or in an error that says why."""
    format, data = registry.format(name), path.read_bytes().rstrip(b"\n")
    sizes = {*range(0, len(data), max(len(data) // most, 1)), *range(min(100, len(data))), *range(max(len(data) - 100, 0), len(data))}
    ends = {outcome(format, data[:size], tmp_path) for size in sorted(sizes)}
    assert "CorruptProfile" in ends
    assert ends == {"CorruptProfile"} or name in STREAMS


def test_truncated_memray_files_are_read_or_refused(memray_file: Path, tmp_path: Path) -> None:
    """Cut within its blocks it is corrupt; where only the end mark is missing, it is read."""
    data = memray_file.read_bytes()
    sizes = {*range(0, len(data), len(data) // 20), *range(5), *range(len(data) - 5, len(data))}
    ends = [outcome(registry.format(READ_ONLY), data[:size], tmp_path) for size in sorted(sizes)]
    assert set(ends) <= {"CorruptProfile", "read"}
    assert ends.count("CorruptProfile") > len(ends) // 2


@cases
@pytest.mark.parametrize("n", [600, pytest.param(100_000, marks=[pytest.mark.full, pytest.mark.timeout(1800)])])
def test_mutated_files_are_read_or_refused(name: str, path: Path, tmp_path: Path, n: int) -> None:
    """Bytes changed, repeated, swapped and cut out: never a traceback, never memory or time out of proportion."""
    format, data = registry.format(name), path.read_bytes()
    rng = random.Random(zlib.crc32(path.name.encode()) + n)
    if len(data) > 20_000:
        n //= 4
    for _ in range(n):
        outcome(format, mutated(data, rng), tmp_path)


WORDS = [
    b"\xff" * 8,
    b"\0" * 8,
    b"-1",
    b"1e999",
    b"99999999999999999999999",
    b"NaN",
    b"null",
    b"[",
    b"{",
    b'"',
    b"\xff\xff\xff\x7f",
    b"\r\n",
    b";",
    b" ",
    b"{}",
    b"[[]]",
]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A few random changes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                changed[at : at + rng.randrange(8)] = rng.choice(WORDS)
            case 2:
                del changed[at : at + rng.randrange(1, 64)]
            case 3:
                other = rng.randrange(len(changed) + 1)
                changed[at:at] = changed[other : other + rng.randrange(64)]
            case 4 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case _:
                digits = [i for i in range(max(at - 200, 0), min(at + 200, len(changed))) if chr(changed[i]).isdigit()]
                if digits:
                    changed[rng.choice(digits)] = rng.choice(b"0123456789.-e")
    return bytes(changed)


@pytest.mark.parametrize("name", [*SAMPLES, READ_ONLY])
@given(data=st.binary(max_size=300))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_is_refused(name: str, data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any bytes at all, as if they had been sniffed wrongly."""
    outcome(registry.format(name), data, tmp_path_factory.getbasetemp())


def speedscope(profile: str) -> bytes:
    """A speedscope file of one frame and one profile."""
    return f'{{"shared": {{"frames": [{{"name": "a"}}]}}, "profiles": [{{"name": "x", "unit": "none", {profile}}}]}}'.encode()


def firefox(samples: bytes) -> bytes:
    """A Firefox profile of one frame and one thread with these samples."""
    return (
        b'{"meta": {"interval": 1, "preprocessedProfileVersion": 48}, "threads": [{"name": "x", "stringArray": ["a"],'
        b'"stackTable": {"frame": [0], "prefix": [null]}, "frameTable": {"func": [0]}, "funcTable": {"name": [0]}, "samples": {'
        + samples
        + b"}}]}"
    )


HOSTILE = {
    "pstats": [
        b"{" * 100_000,
        b"(\xff\xff\xff\x7f",
        b"[\xff\xff\xff\x7f",
        b"{" + b"\xa9\x03" * 200_000,
        b"{l\xff\xff\xff\x7f",
        b"{\xe9\x01\x00\x00\x00r\x00\x00\x00\x00" + b"0",
        b"c\0\0\0\0",
        b"{s\xff\xff\xff\x7fabc",
        b"{)\x03u\x01\x00\x00\x00ai\x01\x00\x00\x00u\x01\x00\x00\x00b)\x05i\xff\xff\xff\xffi\x01\x00\x00\x00gNNNNNNNNgNNNNNNNN{00",
    ],
    "speedscope": [
        b'{"$schema": "https://www.speedscope.app/file-format-schema.json", "shared": {"frames": []}, "profiles": ' + b"[" * 200_000,
        speedscope('"type": "sampled", "samples": [[9]], "weights": [1]'),
        speedscope('"type": "sampled", "samples": [[0]], "weights": [1e400]'),
        speedscope('"type": "sampled", "samples": [[0]], "weights": [-1]'),
        speedscope('"type": "evented", "events": [{"type": "C", "frame": 0, "at": 1}]'),
        speedscope('"type": "sampled", "samples": [], "weights": []').replace(b'"none"', b'"parsecs"'),
        b'{"shared": {"frames": []}, "shared": 3, "profiles": []}',
        speedscope('"type": "sampled", "samples": [[' + "0," * 200_000 + '0]], "weights": [1]'),
    ],
    "pyinstrument": [
        b'{"start_time": 0, "duration": 1, "frame_records": ' + b"[" * 200_000,
        b'{"start_time": -1, "duration": 1, "frame_records": [[["a\\u0000b\\u00001"], 1]]}',
        b'{"start_time": 0, "duration": 1, "frame_records": [[["a\\u0000b\\u00001"], -1]]}',
        b'{"start_time": 0, "duration": 1e300, "frame_records": []}',
        b'{"start_time": 0, "duration": 1, "frame_records": [["a", 1]]}',
        b'{"start_time": 0, "duration": 1, "frame_records": [[[' + b'"a",' * 200_000 + b'"a"], 1]]}',
    ],
    "collapsed": [
        b"a;b 1.5\n",
        b"a;b -1\n",
        b"a;b\n",
        b"a;b 99999999999999999999999\n",
        b"5\n",
        b"a " + b"9" * 16 + b"\n",
        b"a 9007199254740992\na 9007199254740992\n",
        b"a;" * 200_000 + b"b 1\n",
        b"\n\n\n",
        b"",
    ],
    "pprof": [
        b"",
        b"\n\x04\x08\x01\x10\x02" + b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\n\x04\x08\x01\x10\x02\x12\x05\n\x01\x01\x12\x00",
        b"\n\x00\x12\x04\x12\x02\x01\x02",
        b"\n\x00\x12\x06\n\x01\x09\x12\x01\x01",
        b"\n\x00\x12\x0c\x12\x0a" + b"\xff" * 9 + b"\x01",
        b"\n\x00" + b"\x2b" * 40,
        b"\x1f\x8b" + b"\0" * 40,
        gzip.compress(b"\n\x00" * 200_000 + b"\xff"),
    ],
    "otlp": [
        b"",
        b"\n\x04\x12\x02\x12\x00",
        b"\n\x08\x12\x06\x12\x04\x12\x02\x08\x09\x12\x00",
        b"\x12\x00\x12\x00",
        b"\n\xff\xff\xff\xff\x0f",
    ],
    "firefox": [
        b'{"meta": {"interval": -1}, "threads": []}',
        b'{"meta": {"interval": 1}, "threads": ' + b"[" * 200_000,
        firefox(b'"stack": [9], "time": [1]'),
        firefox(b'"stack": [0], "time": []'),
        firefox(b'"stack": [0], "time": [1], "weight": [-1]'),
        firefox(b'"stack": [0], "time": [1e300]'),
        firefox(b'"stack": [0], "time": [1]').replace(b'"prefix": [null]', b'"prefix": [0]'),
        firefox(b'"stack": [0], "time": [1]').replace(b'"func": [0]', b'"func": [-1]'),
    ],
    "chrome": [
        b'{"traceEvents": ' + b"[" * 200_000,
        b'{"traceEvents": [{"ph": "X", "name": "a", "ts": 1, "dur": -1, "pid": 1, "tid": 1}]}',
        b'{"traceEvents": [{"ph": "X", "name": "a", "ts": 1e300, "dur": 1, "pid": 1, "tid": 1}]}',
        b'{"traceEvents": [{"ph": "X", "name": "a", "ts": 1, "dur": 1e300, "pid": 1, "tid": 1}]}',
        b'{"traceEvents": [' + b'{"ph": "B", "name": "a", "ts": 1},' * 100_001 + b'{"ph": "E", "ts": 2}]}',
        b'[{"ph": "X", "name": 3}]',
    ],
    "austin": [
        b"# mode: wall\n\nP1;T0:1;a:b:c 5\n",
        b"# mode: full\n\nP1;T0:1;a:b:1 5\n",
        b"# mode: wall\n\nP1;T0:1;a:b:1 -5\n",
        b"# mode: bogus\n\nP1;T0:1;a:b:1 5\n",
        b"P1;T0:1;" + b"a:b:1;" * 200_000 + b"a:b:1 5\n",
        b"MOJ\x1f",
        b"MOJ\x03\x02\x01\x00zz\0",
        b"MOJ\x03\x02\x01\x001\0\x05\x07",
        b"MOJ\x03" + b"\x09\xff" * 100,
        b"MOJ\x03\x02\x01\x001\0",
    ],
    "perf": [
        b"",
        b"python 1 1.000001: 5 cycles: \n\tnot a frame\n\n",
        b"python 1 1.000001: 999999999999999999 cycles: \n\tff f (x)\n\n",
        b"python 1 1.000001: 5 cycles: \n" + b"\tff f (x)\n" * 200_000 + b"\n",
    ],
    "tachyon": [b"", b"TACH\1\0\0\0" + b"\0" * 100],
    "native": [b"", b"\x89proftool\n", b"\x89proftool\n" + b"\xff" * 40, b"\x89proftool\n\x01\x00" + b"\0" * 16],
}


@pytest.mark.parametrize(("name", "data"), [(n, d) for n, all_ in HOSTILE.items() for d in all_])
def test_hostile_files_are_refused(name: str, data: bytes, tmp_path: Path) -> None:
    """Absurd sizes, deep nesting, wrong types, duplicate keys, impossible values: an error that says what, at no cost."""
    assert outcome(registry.format(name), data, tmp_path) in ("CorruptProfile", "LimitExceeded", "NewerVersion")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    """Whatever the path is, the error is a format's own."""
    for format in registry.formats():
        for path in (tmp_path, tmp_path / "missing"):
            with pytest.raises(FormatError):
                format.read(path)


def test_no_format_takes_what_is_none(tmp_path: Path) -> None:
    """Ordinary files are nobody's."""
    for data in (b"hello world\n", b'{"a": 1}', b"\x89PNG\r\n\x1a\n", b"PK\3\4", b"def f():\n    return 1\n", b"\0" * 5000, b"%PDF-1.7\n"):
        assert sniffed(data) is None, data
