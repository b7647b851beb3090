"""Completion in bash, zsh and fish: the script that a shell reads, where it is kept, and the answer to a shell that asks.

A script holds no list of words: it asks `proftool __complete` at every press of the key. The answer's first line is `files` or `words`; the
others are a word and, behind a tab, what it is.
"""

from __future__ import annotations

import os
from pathlib import Path

from proftool.cli import output
from proftool.errors import UsageError

BASH = r"""# Completion of proftool for bash.
_proftool() {
    local line kind IFS=$'\n'
    local -a found
    mapfile -t found < <("${1/#\~/$HOME}" __complete bash "$1" "$2" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    kind=${found[0]-}
    COMPREPLY=("${found[@]:1}")
    [[ ${#COMPREPLY[@]} = 1 && ${COMPREPLY[0]} = *= ]] && compopt -o nospace
    [[ $kind = files ]] && compopt -o default -o bashdefault
    return 0
}
complete -F _proftool proftool
"""
ZSH = r"""#compdef proftool
# Completion of proftool for zsh.
_proftool() {
    local line kind
    local -a found values told
    found=("${(@f)$("${(@)words[1]/#\~/$HOME}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    kind=$found[1]
    for line in "${(@)found[2,-1]}"; do
        values+=("${line%%$'\t'*}")
        told+=("${line/$'\t'/  -- }")
    done
    (( $#values )) && compadd -V proftool -l -d told -a values
    [[ $kind = files ]] && _files
    return 0
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _proftool proftool
"""
FISH = r"""# Completion of proftool for fish.
function __proftool_complete
    set -l words (commandline -opc)
    set -l found ($words[1] __complete fish $words[2..-1] (commandline -ct) 2>/dev/null)
    string join \n -- $found[2..-1]
    test "$found[1]" = files; and __fish_complete_path (commandline -ct)
end
complete -c proftool -f -k -a '(__proftool_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
SHOW, INSTALL = "--show-completion", "--install-completion"


def shell_of(words: list[str], option: str) -> str:
    """The shell that a word names, else `$SHELL`; UsageError where completion knows none of that name."""
    asked = words[0] if words else os.path.basename(os.environ.get("SHELL", ""))
    if asked not in SCRIPTS:
        raise UsageError(
            f"no completion for `{asked}`" if asked else "which shell?",
            cause="it is none of bash, zsh and fish" if asked else "`SHELL` names none",
            fix=f"`proftool {option} bash`, `zsh` or `fish`",
        )
    return asked


def show(words: list[str]) -> None:
    """Print the script."""
    output.data(SCRIPTS[shell_of(words, SHOW)], end="")


def install(words: list[str]) -> None:
    """Write the script where the shell finds it; bash and zsh get one line in their start-up file, once."""
    shell = shell_of(words, INSTALL)
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    if shell == "fish":
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "fish/completions"
    else:
        folder = data / "proftool"
    script = folder / f"proftool.{shell}"
    start = (
        None
        if shell == "fish"
        else Path(os.environ.get("ZDOTDIR") or Path.home()) / ".zshrc"
        if shell == "zsh"
        else Path.home() / ".bashrc"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        script.write_text(SCRIPTS[shell], encoding="utf-8")
        if start is not None:
            _add_line(start, f'[ -r "{script}" ] && . "{script}"  # completion of proftool')
    except OSError as error:
        raise UsageError(
            f"the completion for {shell} was not installed",
            cause=f"`{error.filename}`: {error.strerror}",
            fix=f"put what `proftool {SHOW} {shell}` prints where your shell reads it",
        ) from error
    output.talk(f"written to {script}" + ("" if start is None else f", read by {start}") + "; it works in the next shell")


def _add_line(file: Path, line: str) -> None:
    known = file.read_text(encoding="utf-8", errors="surrogateescape") if file.exists() else ""
    if line not in known.splitlines():
        with file.open("a", encoding="utf-8") as stream:
            stream.write(("" if not known or known.endswith("\n") else "\n") + line + "\n")


def answer(words: list[str]) -> None:
    """What a shell asked: `bash NAME CURRENT LINE`, or `zsh WORD…`, `fish WORD…`, the last word being the one that is typed."""
    from proftool.cli.complete import complete

    shell, *rest = words or [""]
    strip = 0
    if shell == "bash":
        name, current, line = [*rest, "", "", ""][:3]
        typed = _words(line)
        while typed and typed[0] != name:  # `FOO=1 proftool`
            typed = typed[1:]
        rest = typed[1:] or [""]
        # bash breaks words at `@`, `=` and `:` and replaces only what stands behind the last one.
        strip = max(len(rest[-1]) - len(current), 0) if rest[-1].endswith(current) else 0
        if not current and rest[-1].endswith(("=", ":")):
            strip = len(rest[-1])
    found = complete(rest, Path.cwd())
    lines = ["files" if found.files else "words"]
    for one in found.words:
        value = _escaped(one.value[strip:]) if shell == "bash" else one.value
        lines.append(value if shell == "bash" or not one.told else f"{value}\t{one.told}")
    output.data("\n".join(lines))


def _words(line: str) -> list[str]:
    """A line that is being typed as its words, an open quote closed; a blank at its end begins an empty word."""
    import shlex

    for quote in ("", "'", '"'):
        try:
            found = shlex.split(line + quote)
        except ValueError:
            continue
        return [*found, ""] if line[-1:].isspace() and not quote else found
    return line.split()


def _escaped(value: str) -> str:
    return "".join(f"\\{char}" if char in " \t\"'\\$`&|;<>()*?[]{}!" else char for char in value)
