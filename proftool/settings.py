"""What can be set, and where each value came from: flag > environment > `[tool.proftool]` of the nearest pyproject.toml > default.

A value is text or a TOML value until it is read here, once, into a frozen `Settings`. A name that nobody knows is a usage
error with the nearest right one: a setting that is silently ignored is worse than none. Only in the environment are unknown
`PROFTOOL_…` names left alone, they may belong to somebody else's script.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from proftool.errors import UsageError
from proftool.units import size_bytes

DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. None = not set; the room that uses it decides."""

    project: Path | None = None
    """Folder of the nearest `pyproject.toml` or `.git`; found, not set."""
    cwd: Path = field(default_factory=Path.cwd)
    store: str | None = None
    """Where runs are kept: a folder, or `sqlite:///…/runs.db`."""
    blobs: str | None = None
    """Where their profiles are kept, if not beside them: a folder, or `file:///…`."""
    store_size_bytes: int = 2_000_000_000
    """The store prunes itself beyond this; labelled runs stay."""
    rate_hz: float | None = None
    """Samples per second where no `--rate` is given; None = the backend's own."""
    overhead_budget: float = 0.02
    """Share of the time for which a sampling profiler may stop the program, 0..1; it samples more slowly beyond."""
    sample_backend: str | None = None
    trace_backend: str | None = None
    memory_backend: str | None = None
    diff_floor: float = 0.005
    """Changes below this part of the base's total are never coloured, 0..1."""
    redact: tuple[str, ...] = ()
    """Regular expressions of further secrets; a group named `value` narrows what is replaced."""
    editor: str | None = None
    """URL of a source line in HTML reports, with {path} and {line}; None = `vscode://file/{path}:{line}`."""
    carry: tuple[str, ...] = ()
    """What git ignores and the program needs: copied into the worktrees of `ab` and `bisect`, by path from the checkout's root."""
    fleet: str | None = None
    """Where profiles of running services are sent and read: `clickhouse://host:8123/database`; `pyroscope+http://…` and `otlp+http://…`
    are sent to only."""
    trace_days: float = 7
    """What services leave is kept so long: spans, slices of their samplers, findings, logs; what was around an incident longer."""
    metric_days: float = 30
    """Points of services' metrics are kept so long, the older the coarser."""
    service_version: str | None = None
    """What the fleet tells deployments of a service apart by; None = `service.version` of OTEL_RESOURCE_ATTRIBUTES, else the commit."""
    html_size_bytes: int = 10_000_000
    """Bound of an HTML report."""
    webhook: str | None = None
    """Where alerts of services are posted, as Slack reads them; better set in the environment, for it is a secret."""
    dashboard: str | None = None
    """URL of a `proftool serve` that reads this store; messages of alerts link to it. None = they say what to type."""
    origins: Mapping[str, str] = field(default_factory=dict[str, str])
    """Setting -> `--flag`, `$PROFTOOL_…`, the pyproject.toml's path, or `default`."""

    def origin(self, name: str) -> str:
        """Where the value of a setting came from, for people."""
        return self.origins.get(name, DEFAULT)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("write a text that is not empty")
    return value


def _url(value: object) -> str:
    text = _text(value)
    if not text.startswith(("http://", "https://")):
        raise ValueError("write a URL that begins with https:// or http://")
    return text


def _editor(value: object) -> str:
    text = _text(value)
    if "{path}" not in text or "://" not in text:
        raise ValueError(
            "write a URL with {path} and {line}, for example `vscode://file/{path}:{line}` or `idea://open?file={path}&line={line}`"
        )
    return text


def _size(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("write a size, for example 500MB or 2GiB")
    return size_bytes(str(value))


def _number(value: object, low: float, high: float) -> float:
    try:
        number = float(cast(str, value)) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError):
        number = float("nan")
    if not low <= number <= high:
        raise ValueError(f"write a number from {low:g} to {high:g}")
    return number


def _rate(value: object) -> float:
    return _number(value, 0.1, 10_000)


def _days(value: object) -> float:
    return _number(value, 0.01, 36_500)


def _share(value: object) -> float:
    return _number(value, 0, 1)


def _patterns(value: object) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in cast(list[object], words)):
        raise ValueError("write a list of regular expressions")
    for word in (found := tuple(cast(list[str], words))):
        try:
            re.compile(word)
        except re.error as error:
            raise ValueError(f"`{word}` is no regular expression: {error}") from error
    return found


def _paths(value: object) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in cast(list[object], words)):
        raise ValueError("write a list of paths")
    return tuple(cast(list[str], words))


READERS: dict[str, Callable[[object], object]] = {
    "store": _text,
    "blobs": _text,
    "store_size_bytes": _size,
    "rate_hz": _rate,
    "overhead_budget": _share,
    "sample_backend": _text,
    "trace_backend": _text,
    "memory_backend": _text,
    "diff_floor": _share,
    "redact": _patterns,
    "editor": _editor,
    "fleet": _text,
    "trace_days": _days,
    "metric_days": _days,
    "service_version": _text,
    "html_size_bytes": _size,
    "carry": _paths,
    "webhook": _url,
    "dashboard": _url,
}
"""Setting -> how its value is read; ValueError says what to write."""


def key(name: str) -> str:
    """A setting's name as it stands in pyproject.toml: without its unit, with hyphens. `PROFTOOL_` + upper case in the environment."""
    return name.removesuffix("_bytes").removesuffix("_hz").replace("_", "-")


def variable(name: str) -> str:
    """A setting's environment variable: `PROFTOOL_STORE_SIZE`."""
    return "PROFTOOL_" + key(name).replace("-", "_").upper()


TABLES = ("alerts", "slo", "budgets")
"""Tables of [tool.proftool] that are no settings: a service's own (telemetry/rules.py) and those of benchmarks (bench/budgets.py)."""

_NAMES = {key(name): name for name in READERS}


def load(cwd: Path | None = None, *, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """
    Settings for a folder.

    Args:
        flags: setting -> value as typed; None values are flags that were not given.

    Raises:
        UsageError: an unknown key, a value that cannot be read, a pyproject.toml that is no TOML.
    """
    cwd = (cwd or Path.cwd()).absolute()
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {}
    origins: dict[str, str] = {}

    def take(name: str, value: object, origin: str) -> None:
        try:
            values[name] = READERS[name](value)
        except ValueError as error:
            raise UsageError(f"the setting `{key(name)}` is `{value}`", cause=f"{origin} says so", fix=str(error)) from error
        origins[name] = origin

    file = nearest(cwd, "pyproject.toml")
    for word, value in (_table(file) if file else {}).items():
        if word in TABLES:
            continue
        name = _NAMES.get(word.replace("_", "-"))
        if name is None:
            raise _unknown(word, f"`{file}` has it in [tool.proftool]")
        # A path in a project's file means the same from every folder of the project.
        placed = _from(file.parent, value) if file and name in ("store", "blobs") else value
        take(name, placed, str(file))
    for name in READERS:
        if given := environ.get(variable(name)):
            take(name, given, f"${variable(name)}")
    for name, value in (flags or {}).items():
        if name not in READERS:
            raise _unknown(name, "a flag asks for it")
        if value is not None:
            take(name, value, f"--{key(name)}")
    found = Settings(project=project_of(cwd), cwd=cwd, origins=origins)
    return _with(found, values)


def project_of(cwd: Path, *, root: Path = Path("/")) -> Path | None:
    """The nearest folder upward that holds a `pyproject.toml` or `.git`; looked for below `root`, and named as seen from there."""
    for folder in (cwd, *cwd.parents):
        there = root / folder.relative_to("/") if root != Path("/") else folder
        if _exists(there / "pyproject.toml") or _exists(there / ".git"):
            return folder
    return None


def nearest(cwd: Path, name: str) -> Path | None:
    """The nearest file of that name upward."""
    return next((folder / name for folder in (cwd, *cwd.parents) if _exists(folder / name)), None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder above that may not be searched holds nothing for this user
        return False


def _with(settings: Settings, values: dict[str, object]) -> Settings:
    from dataclasses import replace

    return replace(settings, **values)  # pyright: ignore[reportArgumentType]  # READERS gives each its type


def _table(file: Path) -> dict[str, object]:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read `{file}`", cause=str(error), fix="make it readable, or run proftool outside of that project"
        ) from error
    if "proftool" not in text:  # importing tomllib takes longer than reading the file
        return {}
    import tomllib

    try:
        tool = tomllib.loads(text).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"`{file}` is no TOML", cause=str(error), fix="mend the file; proftool looks for [tool.proftool] in it") from error
    table: object = cast(dict[str, object], tool).get("proftool", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise UsageError(
            f"`tool.proftool` of `{file}` is no table", cause=f"it is `{table}`", fix="write [tool.proftool] and keys below it"
        )
    return cast(dict[str, object], table)


def _from(folder: Path, value: object) -> object:
    if not isinstance(value, str) or "://" in value or not value.strip():
        return value
    return str(folder / Path(value).expanduser())


def _unknown(word: str, cause: str) -> UsageError:
    near = difflib.get_close_matches(word.replace("_", "-"), _NAMES, 1)
    hint = f"did you mean `{near[0]}`? " if near else ""
    return UsageError(f"no setting named `{word}`", cause=cause, fix=f"{hint}known are: {', '.join(_NAMES)}")
