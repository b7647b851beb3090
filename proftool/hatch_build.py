"""Build hook of hatchling: the viewer's pages are made, and the C of the request path is compiled, before files are collected."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path(__file__).resolve().parent


class BuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """What hatchling calls before it collects files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """A wheel with compiled code is one platform's and one Python's."""
        _beside("viewer/build.py").build()
        if self.target_name == "wheel" and (made := _beside("telemetry/compile_exchange.py").build()) is not None:
            build_data["artifacts"].append(f"proftool/telemetry/{made.name}")
            build_data["pure_python"], build_data["infer_tag"] = False, True


def _beside(path: str) -> ModuleType:
    """A module of the package, which cannot be imported here: what it needs is not installed where it is built."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, PACKAGE / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
