"""The parser: typer's command group over the verbs that were asked for."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from proftool.cli import output

if TYPE_CHECKING:
    from typer.core import TyperGroup


def command(verbs: Iterable[tuple[str, str]]) -> TyperGroup:
    """The group with those verbs (verb, "module:function"), whose modules are imported now."""
    app = typer.Typer(
        name="proftool",
        help="Where does the time go, and the memory? Record, read, open and compare profiles of Python programs.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_main)
    for verb, place in verbs:
        module, _, function = place.partition(":")
        found = getattr(import_module(module), function)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=verb)
        else:
            app.command(verb)(found)
    return typer.main.get_group(app)


def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    install: Annotated[
        str | None, typer.Option("--install-completion", metavar="[SHELL]", help="Complete words in bash, zsh or fish; default: $SHELL.")
    ] = None,
    shown: Annotated[str | None, typer.Option("--show-completion", metavar="[SHELL]", help="Print the script of that.")] = None,
) -> None:
    if version:
        from proftool import __version__

        output.data(f"proftool {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        output.data(context.get_help())
        raise typer.Exit
