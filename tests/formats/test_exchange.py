"""Formats of other profilers against the tools themselves: files that they write now, and official decoders of what is written here."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from formats.official import PprofProfile, otlp_example, pprof_example
from text_profile import stacks

from proftool import registry
from proftool.contracts import WritableFormat
from proftool.errors import NewerVersion, ReportError
from proftool.formats import wire
from proftool.model.profile import Profile
from proftool.model.tree import function_total, lane_total, metric_total

FILES = Path(__file__).parent.parent / "golden" / "files"
PROGRAM = """\
import threading, time
class A:
    def run(self):
        return sum(i * i for i in range(200_000))
def nap():
    time.sleep({nap})
t = threading.Thread(target=nap, name="waiter")
t.start()
for _ in range(4):
    A().run()
nap()
t.join()
"""


def read(path: Path) -> Profile:
    """The file through the first format that takes it."""
    head = path.read_bytes()[:4096]
    return next(format for format in registry.formats() if format.matches(head)).read(path)


def writer(name: str) -> WritableFormat:
    """A format that is written too."""
    found = registry.format(name)
    assert isinstance(found, WritableFormat)
    return found


def installed(package: str, name: str) -> str:
    """A program that a package brought, wherever its scripts are."""
    return str(next(file.locate() for file in distribution(package).files or () if file.name == name))


def totals(profile: Profile, metric: int = 0) -> dict[str, int]:
    """Total of every function by name."""
    values = function_total(profile, metric).tolist()
    return {profile.text(q): value for q, value in zip(profile.functions.qualname.tolist(), values, strict=True)}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "prog.py"
    path.write_text(PROGRAM.format(nap=0.2))
    return path


@pytest.fixture
def sleeper(tmp_path: Path) -> Path:
    """The program with naps that a sampler sees, however late it comes to its turn on a busy machine."""
    path = tmp_path / "prog.py"
    path.write_text(PROGRAM.format(nap=3))
    return path


def austin(program: Path, *options: str) -> Path:
    """What austin 3.7 writes of the program."""
    out = program.with_name("out")
    command = [installed("austin-dist", "austin"), "-i", "2ms", *options, "-o", str(out), sys.executable, str(program)]
    for _ in range(5):  # on a busy machine austin 3.7 now and then gives up before the interpreter has begun ("terminated too quickly")
        done = subprocess.run(command, capture_output=True, timeout=150)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.timeout(900)
def test_austin_text_has_the_microseconds_of_its_lines(sleeper: Path) -> None:
    """The total is the sum of the lines, thread by thread; so is each function's."""
    path = austin(sleeper)
    lines = [line.rpartition(" ") for line in path.read_text().splitlines() if line.startswith("P")]
    profile = read(path)
    assert profile.meta.source == "austin"
    assert metric_total(profile, 0) == 1000 * sum(int(metric) for *_, metric in lines)
    assert metric_total(profile, 1) == len(lines) == len(profile.samples)
    by_lane: dict[str, int] = {}
    for stack, _, metric in lines:
        by_lane[stack.split(";")[1]] = by_lane.get(stack.split(";")[1], 0) + 1000 * int(metric)
    assert sorted(lane_total(profile, 0).tolist()) == sorted(by_lane.values())
    assert totals(profile)["nap"] == 1000 * sum(int(metric) for stack, _, metric in lines if ":nap:" in stack)
    (one,) = profile.meta.passes
    assert (one.backend, one.backend_version, one.rate_asked_hz) == ("austin", "3.7.0", 500)


def test_austin_full_mode_tells_idle_time_and_bytes(program: Path) -> None:
    """Idle microseconds are waiting; bytes that were taken are allocations, those given back are told as lost."""
    path = austin(program, "-f")
    rows = [line.rpartition(" ")[2].split(",") for line in path.read_text().splitlines() if line.startswith("P")]
    profile = read(path)
    sums = {metric.name: metric_total(profile, at) for at, metric in enumerate(profile.metrics)}
    assert sums["wall_time"] == 1000 * sum(int(time) for time, _, _ in rows)
    assert sums["waiting_time"] == 1000 * sum(int(time) for time, idle, _ in rows if idle == "1")
    assert sums["allocated_bytes"] == sum(max(int(size), 0) for *_, size in rows)
    given_back = -sum(min(int(size), 0) for *_, size in rows)
    assert (f"{given_back:,}" in " ".join(profile.meta.lost)) == bool(given_back)


def test_austin_mojo_is_what_the_official_decoder_makes_of_it() -> None:
    """`mojo2austin` wrote the same recording as text: every thread, stack, line and microsecond is equal."""
    binary, text = read(FILES / "austin.mojo"), read(FILES / "austin.mojo.txt")
    assert totals(binary) == totals(text)
    assert lane_total(binary, 0).tolist() == lane_total(text, 0).tolist()
    assert binary.lanes.tid.tolist() == text.lanes.tid.tolist()
    assert binary.samples.time_ns.tolist() == text.samples.time_ns.tolist()
    assert binary.frames.line.tolist() == text.frames.line.tolist()
    assert stacks(binary) == stacks(text)
    assert binary.meta == text.meta


@pytest.mark.timeout(900)
def test_austin_mojo_of_a_program_that_runs_now(sleeper: Path) -> None:
    """Both threads by themselves, neither longer than the recording took; how much of it austin saw is austin's."""
    profile = read(austin(sleeper, "-b"))
    (one,) = profile.meta.passes
    assert (one.backend_version, one.rate_asked_hz, one.samples) == ("3.7.0", 500, len(profile.samples))
    assert {"nap", "Thread.run"} <= set(totals(profile))
    assert len(profile.lanes) == 2
    assert one.duration_ns is not None
    assert all(0 < total < 1.1 * one.duration_ns for total in lane_total(profile, 0).tolist())


def test_viztracer_calls_and_times_are_its_own(program: Path) -> None:
    """Calls are the events of the file, a function's total the span of its events, a thread's that of its outermost."""
    path = program.with_name("trace.json")
    subprocess.run(
        [sys.executable, "-m", "viztracer", "--quiet", "--max_stack_depth", "4", "-o", str(path), str(program)],
        check=True,
        capture_output=True,
        timeout=150,
    )
    events = [event for event in json.loads(path.read_text())["traceEvents"] if event["ph"] == "X"]
    profile = read(path)
    assert (profile.meta.source, profile.meta.passes[0].backend) == ("chrome", "viztracer")
    assert metric_total(profile, 1) == len(events)
    naps = [event["dur"] for event in events if event["name"].startswith("nap ")]
    assert len(naps) == 2
    assert totals(profile)["nap"] == pytest.approx(sum(naps) * 1000, abs=10)
    assert sorted(profile.text(i) for i in profile.lanes.thread_name) == ["MainThread", "waiter"]


@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
def test_perf_script_counts_what_perf_counts(program: Path) -> None:
    """Events and periods are those of the text, the tree is innermost first turned round."""
    data, text = program.with_name("perf.data"), program.with_name("perf.txt")
    command = ["perf", "record", "-g", "-F", "200", "-e", "cpu-clock", "-o", str(data), sys.executable, str(program)]
    done = subprocess.run(command, capture_output=True, timeout=150)
    if done.returncode:
        pytest.skip(f"perf may not record here: {done.stderr.decode()[-200:]}")
    told = subprocess.run(["perf", "script", "-i", str(data)], check=True, capture_output=True).stdout
    text.write_bytes(told)
    periods = [int(n) for n in re.findall(rb":\s+(\d+) cpu-clock", told)]
    profile = read(text)
    sums = {metric.name: metric_total(profile, at) for at, metric in enumerate(profile.metrics)}
    assert sums == {"samples": len(periods), "cpu_time": sum(periods)}
    assert any("PyEval" in profile.text(q) for q in profile.functions.qualname)


def test_pprof_totals_are_those_of_the_official_classes(tmp_path: Path) -> None:
    """Values, inlined calls, labels and locations without lines, packed by protobuf's own code."""
    given = pprof_example()
    for content in (given.SerializeToString(), gzip.compress(given.SerializeToString())):
        path = tmp_path / "x"
        path.write_bytes(content)
        profile = read(path)
        assert [m.name for m in profile.metrics] == ["samples", "cpu_time"]
        for at in (0, 1):
            assert metric_total(profile, at) == sum(sample.value[at] for sample in given.sample)
        assert totals(profile) == {"main": 11, "Shop.total": 3, "fib": 6, "inner": 6, "0xfffffffffffff000": 1, "(no frames)": 4}
        assert [(int(t), profile.text(n)) for t, n in zip(profile.lanes.tid, profile.lanes.thread_name, strict=True)] == [
            (11, "worker-11"),
            (12, "worker-12"),
        ]
        assert profile.meta.lost == ("proftool keeps no labels of samples: request, thread id left out",)
        assert profile.meta.passes[0].rate_asked_hz == 100


def test_pprof_reads_unpacked_lists(tmp_path: Path) -> None:
    """Old writers repeat the field for each number."""
    path = tmp_path / "x"
    head = b"".join(wire.put_bytes(1, wire.put_number(1, 1) + wire.put_number(2, 2)) for _ in range(1))
    sample = wire.put_number(1, 2) + wire.put_number(1, 1) + wire.put_varint(2 << 3) + wire.put_varint(5)
    places = b"".join(wire.put_bytes(4, wire.put_number(1, n) + wire.put_bytes(4, wire.put_number(1, n))) for n in (1, 2))
    functions = b"".join(wire.put_bytes(5, wire.put_number(1, n) + wire.put_number(2, 2 + n)) for n in (1, 2))
    texts = b"".join(wire.put_bytes(6, text) for text in (b"", b"samples", b"count", b"outer", b"inner"))
    path.write_bytes(head + wire.put_bytes(2, sample) + places + functions + texts)
    profile = read(path)
    assert totals(profile) == {"outer": 5, "inner": 5}
    assert profile.nodes.parent.tolist() == [-1, 0]


@pytest.mark.parametrize(
    "name", ["py-spy.speedscope.json", "pyinstrument.pyisession", "cprofile.prof", "viztracer.json", "py-spy.collapsed"]
)
def test_written_pprof_is_valid_for_the_official_classes(name: str) -> None:
    """Every index points somewhere, text 0 is empty, and each sample type adds up to the metric."""
    profile = read(FILES / name)
    told = PprofProfile()
    told.ParseFromString(gzip.decompress(writer("pprof").write(profile)))
    assert told.string_table[0] == ""
    functions, locations = {f.id for f in told.function}, {place.id for place in told.location}
    assert 0 not in functions | locations
    assert all(line.function_id in functions for place in told.location for line in place.line)
    assert all(id in locations for sample in told.sample for id in sample.location_id)
    assert len(told.sample_type) == len(profile.metrics)
    for at in range(len(profile.metrics)):
        assert sum(sample.value[at] for sample in told.sample) == metric_total(profile, at)
    assert {told.string_table[f.filename] for f in told.function} & {"/shop/shop.py", "shop.py"}


def test_otlp_shapes_of_samples_and_resources(tmp_path: Path) -> None:
    """Values at times, times alone and values alone; two services are lanes of one run; unknown attributes are told."""
    path = tmp_path / "x"
    path.write_bytes(otlp_example().SerializeToString())
    profile = read(path)
    assert [m.name for m in profile.metrics] == ["wall_time", "samples"]
    assert (metric_total(profile, 0), metric_total(profile, 1)) == (2 * 37, 2 * (2 + 1 + 1_000_000))
    assert sorted(set(profile.lanes.pid.tolist())) == [70, 90]
    assert sorted(profile.samples.time_ns.tolist()) == [5, 5, 25, 25, 50, 50]
    assert totals(profile)["Shop.total"] == 14
    assert "http.route" in profile.meta.lost[0]
    assert profile.meta.passes[0].rate_asked_hz == 100


@pytest.mark.parametrize("name", ["py-spy.speedscope.json", "pyinstrument.pyisession", "cprofile.prof", "viztracer.json"])
def test_written_otlp_is_valid_for_the_official_classes(name: str) -> None:
    """Row 0 of every table is the zero value, every index points somewhere, values add up, times lie in the profile."""
    from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2

    profile = read(FILES / name)
    told: Any = profiles_service_pb2.ExportProfilesServiceRequest()
    told.ParseFromString(writer("otlp").write(profile))
    d = told.dictionary
    assert d.string_table[0] == ""
    for table in (d.mapping_table, d.location_table, d.function_table, d.link_table, d.attribute_table, d.stack_table):
        assert table[0].ByteSize() == 0
    profiles = [one for resource in told.resource_profiles for scope in resource.scope_profiles for one in scope.profiles]
    assert len(profiles) == len(profile.metrics)
    for at, one in enumerate(profiles):
        assert sum(value for sample in one.samples for value in sample.values) == metric_total(profile, at)
        for sample in one.samples:
            assert 0 < sample.stack_index < len(d.stack_table)
            assert all(0 < index < len(d.attribute_table) for index in sample.attribute_indices)
    assert sum(len(sample.timestamps_unix_nano) for sample in profiles[0].samples) == len(profile.samples)
    assert all(0 < index < len(d.location_table) for stack in d.stack_table[1:] for index in stack.location_indices)


def test_written_trace_is_balanced_and_in_order() -> None:
    """On each thread every end closes what began last, times never go back, and spans of a history stand where they were."""
    for name in ("py-spy.speedscope.json", "viztracer.json", "cprofile.prof"):
        profile = read(FILES / name)
        events = json.loads(writer("chrome").write(profile))["traceEvents"]
        open_: dict[tuple[int, int], list[tuple[str, float]]] = {}
        for event in (event for event in events if event["ph"] in "BE"):
            stack = open_.setdefault((event["pid"], event["tid"]), [])
            if event["ph"] == "B":
                assert not stack or stack[-1][1] <= event["ts"]
                stack.append((event["name"], event["ts"]))
            else:
                assert stack.pop()[1] <= event["ts"]
        assert not any(open_.values())
    with pytest.raises(ReportError, match="holds times"):
        writer("chrome").write(read(FILES / "py-spy.collapsed"))


def test_trace_left_open_is_read(tmp_path: Path) -> None:
    """Chrome's array form needs no closing bracket, spans may begin and never end, instants are told as lost."""
    path = tmp_path / "x"
    path.write_text(
        '[{"ph":"B","name":"a","ts":10,"pid":1,"tid":1},{"ph":"X","name":"b","ts":12,"dur":5,"pid":1,"tid":1},\n'
        '{"ph":"i","name":"now","ts":13,"pid":1,"tid":1},{"ph":"C","name":"rss","ts":14,"pid":1,"args":{"bytes":5}},\n'
        '{"ph":"E","ts":20,"pid":1,"tid":1},{"ph":"X","name":"c","ts":16,"dur":9,"pid":1,"tid":2},'
    )
    profile = read(path)
    assert totals(profile) == {"a": 10_000, "b": 5_000, "c": 9_000}
    assert profile.counters.value.tolist() == [5]
    assert "1 of kind i" in profile.meta.lost[0]


def test_firefox_tables_of_a_thread_and_shared_ones() -> None:
    """Both layouts: names, files and lines; samples without a stack are nobody's; markers and weights as told."""
    old, new = read(FILES / "firefox48.json"), read(FILES / "firefox58.json")
    assert totals(old, 1) == {"main": 6, "Idle::wait(int)": 4, "fib": 3}
    assert metric_total(old, 0) == 6 * 2_000_000
    assert old.meta.passes[0].rate_asked_hz == 500
    assert [(int(p), int(t)) for p, t in zip(old.lanes.pid, old.lanes.tid, strict=True)] == [(70, 70), (70, 71)]
    assert totals(new) == {"main": 3_500_001, "Idle::wait(int)": 1, "fib": 2_500_001}
    assert new.samples.time_ns.tolist() == [1_500_000, 3_500_000, 7_500_000]
    assert sorted(new.text(i) for i in new.functions.file) == ["", "/shop/shop.py", "/shop/shop.py"]


def test_firefox_gzipped_is_read(tmp_path: Path) -> None:
    """As profiler.firefox.com saves it."""
    path = tmp_path / "x"
    path.write_bytes(gzip.compress((FILES / "firefox48.json").read_bytes()))
    assert totals(read(path)) == totals(read(FILES / "firefox48.json"))


def test_tachyon_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    """Recognised, not guessed at."""
    path = tmp_path / "x"
    path.write_bytes(b"TACH\x01\x00\x00\x00" + bytes(100))
    with pytest.raises(NewerVersion, match="sampling profiler") as caught:
        read(path)
    assert "profiling.sampling replay --collapsed" in caught.value.fix
