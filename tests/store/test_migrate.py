"""Old schemas are brought up, the newest is not looked at twice, and both ways to a schema give the same one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from store.stores import profile, store_in

from proftool.contracts_store import RunQuery
from proftool.store import migrate, revisions, schema
from proftool.store.place import NAME
from proftool.store.rows import row_of

TESTS = Path(__file__).parents[1]


def _schema(database: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        columns = connection.execute(
            "SELECT t.name, c.name, c.type, c.\"notnull\", c.pk FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'"
            " AND t.name NOT LIKE 'sqlite%' ORDER BY t.name, c.cid"
        ).fetchall()
        indexes = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name").fetchall()
        parts = [
            connection.execute(f"SELECT '{name}', name FROM pragma_index_info('{name}') ORDER BY seqno").fetchall() for (name,) in indexes
        ]
        unique = connection.execute("SELECT COUNT(*) FROM pragma_index_list('runs') WHERE \"unique\"").fetchall()
        version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return [*columns, *(part for some in parts for part in some), *unique, *version]


def test_migrations_and_tables_give_the_same_schema(tmp_path: Path) -> None:
    """Every revision from nothing ends where schema.py stands."""
    from sqlalchemy import create_engine

    store = store_in(tmp_path)
    store.add(profile(1))
    by_hand = tmp_path / "migrated.db"
    engine = create_engine(f"sqlite:///{by_hand}")
    with engine.begin() as connection:
        migrate.upgrade(connection)
    engine.dispose()
    assert _schema(by_hand) == _schema(store.place.database)


def test_revisions_are_those_of_the_folder() -> None:
    """A revision that is not named in REVISIONS would lock its own store out."""
    files = sorted(path.name for path in (migrate.SCRIPTS / "versions").glob("*.py"))
    assert [name.split("_")[0] for name in files] == list(revisions.REVISIONS)


@pytest.mark.parametrize("revision", revisions.REVISIONS[:-1])
def test_every_older_schema_becomes_the_newest(tmp_path: Path, revision: str) -> None:
    """With the run that was in it, and the same tables as a new store has."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    for name in ("new", "old"):
        (tmp_path / name).mkdir()
    new = store_in(tmp_path / "new")
    run = new.add(profile(1))
    old = tmp_path / "old" / NAME
    shutil.copytree(tmp_path / "new" / NAME, old)
    (old / "runs.db").unlink()
    engine = create_engine(f"sqlite:///{old / 'runs.db'}")
    with engine.begin() as connection, closing(sqlite3.connect(new.place.database)) as source:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(migrate.SCRIPTS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, revision)
        (row,) = source.execute("SELECT * FROM runs")
        connection.exec_driver_sql(f"INSERT INTO runs VALUES ({','.join('?' * len(row))})", row)
    engine.dispose()
    assert store_in(tmp_path / "old").find(RunQuery()) == (run,)
    assert _schema(old / "runs.db") == _schema(new.place.database)


def test_older_store_is_brought_up_with_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revision that comes later is applied once, and nothing is lost."""
    run = store_in(tmp_path).add(profile(1), label="old")
    scripts = tmp_path / "migrations"
    shutil.copytree(migrate.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9999_next.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision, branch_labels, depends_on = '9999', '0004', None, None\n"
        "def upgrade():\n    op.add_column('runs', sa.Column('next', sa.Text))\n    op.execute(\"UPDATE runs SET next = 'yes'\")\n"
    )
    monkeypatch.setattr(migrate, "SCRIPTS", scripts)
    monkeypatch.setattr(revisions, "REVISIONS", ("0001", "0002", "0003", "0004", "9999"))
    assert store_in(tmp_path).find(RunQuery()) == (run,)
    with closing(sqlite3.connect(tmp_path / NAME / "runs.db")) as connection:
        assert connection.execute("SELECT next FROM runs").fetchall() == [("yes",)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    assert store_in(tmp_path).load(run).meta == profile(1).meta


def test_failed_migration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revision that fails half way is rolled back as a whole."""
    store_in(tmp_path).add(profile(1))
    scripts = tmp_path / "migrations"
    shutil.copytree(migrate.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9999_next.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision, branch_labels, depends_on = '9999', '0004', None, None\n"
        "def upgrade():\n    op.add_column('runs', sa.Column('next', sa.Text))\n    raise RuntimeError('half way')\n"
    )
    before = _schema(tmp_path / NAME / "runs.db")
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "SCRIPTS", scripts)
        patch.setattr(revisions, "REVISIONS", ("0001", "0002", "0003", "0004", "9999"))
        with pytest.raises(RuntimeError, match="half way"):
            store_in(tmp_path).find(RunQuery())
    assert _schema(tmp_path / NAME / "runs.db") == before
    assert len(store_in(tmp_path).find(RunQuery())) == 1


def test_alembic_is_not_imported_where_nothing_is_due(tmp_path: Path) -> None:
    """It takes longer than the whole of `list`; making a store, adding and listing do without."""
    script = (
        "import sys; from pathlib import Path; from store.stores import store_in, profile; from proftool.contracts_store import RunQuery\n"
        f"folder = Path({str(tmp_path)!r}); store_in(folder).add(profile(1)); assert len(store_in(folder).find(RunQuery())) == 1\n"
        "print([name for name in sys.modules if name.startswith('alembic')])"
    )
    env = os.environ | {"PYTHONPATH": str(TESTS)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_listing_imports_neither_numpy_nor_a_profiler(tmp_path: Path) -> None:
    """Reading rows needs the database alone."""
    store_in(tmp_path).add(profile(1))
    script = (
        "import sys; from pathlib import Path; from proftool import settings; from proftool.store import open_store\n"
        "from proftool.workflows.history import list_runs\n"
        f"assert len(list_runs(open_store(settings.load(Path({str(tmp_path)!r}))))) == 1\n"
        "print([name for name in ('numpy', 'memray', 'pyinstrument', 'alembic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sqlalchemy_is_not_imported_to_add_or_find(tmp_path: Path) -> None:
    """It takes longer than a short program runs; only making, upgrading, changing and pruning a store need it."""
    store_in(tmp_path).add(profile(1))
    script = (
        "import sys; from pathlib import Path; from store.stores import store_in, profile; from proftool.contracts_store import RunQuery\n"
        f"store = store_in(Path({str(tmp_path)!r})); store.add(profile(2)); assert len(store.find(RunQuery(limit=5))) == 2\n"
        "assert store.size_bytes()\nprint([name for name in sys.modules if name.startswith('sqlalchemy')])"
    )
    env = os.environ | {"PYTHONPATH": str(TESTS)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_row_is_what_the_schema_says(tmp_path: Path) -> None:
    """Adding names its columns by the row; every column of the one schema, and no other, is there."""
    run = store_in(tmp_path).add(profile(1))
    row = row_of(profile(1), id=run.id, label=None, blob=run.blob, size_bytes=1, added_ns=1)
    assert list(row) == [column.name for column in schema.runs.columns]
