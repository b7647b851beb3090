"""A secret of the command line or the environment is in nothing that is written: reports, documents, exports, talk."""

from __future__ import annotations

import base64
import re
import zlib
from pathlib import Path

import pytest
from cli.command import Project

ARGUMENT, VARIABLE = "ArgCanary7Qx2", "EnvCanary9Zk4"
APP = """
import os, threading, time
def work():
    end = time.perf_counter() + 0.4
    while time.perf_counter() < end: sum(range(200))
thread = threading.Thread(target=work, name="worker " + os.environ["DEPLOY_TOKEN"])
thread.start(); thread.join()
"""
FORMATS = ("speedscope", "html", "native")


def unpacked(content: bytes) -> bytes:
    """With what lies in it compressed, plain or in base64, side by side."""
    found = [content]
    texts = [base64.b64decode(text + b"==") for text in re.findall(rb"[A-Za-z0-9+/]{200,}", content)]
    for piece in (content, *texts):
        for start in [0, *(match.start() for match in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", piece))]:
            for kind in (47, -15):
                try:
                    found.append(zlib.decompressobj(kind).decompress(piece[start:]))
                except zlib.error:
                    continue
    return b"\n".join(found)


def test_no_secret_leaves(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by `run` itself, whose report is made of what was just recorded, nor later."""
    monkeypatch.setenv("DEPLOY_TOKEN", VARIABLE)
    project.write("app.py", APP)
    said: dict[str, bytes] = {}
    for ending in ("html", "proftool"):
        file = tmp_path / f"out.{ending}"
        done = project.proftool("run", "--backend", "pyinstrument", "-o", file, "--json", "--", "app.py", "--api-key", ARGUMENT)
        assert done.status == 0, done.err
        said |= {f"run -o .{ending}": file.read_bytes(), f"run {ending} out": done.out.encode(), f"run {ending} err": done.err.encode()}
    for words in (("list", "--json"), ("show",), ("show", "--json")):
        said[" ".join(words)] = project.proftool(*words).out.encode()
    for name in FORMATS:
        file = tmp_path / f"export-{name}"
        if project.proftool("export", "-f", name, "-o", file).status == 0:
            said[f"export {name}"] = file.read_bytes()
    assert len(said) == 12
    assert b"app.py" in unpacked(said["run -o .html"]), "what is packed must be seen here"
    for what, content in said.items():
        for secret in (ARGUMENT, VARIABLE):
            assert secret.encode() not in unpacked(content), what
