"""`%%proftool` in Jupyter and IPython: a cell as a run, with the viewer below it. `%load_ext proftool` brings it.

Jupyter shows the report inline, in a frame of its own (the page is one offline file); a terminal's IPython gets the summary.
"""

from __future__ import annotations

import base64
import shlex
from typing import TYPE_CHECKING, Protocol, cast

from proftool.errors import ProftoolError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proftool.model.profile import Profile

HEIGHT_PX = 640


class Shell(Protocol):
    """What is used of IPython's shell."""

    def run_cell(self, raw_cell: str) -> object: ...

    def register_magic_function(self, func: object, magic_kind: str, magic_name: str) -> None: ...


def load_ipython_extension(shell: Shell) -> None:
    """IPython calls this for `%load_ext proftool`."""

    def proftool(line: str, cell: str) -> None:
        run_cell(shell, line, cell)

    shell.register_magic_function(proftool, "cell", "proftool")


def run_cell(shell: Shell, line: str, cell: str) -> None:
    """Record the cell: `%%proftool [--mode sample|trace|memory] [--label TEXT]`; its own output and error are IPython's as ever."""
    from proftool.workflows.api import profile

    try:
        asked = _options(line)
        recording = profile(mode=asked.get("mode", "sample"), label=asked.get("label"))
        with recording:
            shell.run_cell(cell)
        if recording.profile is not None:
            _show(recording.profile, recording.run.id if recording.run else "")
    except ProftoolError as error:
        print(f"error: {error.what}\ncause: {error.cause}\nfix:   {error.fix}")


def _options(line: str) -> dict[str, str]:
    words, found = shlex.split(line), dict[str, str]()
    while words:
        word = words.pop(0)
        if word not in ("--mode", "--label") or not words:
            raise UsageError(
                f"`%%proftool {line}`", cause=f"`{word}` is not an option with a value", fix="%%proftool --mode trace --label first"
            )
        found[word[2:]] = words.pop(0)
    return found


def _show(profile: Profile, run: str) -> None:
    from importlib import import_module

    from proftool import insights, registry, settings
    from proftool.contracts import ReportOptions

    # Both are IPython's, whose stubs are loose and which only a notebook has.
    display = cast("Callable[[object], None]", import_module("IPython.display").display)
    html = cast("Callable[[str], object]", import_module("IPython.display").HTML)
    options = ReportOptions(max_bytes=settings.load().html_size_bytes, insights=insights.find(profile))
    if _is_notebook():
        page = registry.report("html").render(profile, options)
        source = base64.b64encode(page).decode("ascii")
        # A frame with a data URL cannot reach the notebook's own page, and nothing is written beside it.
        display(
            html(
                f'<iframe title="proftool {run}" sandbox="allow-scripts allow-downloads" style="width:100%;height:{HEIGHT_PX}px;border:0" '
                f'src="data:text/html;base64,{source}"></iframe>'
            )
        )
    print(registry.report("summary").render(profile, options).decode())
    if run:
        print(f"run {run} kept · `proftool open {run}`")


def _is_notebook() -> bool:
    from importlib import import_module

    shell = import_module("IPython").get_ipython()
    return shell is not None and hasattr(shell, "kernel")
