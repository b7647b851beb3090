"""Settings: which source wins, what is refused, and where a value came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from proftool.errors import UsageError
from proftool.settings import READERS, Settings, key, load, variable


def _project(folder: Path, table: str) -> Path:
    (folder / "pyproject.toml").write_text(f"[tool.proftool]\n{table}\n")
    return folder


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    """Each source hides those below it, and the winner is named."""
    _project(tmp_path, 'store-size = "1GB"')
    file = str(tmp_path / "pyproject.toml")
    environ = {"PROFTOOL_STORE_SIZE": "2GB"}
    flagged = load(tmp_path, flags={"store_size_bytes": "3GB"}, environ=environ)
    from_environment = load(tmp_path, environ=environ)
    from_file = load(tmp_path, environ={})
    (tmp_path / "pyproject.toml").write_text("")
    nothing = load(tmp_path, environ={})
    assert [s.store_size_bytes // 10**9 for s in (flagged, from_environment, from_file, nothing)] == [3, 2, 1, 2]
    origins = [s.origin("store_size_bytes") for s in (flagged, from_environment, from_file, nothing)]
    assert origins == ["--store-size", "$PROFTOOL_STORE_SIZE", file, "default"]


def test_flag_that_was_not_given_hides_nothing(tmp_path: Path) -> None:
    """None is the absence of a flag, not a value."""
    assert load(tmp_path, flags={"rate_hz": None}, environ={"PROFTOOL_RATE": "250"}).rate_hz == 250


def test_every_setting_can_be_set_in_each_way() -> None:
    """No field of Settings lacks a reader, and no name is used twice."""
    found = set(Settings.__dataclass_fields__) - {"project", "cwd", "origins"}
    assert found == set(READERS)
    assert len({key(name) for name in READERS}) == len({variable(name) for name in READERS}) == len(READERS)


def test_nearest_file_upward_counts(tmp_path: Path) -> None:
    """A subfolder of a project has the project's settings, and a relative path means the project's folder."""
    _project(tmp_path, 'rate = 50\nstore = "profiles"')
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    found = load(deep, environ={})
    assert (found.rate_hz, found.project, found.store) == (50, tmp_path, str(tmp_path / "profiles"))


@pytest.mark.parametrize("word", ["stor-size", "store_sise"])
def test_unknown_key_is_refused_with_the_nearest(tmp_path: Path, word: str) -> None:
    """A typing error is told, not ignored."""
    with pytest.raises(UsageError, match="did you mean `store-size`"):
        load(_project(tmp_path, f'{word} = "1GB"'), environ={})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('store-size = "big"', "no size"),
        ("store-size = true", "write a size"),
        ("rate = -1", "write a number"),
        ('rate = "fast"', "write a number"),
        ("rate = nan", "write a number"),
        ("diff-floor = 2", "from 0 to 1"),
        ('redact = ["("]', "no regular expression"),
        ("redact = 3", "list of regular"),
        ("store = 3", "text"),
    ],
)
def test_value_that_cannot_be_read_is_refused_with_its_place(tmp_path: Path, line: str, told: str) -> None:
    """The error says which setting, which file and what to write."""
    with pytest.raises(UsageError, match=told) as caught:
        load(_project(tmp_path, line), environ={})
    assert str(tmp_path / "pyproject.toml") in caught.value.cause


def test_broken_file_is_named(tmp_path: Path) -> None:
    """A pyproject.toml that is no TOML is a usage error that says where."""
    (tmp_path / "pyproject.toml").write_text("[tool.proftool\n")
    with pytest.raises(UsageError, match=r"no TOML") as caught:
        load(tmp_path, environ={})
    assert "line 1" in caught.value.cause


@pytest.mark.parametrize("head", ["[tool.proftool]", "[ tool . proftool ]", '[tool."proftool"]', "[tool]\n[tool.'proftool']"])
def test_the_table_is_found_however_toml_writes_it(tmp_path: Path, head: str) -> None:
    """TOML allows spaces and quotes in a table's name."""
    (tmp_path / "pyproject.toml").write_text(f"{head}\nrate = 10\n")
    assert load(tmp_path, environ={}).rate_hz == 10


def test_other_variables_and_tools_are_left_alone(tmp_path: Path) -> None:
    """What is not proftool's is not judged."""
    (tmp_path / "pyproject.toml").write_text("[tool.other]\nstor = 1\n[tool.proftool]\nrate = 10\n")
    assert load(tmp_path, environ={"PROFTOOL_SOMEBODY": "x", "PROFTOOL_EDITOR": ""}).rate_hz == 10
