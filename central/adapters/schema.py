"""Brings the database to the newest schema; several processes may start at once."""

from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

_MIGRATION_LOCK = 7_226_000
"""Advisory lock, held by the one process that migrates."""


async def upgrade(engine: AsyncEngine) -> None:
    """Run what is missing of the migrations, in one transaction."""
    async with engine.begin() as connection:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        await connection.run_sync(_run)


def configuration(connection: Connection, folder: str) -> Config:
    """Alembic's configuration for a connection; no ini file."""
    config = Config()
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _run(connection: Connection) -> None:
    with as_file(files("central.adapters.migrations")) as folder:
        command.upgrade(configuration(connection, str(folder)), "head")
