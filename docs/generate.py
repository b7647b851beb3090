"""Pages of the reference that are read off the code when the site is built, and the folders beside `pages/` that belong to the site.

Verbs from the command line itself, settings, errors, formats, metrics and rules from their registries: what is not in the code cannot be on
these pages, and a test holds that every name of the code is.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

DOCS = Path(__file__).parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated, the decisions, the recipes and the images."""
    for uri, text in pages().items():
        files.append(File.generated(config, uri, content=text))
    for path in sorted(DOCS.glob("images/*")):
        files.append(File.generated(config, f"images/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """On the site, `docs/pages` is the root: links out of it go to their place there."""
    return re.sub(r"\]\((?:\.\./)+(images|decisions)/", lambda found: f"](../{found[1]}/", markdown)


def pages() -> dict[str, str]:
    """URI of a generated page -> its text."""
    found = {
        "reference/verbs.md": verbs(),
        "reference/settings.md": settings(),
        "reference/errors.md": errors(),
        "reference/insights.md": insights(),
        "reference/backends.md": backends(),
    }
    for path in sorted(DOCS.glob("decisions/*.md")):
        found[f"decisions/{path.name}"] = path.read_text(encoding="utf-8")
    for path in sorted((DOCS.parent / "recipes").glob("*.py")):
        found[f"how-to/recipes/{path.stem}.md"] = recipe(path)
    return found


def verbs() -> str:
    """Every verb with its arguments and options."""
    from proftool.cli.app import VERBS
    from proftool.cli.parser import command as parser

    root = parser(VERBS)
    lines = ["# Verbs", "", "`proftool app.py …` means `proftool run app.py …`.", ""]
    named = [(name, root.commands[name]) for name, _place in VERBS]
    for name, group in list(named):
        parts = getattr(group, "commands", {})
        at = next(row for row, (own, _) in enumerate(named) if own == name) + 1
        named[at:at] = [(f"{name} {part}", command) for part, command in parts.items()]
    for name, command in named:
        lines += [f"## {name}", "", inspect.cleandoc(command.help or ""), "", "| | |", "|---|---|"]
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                told, called = getattr(parameter, "help", "") or "", parameter.metavar or parameter.name.upper()
            else:
                told, called = (
                    parameter.help or "",
                    " ".join([", ".join([*parameter.opts, *parameter.secondary_opts]), parameter.metavar or ""]),
                )
            lines.append(f"| `{_cell(called.strip())}` | {_cell(told)} |")
        lines.append("")
    return "\n".join(lines)


def settings() -> str:
    """Every setting with its default."""
    from proftool import settings as module

    lines = [
        "# Settings",
        "",
        "A flag, then `$PROFTOOL_NAME`, then `[tool.proftool]` of the nearest `pyproject.toml`, then the default.",
        "",
    ]
    lines += ["| setting | environment | default | |", "|---|---|---|---|"]
    told = _attribute_docs(module, "Settings")
    for one in fields(module.Settings):
        if one.name in module.READERS:
            default = "" if one.default in (None, MISSING) else f"`{one.default}`"
            lines.append(f"| `{module.key(one.name)}` | `{module.variable(one.name)}` | {default} | {_cell(told.get(one.name, ''))} |")
    return "\n".join(lines)


def errors() -> str:
    """Every error with its exit status."""
    from proftool import errors as module

    lines = ["# Errors", "", "An error says what happened, `cause:` and `fix:`; `--debug` adds the traceback.", ""]
    lines += ["| error | exit status | |", "|---|---|---|"]
    for name, kind in vars(module).items():
        if inspect.isclass(kind) and issubclass(kind, module.ProftoolError):
            lines.append(f"| `{name}` | {kind.exit_code} | {_cell((inspect.getdoc(kind) or '').splitlines()[0])} |")
    return "\n".join(lines)


def insights() -> str:
    """Every rule with what it takes for evidence."""
    from importlib import import_module

    from proftool import registry

    lines = ["# Insights", "", "A rule speaks only where the profile itself shows the cause; `proftool show` prints what was found.", ""]
    lines += ["[When a rule speaks, and what its advice gave](../explanation/insights.md)", ""]
    for name, place in registry.RULES.items():
        module = import_module(place.partition(":")[0])
        rule = getattr(module, "rule")  # noqa: B009
        lines += [f"## {name}", "", inspect.getdoc(module) or "", "", inspect.getdoc(type(rule)) or "", ""]
        if hasattr(rule, "advice"):
            lines += [f"Advice: {rule.advice} ([more]({rule.link})).", "", *([f"{rule.effect.capitalize()}.", ""] if rule.effect else [])]
    return "\n".join(lines)


def backends() -> str:
    """Every backend with its modes."""
    from proftool import registry

    lines = ["# Backends", "", "`--backend NAME`; the first that fits is chosen for a mode.", "", "| backend | modes | |", "|---|---|---|"]
    for name in registry.BACKENDS:
        backend = registry.backend(name)
        lines.append(f"| `{name}` | {', '.join(sorted(backend.capabilities.modes))} | {_cell(backend.summary)} |")
    return "\n".join(lines)


def recipe(path: Path) -> str:
    """A recipe's own words, then the program."""
    import ast

    text = path.read_text(encoding="utf-8")
    told = ast.get_docstring(ast.parse(text)) or path.stem
    title, _, rest = told.partition("\n")
    return f"# {title.rstrip('.')}\n\n{rest.strip()}\n\nRun it: `python recipes/{path.name}`\n\n```python\n{text}```\n"


def _attribute_docs(module: ModuleType, name: str) -> dict[str, str]:
    """Attribute -> the string below it, of a class."""
    import ast

    body = next(node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef) and node.name == name).body

    def pairs() -> Iterator[tuple[str, str]]:
        for one, following in pairwise(body):
            match one, following:
                case ast.AnnAssign(target=ast.Name(id=attribute)), ast.Expr(value=ast.Constant(value=str(text))):
                    yield attribute, " ".join(text.split())
                case _:
                    continue

    return dict(pairs())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
