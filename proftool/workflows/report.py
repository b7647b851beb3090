"""A profile as bytes for people and programs: the document of `show`, and files whose ending says what they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from proftool import registry
from proftool.contracts import ReportOptions, WritableFormat
from proftool.contracts_store import Run
from proftool.errors import UsageError
from proftool.settings import Settings
from proftool.workflows.run_document import run_document

if TYPE_CHECKING:
    from proftool.model.profile import Profile


def page_options(settings: Settings, metric: str | None = None, profile: Profile | None = None) -> ReportOptions:
    """What the settings say of an HTML page, and the advice on a profile that is shown."""
    from proftool import insights

    found = () if profile is None else insights.find(profile)
    return ReportOptions(metric=metric, max_bytes=settings.html_size_bytes, editor=settings.editor, insights=found)


def show_document(profile: Profile, run: Run | None) -> dict[str, object]:
    """The JSON document of `show`."""
    from proftool import insights
    from proftool.reports import json

    return json.document(profile, json.circumstances(profile) if run is None else run_document(run), insights.find(profile))


def check_output(path: Path) -> None:
    """UsageError for a file whose ending says nothing, or whose folder is not there: before anything runs."""
    _writer(path)
    if not path.absolute().parent.is_dir():
        raise UsageError(f"cannot write `{path}`", cause=f"there is no folder `{path.parent}`", fix="make it, or name another file")


def write(profile: Profile, path: Path, settings: Settings, *, run: Run | None = None) -> None:
    """Write a profile as what the file's ending says, whole or not at all."""
    from proftool.workflows.history import write_file

    kind, name = _writer(path)
    if kind == "report" and name == "json":
        import json

        content = json.dumps(show_document(profile, run), ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")
    elif kind == "report":
        content = registry.report(name).render(profile, page_options(settings, profile=profile))
    else:
        writer = registry.format(name)
        assert isinstance(writer, WritableFormat)
        content = writer.write(profile)
    write_file(path, content)


def _writer(path: Path) -> tuple[str, str]:
    """(report or format, its name) of a file's ending; the longest ending wins: `.speedscope.json` is not `.json`."""
    from proftool.workflows.history import format_of

    if (found := format_of(path)) is not None and found != "html":
        return "format", found
    suffix = ".html" if path.suffix.lower() == ".htm" else path.suffix.lower()
    report = next((name for name in registry.names("report") if registry.report(name).suffix == suffix), None)
    if report is not None:
        return "report", report
    raise UsageError(
        f"`{path}`: which format?",
        cause="the file's ending says nothing",
        fix="write .html, .json, .txt, .proftool, or `proftool export -f FORMAT`",
    )
