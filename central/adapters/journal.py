"""The audit chain, the outbox of orders and notices of change, in PostgreSQL."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from central.adapters.tables import audit_events, order_outbox
from central.ports import Change
from contracts.canonical import digest
from contracts.wire.orders import SiteOrder, StepOrder

CHANNEL = "mingjing_changes"
GENESIS = "0" * 64
_AUDIT_LOCK = 7_226_001
"""Advisory lock: one transaction at a time appends to the audit chain."""


class SqlJournal:
    """See `central.ports.Journal`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def audit(
        self, *, at_ns: int, username: str, action: str, body: Mapping[str, Any]
    ) -> None:
        """Append to the hash-chained audit log."""
        await self._db.execute(select(func.pg_advisory_xact_lock(_AUDIT_LOCK)))
        query = select(audit_events.c.seq, audit_events.c.digest)
        last = (await self._db.execute(query.order_by(audit_events.c.seq.desc()).limit(1))).first()
        event = {
            "seq": 1 if last is None else last.seq + 1,
            "at_ns": at_ns,
            "username": username,
            "action": action,
            "body": dict(body),
            "prev": GENESIS if last is None else last.digest,
        }
        await self._db.execute(insert(audit_events).values(**event, digest=digest(event)))

    async def check_audit(self) -> int | None:
        """Number of the first audit event that does not fit; None when the chain is whole."""
        prev = GENESIS
        rows = await self._db.execute(select(audit_events).order_by(audit_events.c.seq))
        for number, row in enumerate(rows.mappings(), 1):
            event = {key: value for key, value in row.items() if key != "digest"}
            if row["seq"] != number or row["prev"] != prev or row["digest"] != digest(event):
                return number
            prev = row["digest"]
        return None

    async def order(self, site: str, order: SiteOrder | StepOrder, *, at_ns: int) -> None:
        """Put an order for a site's gateway into the outbox."""
        await self._db.execute(
            insert(order_outbox).values(
                site=site,
                kind=order.KIND,
                message_id=order.id,
                body=order.model_dump(mode="json"),
                at_ns=at_ns,
            )
        )
        await self.announce(Change(kind="order", site=site))

    async def announce(self, change: Change) -> None:
        """Tell every central process; PostgreSQL sends it if and when the commit succeeds."""
        text = json.dumps(
            {"kind": change.kind, "site": change.site, "content": dict(change.content)},
            ensure_ascii=False,
        )
        await self._db.execute(select(func.pg_notify(CHANNEL, text)))
