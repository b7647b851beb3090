"""The command line: every verb, and the one place where errors are caught and become text and an exit status.

A verb's file imports the standard library and typer at its top and everything else inside its function: `proftool --help` must
import neither numpy nor a profiler. One row of `VERBS` registers a verb.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from proftool.cli import output
from proftool.cli.split import split
from proftool.errors import ProftoolError, UsageError

VERBS: tuple[tuple[str, str], ...] = (
    ("run", "proftool.cli.run:run"),
    ("attach", "proftool.cli.attach:attach"),
    ("dump", "proftool.cli.dump:dump"),
    ("top", "proftool.cli.top:top"),
    ("list", "proftool.cli.list:list_"),
    ("show", "proftool.cli.show:show"),
    ("open", "proftool.cli.open:open_"),
    ("diff", "proftool.cli.diff:diff"),
    ("gate", "proftool.cli.gate:gate"),
    ("bench", "proftool.cli.bench:bench"),
    ("ab", "proftool.cli.ab:ab"),
    ("scale", "proftool.cli.scale:scale"),
    ("export", "proftool.cli.export:export"),
    ("import", "proftool.cli.imports:import_"),
    ("label", "proftool.cli.label:label"),
    ("rm", "proftool.cli.rm:rm"),
    ("prune", "proftool.cli.prune:prune"),
    ("doctor", "proftool.cli.doctor:doctor"),
    ("mcp", "proftool.cli.mcp:mcp"),
)
"""Verb -> "module:function", in the order of the help."""

_INTERRUPTED = 130
_READER_GONE = 141
_FAULT = 70
"""EX_SOFTWARE of sysexits.h."""

app = typer.Typer(
    name="proftool",
    help="Where does the time go, and the memory? Record, read, open and compare profiles of Python programs.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if version:
        from proftool import __version__

        output.data(f"proftool {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        output.data(context.get_help())
        raise typer.Exit


for _verb, _place in VERBS:
    _module, _, _function = _place.partition(":")
    app.command(_verb)(getattr(import_module(_module), _function))


def entry() -> None:
    """Run the command line of this process and end it."""
    sys.exit(main(sys.argv[1:]))


def main(argv: list[str]) -> int:
    """Run one command line; its exit status."""
    debug = "--debug" in argv[: argv.index("--") if "--" in argv else len(argv)]
    try:
        return _run(argv)
    except ProftoolError as error:
        if debug:
            import traceback

            output.complain(traceback.format_exc().rstrip())
        output.complain(told(error))
        return error.exit_code
    except Exception as error:
        if isinstance(error, BrokenPipeError):
            return _reader_gone()
        import traceback

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


def _reader_gone() -> int:
    """The interpreter flushes stdout once more at its end; into nothing then."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _READER_GONE


def told(error: ProftoolError) -> str:
    """An error as people read it: what, cause, fix."""
    notes = "".join(f"\nnote:  {note}" for note in getattr(error, "__notes__", ()))
    return f"error: {error.what}\ncause: {error.cause}\nfix:   {error.fix}{notes}"


def _run(argv: list[str]) -> int:
    command = typer.main.get_command(app)
    verbs = [verb for verb, _ in VERBS]
    words = split(argv, verbs, _valued(command))
    if words.own and not words.own[0].startswith("-") and words.own[0] not in verbs:
        raise _no_verb(words.own[0], verbs)
    try:
        status = command.main(args=list(words.own), prog_name="proftool", standalone_mode=False, obj=words.after)
    except Exception as error:
        if (usage := _usage(error, words.own)) is None:
            raise
        raise usage from error
    return status if isinstance(status, int) else 0


def _valued(command: object) -> frozenset[str]:
    """Options of `run` that take a value, asked of the parser itself."""
    run = getattr(command, "commands")["run"]  # noqa: B009  # typer's own class, whose types it does not publish
    return frozenset(name for option in run.params if not getattr(option, "is_flag", False) for name in option.opts if name.startswith("-"))


def _usage(error: Exception, own: tuple[str, ...]) -> UsageError | None:
    """The parser's own complaint in the words of every other error; None where it is none."""
    told = getattr(error, "format_message", None)
    if told is None:
        return None
    text = str(told()).rstrip(".")
    near = getattr(error, "possibilities", None) or ()
    hint = "did you mean " + " or ".join(f"`{name}`" for name in near) + "? " if near else ""
    verb = next((word for word in own if not word.startswith("-")), "")
    what = text[:1].lower() + text[1:].partition(" Did you mean")[0].partition(". (Possible")[0]
    return UsageError(
        what, cause=f"`proftool{' ' + verb if verb else ''}` does not take that", fix=f"{hint}`proftool {verb} --help`".replace("  ", " ")
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
