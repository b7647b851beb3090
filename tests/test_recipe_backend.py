"""The plugin of the recipe `add_a_backend` is a backend like ours: it passes the contract suite, installed in an environment of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes" / "add_a_backend.py"


@pytest.mark.full  # the whole contract suite once more
@pytest.mark.timeout(600)
def test_the_plugin_passes_the_contract_suite(tmp_path: Path) -> None:
    """Found by its entry point, by a pytest that knows nothing of it; every test of the suite's normal size."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (site / "ours.pth").write_text("\n".join([str(ROOT), *(entry for entry in sys.path if entry.endswith("site-packages"))]) + "\n")
    spec = importlib.util.spec_from_file_location("recipe", RECIPE)
    assert spec
    assert spec.loader
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    recipe.install(site)
    suite = [str(ROOT / "tests" / "contracts" / "test_backend_contract.py"), "-k", "frames", "-m", "not full"]
    words = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "tests"), *suite]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert int(done.stdout.strip().splitlines()[-1].split(" passed")[0].split()[-1]) >= 20
