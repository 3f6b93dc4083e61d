"""Takes orders from the outbox to the broker, oldest first, until each is confirmed."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from central.adapters.tables import order_outbox
from central.adapters.unit_of_work import OUTAGES, explain

_BATCH = 100
_PUBLISHER_LOCK = 7_226_003
"""Advisory lock: one central process publishes at a time, which keeps the order."""

Publish = Callable[[str, str, str, dict[str, Any]], Awaitable[None]]
"""Site, kind, message id, body; returns when the broker holds it durably."""


async def publish_pending(engine: AsyncEngine, publish: Publish) -> int:
    """Publish what waits; gives how many were confirmed.

    An order is deleted after the broker's confirmation. Should the deletion be lost, it is
    published again under the same message id, and the gateway knows the order by its id.

    Raises:
        Unavailable: broker or database are not there; the rest stays in the outbox.
    """
    try:
        async with engine.begin() as db:
            mine = await db.execute(select(func.pg_try_advisory_xact_lock(_PUBLISHER_LOCK)))
            if not mine.scalar_one():
                return 0
            rows = await db.execute(select(order_outbox).order_by(order_outbox.c.id).limit(_BATCH))
            done: list[int] = []
            try:
                for row in rows.mappings().all():
                    await publish(row["site"], row["kind"], row["message_id"], row["body"])
                    done.append(row["id"])
            finally:
                if done:
                    await db.execute(delete(order_outbox).where(order_outbox.c.id.in_(done)))
                    await db.commit()
            return len(done)
    except (DBAPIError, *OUTAGES) as exc:
        raise explain(exc) from exc
