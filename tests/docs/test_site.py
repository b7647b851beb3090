"""The site builds without a warning, and every name that a user can type or meet stands on it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from proftool import errors, registry
from proftool import settings as settings_module
from proftool.cli.app import VERBS

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", str(ROOT / "docs/mkdocs.yml"), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def words(site: Path, page: str) -> str:
    return (site / page / "index.html").read_text(encoding="utf-8")


@pytest.mark.xdist_group("docs")
def test_every_name_is_on_its_page(site: Path) -> None:
    """Verbs, settings, errors, rules, backends: each is named where a reader looks for it."""
    verbs = words(site, "reference/verbs")
    assert not [verb for verb, _ in VERBS if f'id="{verb}"' not in verbs]
    settings = words(site, "reference/settings")
    names = [one.name for one in fields(settings_module.Settings) if one.name in settings_module.READERS]
    told = re.findall(r"<td><code>([\w-]+)</code></td>\s*<td><code>(PROFTOOL_\w+)</code></td>", settings)
    assert sorted(told) == sorted((settings_module.key(name), settings_module.variable(name)) for name in names)
    kinds_told = words(site, "reference/errors")
    kinds = [name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.ProftoolError)]
    assert not [name for name in kinds if name not in kinds_told]
    assert not [name for name in registry.RULES if f'id="{name}"' not in words(site, "reference/insights")]
    assert not [name for name in registry.BACKENDS if name not in words(site, "reference/backends")]


@pytest.mark.xdist_group("docs")
def test_every_decision_and_recipe_is_on_the_site(site: Path) -> None:
    """The folders beside the pages are part of it."""
    assert not [
        path.stem for path in (ROOT / "docs/decisions").glob("*.md") if not (site / "decisions" / path.stem / "index.html").exists()
    ]
    assert not [path.stem for path in (ROOT / "recipes").glob("*.py") if not (site / "how-to/recipes" / path.stem / "index.html").exists()]


@pytest.mark.xdist_group("docs")
def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    """Fonts, scripts and styles come with the site."""
    loaded = re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))"', words(site, "reference/verbs"))
    assert not loaded
