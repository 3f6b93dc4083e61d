"""Transactions on PostgreSQL, and its errors told as ours."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from central.adapters.access_store import SqlAccess
from central.adapters.case_store import SqlCases
from central.adapters.fact_store import SqlFacts
from central.adapters.journal import SqlJournal
from central.adapters.register_store import SqlRegister
from central.adapters.retrieval_store import SqlRetrievals
from contracts.errors import Conflict, InvalidInput, MingjingError, Unavailable

_POOL = 8
_OVERFLOW = 8
_WAIT_S = 5.0

OUTAGES = (PoolTimeout, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What connecting raises beside SQLAlchemy's own errors (TimeoutError is an OSError)."""


def make_engine(url: str) -> AsyncEngine:
    """An engine that finds out about broken connections before it uses them."""
    return create_async_engine(
        url,
        pool_size=_POOL,
        max_overflow=_OVERFLOW,
        pool_timeout=_WAIT_S,
        pool_pre_ping=True,
        connect_args={"timeout": _WAIT_S, "command_timeout": 30.0},
    )


class SqlTransaction:
    """See `central.ports.Transaction`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.cases = SqlCases(connection)
        self.register = SqlRegister(connection)
        self.access = SqlAccess(connection)
        self.facts = SqlFacts(connection)
        self.retrievals = SqlRetrievals(connection)
        self.journal = SqlJournal(connection)


class SqlStore:
    """See `central.ports.Store`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlTransaction]:
        """A transaction: committed at the end, rolled back by an exception.

        Raises:
            Unavailable: the database is not there.
            Conflict: another transaction was first.
            InvalidInput: a value that PostgreSQL cannot hold.
        """
        try:
            async with self._engine.begin() as connection:
                yield SqlTransaction(connection)
        except (DBAPIError, *OUTAGES) as exc:
            raise explain(exc) from exc


def explain(error: Exception) -> MingjingError:
    """What a database error means for us."""
    origin = getattr(error, "orig", None)
    code = str(getattr(origin or error, "sqlstate", "") or "")
    if code.startswith("22"):
        return InvalidInput("文本里有不能保存的字符")
    if code in {"23505", "40001", "40P01"}:
        return Conflict("同时有别的修改，请刷新后重试")
    if code.startswith(("08", "28", "3D", "53", "57", "58")) or not isinstance(error, DBAPIError):
        return Unavailable(f"数据库现在不可用：{_short(error)}")
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return Unavailable(f"数据库现在不可用：{_short(error)}")
    raise error


def _short(error: Exception) -> str:
    origin = getattr(error, "orig", None) or error
    return f"{type(origin).__name__}: {str(origin).splitlines()[0] if str(origin) else ''}"[:200]
