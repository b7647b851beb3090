"""The command line: every verb, and the one place where errors are caught and become text and an exit status.

A verb's file imports the standard library and typer at its top and everything else inside its function: `proftool --help` must
import neither numpy nor a profiler. One row of `VERBS` registers a verb. The parser is loaded only where it is needed, and then with
the one verb that was asked for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading

from proftool.cli import direct, output
from proftool.cli.split import RUN, Words, split
from proftool.errors import ProftoolError, ReportError, UsageError
from proftool.launch.ending import Ended, ending

VERBS: tuple[tuple[str, str], ...] = (
    ("run", "proftool.cli.run:run"),
    ("attach", "proftool.cli.attach:attach"),
    ("dump", "proftool.cli.dump:dump"),
    ("top", "proftool.cli.top:top"),
    ("list", "proftool.cli.list:list_"),
    ("show", "proftool.cli.show:show"),
    ("open", "proftool.cli.open:open_"),
    ("diff", "proftool.cli.diff:diff"),
    ("trend", "proftool.cli.trend:trend"),
    ("gate", "proftool.cli.gate:gate"),
    ("bench", "proftool.cli.bench:bench"),
    ("ab", "proftool.cli.ab:ab"),
    ("bisect", "proftool.cli.bisect:bisect"),
    ("scale", "proftool.cli.scale:scale"),
    ("export", "proftool.cli.export:export"),
    ("import", "proftool.cli.imports:import_"),
    ("merge", "proftool.cli.merge:merge"),
    ("push", "proftool.cli.push:push"),
    ("pull", "proftool.cli.pull:pull"),
    ("fleet", "proftool.cli.fleet:fleet"),
    ("label", "proftool.cli.label:label"),
    ("rm", "proftool.cli.rm:rm"),
    ("prune", "proftool.cli.prune:prune"),
    ("incidents", "proftool.cli.incidents:incidents"),
    ("serve", "proftool.cli.serve:serve"),
    ("doctor", "proftool.cli.doctor:doctor"),
    ("mcp", "proftool.cli.mcp:mcp"),
)
"""Verb -> "module:function", or a group of verbs, in the order of the help."""

_SHELL = {"__complete": "answer", "--show-completion": "show", "--install-completion": "install"}
"""What a shell asks for, or is given: the value of these may be left out, which the parser does not know -> function of cli.shells."""
_ORDERLY = frozenset({"ab", "bench", "bisect", "gate"})
"""Verbs that make worktrees and start processes which must not outlive them; those that record have their own rules for signals."""
_INTERRUPTED = 130
_READER_GONE = 141
_FAULT = 70
"""EX_SOFTWARE of sysexits.h."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def entry() -> None:
    """Run the command line of this process and end it."""
    status = main(sys.argv[1:])
    if threading.active_count() > 1:
        sys.exit(status)
    # Nothing is left to wait for, and taking numpy and the rest apart piece by piece takes 20 ms.
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # closed by whoever started us  # pyright: ignore[reportUnnecessaryComparison]
                stream.flush()
    except OSError:
        status = _READER_GONE
    os._exit(status)


def main(argv: list[str]) -> int:
    """Run one command line; its exit status."""
    words = split(argv, [verb for verb, _ in VERBS], direct.VALUES)
    debug = words.debug
    try:
        return _run(argv, words)
    except ProftoolError as error:
        if debug:
            import traceback

            output.complain(traceback.format_exc().rstrip())
        output.complain(told(error))
        return error.exit_code
    except Exception as error:
        if isinstance(error, BrokenPipeError):
            return _stdout_gone(_READER_GONE)
        import traceback

        if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:  # a file's own errors name the file
            _stdout_gone(0)
            full = ReportError("cannot write all of it", cause=str(error.strerror), fix="free some space, or write to another place")
            output.complain(told(full))
            return full.exit_code

        if debug:
            output.complain(traceback.format_exc().rstrip())
        at = traceback.extract_tb(error.__traceback__)[-1]
        output.complain(
            f"error: proftool has a fault\ncause: {type(error).__name__}: {error} ({os.path.basename(at.filename)}:{at.lineno})\n"
            "fix:   repeat it with `--debug` and report what that prints"
        )
        return _FAULT
    except KeyboardInterrupt:
        output.complain("interrupted")
        return _INTERRUPTED
    except Ended as end:
        output.complain(f"ended by {end.name}")
        return end.exit_status


def _stdout_gone(status: int) -> int:
    """The interpreter flushes stdout once more at its end; into nothing then."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def told(error: ProftoolError) -> str:
    """An error as people read it: what, cause, fix."""
    notes = "".join(f"\nnote:  {note}" for note in getattr(error, "__notes__", ()))
    return f"error: {error.what}\ncause: {error.cause}\nfix:   {error.fix}{notes}"


def _run(argv: list[str], words: Words) -> int:
    if argv and argv[0] in _SHELL:
        from proftool.cli import shells

        getattr(shells, _SHELL[argv[0]])(argv[1:])
        return 0
    verbs = [verb for verb, _ in VERBS]
    verb = next(iter(words.own), "")
    if verb and not verb.startswith("-") and verb not in verbs:
        raise _no_verb(verb, verbs)
    if verb == RUN and (asked := direct.read(words.own[1:])) is not None:
        from proftool.cli.recording import run_program

        return run_program(asked)
    from proftool.cli.parser import command

    try:
        with ending() if verb in _ORDERLY else contextlib.nullcontext():
            status = command([row for row in VERBS if row[0] == verb] or VERBS).main(
                args=list(words.own), prog_name="proftool", standalone_mode=False, obj=words.after
            )
    except Exception as error:
        if (usage := _usage(error, words.own)) is None:
            raise
        raise usage from error
    return status if isinstance(status, int) else 0


def _usage(error: Exception, own: tuple[str, ...]) -> UsageError | None:
    """The parser's own complaint in the words of every other error; None where it is none."""
    told = getattr(error, "format_message", None)
    if told is None:
        return None
    text = str(told()).rstrip(".")
    near = getattr(error, "possibilities", None) or ()
    hint = "did you mean " + " or ".join(f"`{name}`" for name in near) + "? " if near else ""
    verb = next((word for word in own if not word.startswith("-")), "")
    said = "cannot do without it" if type(error).__name__ == "MissingParameter" else "does not take that"
    what = text[:1].lower() + text[1:].partition(" Did you mean")[0].partition(". (Possible")[0]
    return UsageError(
        what, cause=f"`proftool{' ' + verb if verb else ''}` {said}", fix=f"{hint}`proftool {verb} --help`".replace("  ", " ")
    )


def _no_verb(word: str, verbs: list[str]) -> UsageError:
    import difflib

    near = difflib.get_close_matches(word, verbs, 1)
    hint = f"did you mean `proftool {near[0]}`? " if near else ""
    return UsageError(
        f"no command `{word}`",
        cause="it is no verb of proftool's, and no such file exists",
        fix=f"{hint}`proftool --help` lists the verbs; `proftool run {word}` runs a program",
    )
