"""Alembic's environment: runs on the connection that `central.adapters.schema` hands over."""

from alembic import context

from central.adapters.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
