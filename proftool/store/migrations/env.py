"""Run by alembic: upgrade over the connection that migrate.py holds, inside its transaction."""

from alembic import context

from proftool.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
