"""Profiles to Pyroscope and over OTLP, decoded at the other end by the published schemas, beside what the official client sends."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import ExportProfilesServiceRequest
from store.slices import a_slice
from store.stores import store_in
from telemetry.receiver import Receiver, receiving

from proftool.cli.app import main
from proftool.errors import StoreError, UsageError
from proftool.telemetry.profiles_out import About
from proftool.telemetry.profiles_out import Receiver as Out

ABOUT = About(service="shop", version="7.1", host="a")
START_NS = 1_700_000_000_000_000_000
PROFILE = a_slice(START_NS, {"slow": 3000, "fast": 1000}).profile


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def stacks(profile: Any, at: int) -> dict[tuple[str, ...], int]:
    """Functions from the root -> value of one sample type."""
    functions = {one.id: profile.string_table[one.name] for one in profile.function}
    locations = {one.id: functions[one.line[0].function_id] for one in profile.location}
    return {tuple(locations[id] for id in reversed(one.location_id)): one.value[at] for one in profile.sample if one.value[at]}


def types(profile: Any) -> list[tuple[str, str]]:
    """Its sample types."""
    return [(profile.string_table[one.type], profile.string_table[one.unit]) for one in profile.sample_type]


def test_pyroscope_gets_a_series_a_name_with_every_value(receiver: Receiver) -> None:
    """Wall time and processor time under the names that Pyroscope's own clients use; labels, times and period with them."""
    Out(f"pyroscope+http://me:pass%20word@127.0.0.1:{receiver.port}/pyro/?tenant=team", ABOUT).send_profile(PROFILE)
    (request,) = receiver.got
    assert request.path == "/pyro/push.v1.PusherService/Push"
    assert request.headers["content-type"] == "application/proto"
    assert request.headers["x-scope-orgid"] == "team"
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"me:pass word"
    (wall_labels, wall), (cpu_labels, cpu) = receiver.pushed()
    assert wall_labels == {"__name__": "wall", "service_name": "shop", "service_version": "7.1", "hostname": "a"}
    assert cpu_labels == wall_labels | {"__name__": "process_cpu"}
    assert types(wall) == [("wall", "nanoseconds"), ("waiting", "nanoseconds"), ("samples", "count")]
    assert types(cpu) == [("cpu", "nanoseconds")]
    assert {path[-1]: value for path, value in stacks(wall, 0).items()} == {"slow": 3 * 10**9, "fast": 10**9}
    assert {path[-1]: value for path, value in stacks(cpu, 0).items()} == {
        "slow": 2250 * 10**6,
        "fast": 750 * 10**6,
    }
    for one, clock in ((wall, "wall"), (cpu, "cpu")):
        assert (one.time_nanos, one.duration_nanos, one.period) == (START_NS, 60 * 10**9, 10_000_000)
        assert one.string_table[one.period_type.type] == clock


def test_otlp_gets_a_request_that_its_schema_reads(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resource, stacks and values; headers of the environment go with it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b,broken")
    Out(f"otlp+http://127.0.0.1:{receiver.port}", ABOUT).send_profile(PROFILE)
    (got,) = receiver.got
    assert got.path == "/v1development/profiles"
    assert (got.headers["content-type"], got.headers["x-key"]) == ("application/x-protobuf", "a b")
    request = ExportProfilesServiceRequest()
    request.ParseFromString(got.content)
    (resource,) = request.resource_profiles
    about = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert {key: about[key] for key in ("service.name", "service.version", "host.name")} == {
        "service.name": "shop", "service.version": "7.1", "host.name": "a",
    }  # fmt: skip
    d = request.dictionary
    texts = d.string_table
    (wall,) = [
        one
        for scope in resource.scope_profiles
        for one in scope.profiles
        if texts[one.sample_type.type_strindex] == "wall"
    ]  # fmt: skip
    found: dict[str, int] = {}
    for sample in wall.samples:
        leaf = d.location_table[d.stack_table[sample.stack_index].location_indices[0]]
        name = texts[d.function_table[leaf.lines[0].function_index].name_strindex]
        found[name] = found.get(name, 0) + sum(sample.values)
    assert found == {"slow": 3 * 10**9, "fast": 10**9}


def test_official_client_sends_the_same_kind_of_request(receiver: Receiver, tmp_path: Path) -> None:
    """Path, encoding, name of the series, sample type and period are those of pyroscope-io's own pushes."""
    program = (
        "import pyroscope, sys, time\n"
        "pyroscope.configure(application_name='shop', server_address=sys.argv[1], upload_interval=1, tags={'service_version': '7.1'})\n"
        "def burn():\n    while True:\n        sum(range(1000))\nburn()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, f"http://127.0.0.1:{receiver.port}"], cwd=tmp_path)
    try:
        end = time.monotonic() + 90
        while not receiver.arrived.wait(1):
            assert time.monotonic() < end, "the official client sends nothing"
            assert child.poll() is None
    finally:
        child.kill()
        child.wait()
    theirs, (their_labels, their_profile) = receiver.got[0], receiver.pushed()[0]
    receiver.got.clear()
    Out(f"pyroscope+http://127.0.0.1:{receiver.port}", ABOUT).send_profile(PROFILE)
    (ours,) = receiver.got
    ((our_labels, our_profile),) = [one for one in receiver.pushed() if one[0]["__name__"] == their_labels["__name__"]]
    assert ours.path == theirs.path
    for header in ("content-type", "content-encoding"):
        assert ours.headers[header] == theirs.headers[header]
    for label in ("__name__", "service_name", "service_version"):
        assert our_labels[label] == their_labels[label]
    assert types(our_profile) == types(their_profile)

    def period(profile: Any) -> tuple[str, str, int]:
        texts = profile.string_table
        return texts[profile.period_type.type], texts[profile.period_type.unit], profile.period

    assert period(our_profile) == period(their_profile)


def test_refusal_and_silence_are_told_without_the_password(receiver: Receiver) -> None:
    """What the server said, and no password."""
    receiver.status = 429
    with pytest.raises(StoreError, match="did not take") as caught:
        Out(f"pyroscope+http://me:secret@127.0.0.1:{receiver.port}", ABOUT).send_profile(PROFILE)
    assert "429" in caught.value.cause
    assert "the tenant is full" in caught.value.cause
    assert "secret" not in str(caught.value)
    with pytest.raises(StoreError, match="cannot be reached"):
        Out("otlp+http://127.0.0.1:9", ABOUT).send_profile(PROFILE)
    for wrong in ("http://host", "pyroscope+http://", "ftp://host"):
        with pytest.raises(UsageError, match="takes no profiles"):
            Out(wrong, ABOUT)


def test_export_sends_a_run(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`export --to`: under its program's name or the one that is given; with a format or a file it is refused."""
    store_in(tmp_path).add(PROFILE.with_meta(_with_command(PROFILE.meta, ("python", "shop/app.py", "--fast"))))
    monkeypatch.chdir(tmp_path)
    url = f"pyroscope+http://127.0.0.1:{receiver.port}"
    assert main(["export", "@latest", "--to", url]) == 0
    assert "as app" in capsys.readouterr().err
    assert main(["export", "@latest", "--to", url, "--service", "till"]) == 0
    assert {labels["service_name"] for labels, _ in receiver.pushed()} == {"app", "till"}
    assert main(["export", "@latest", "--to", url, "-f", "pprof"]) == 2
    assert main(["export", "@latest", "-f", "pprof", "--service", "till"]) == 2
    receiver.status = 500
    assert main(["export", "@latest", "--to", url]) == 9


def _with_command(meta: Any, command: tuple[str, ...]) -> Any:
    from dataclasses import replace

    return replace(meta, command=command)


@pytest.mark.parametrize("scheme", ["pyroscope+http", "otlp+http"])
def test_watched_service_sends_to_what_the_company_runs(receiver: Receiver, tmp_path: Path, scheme: str) -> None:
    """PROFTOOL_FLEET may name Pyroscope or a collector; the profile is that of the service."""
    (tmp_path / "pyproject.toml").touch()
    program = (
        "import time, proftool\nfrom proftool.telemetry.tracing_start import Options\n"
        "watching = proftool.watch('shop', options=Options(slice_s=0.2, every_s=0.1, leaks=False))\n"
        "def burn(until):\n    while time.monotonic() < until:\n        sum(range(1000))\n"
        "end = time.monotonic() + 90\n"
        "while not watching.slices_to.counts.sent and time.monotonic() < end:\n    burn(time.monotonic() + 0.5)\n"
        "watching.stop()\nprint(watching.slices_to.counts.sent)\n"
    )
    environment = os.environ | {"PROFTOOL_FLEET": f"{scheme}://127.0.0.1:{receiver.port}"}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(receiver.got) >= int(done.stdout) > 0
    assert b"burn" in b"".join(one.content for one in receiver.got) or any(
        "burn" in text for _, profile in receiver.pushed() for text in profile.string_table
    )
