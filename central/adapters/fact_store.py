"""Facts of gateways in PostgreSQL: the same whatever the order and number of their arrivals."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, func, insert, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from central.adapters.tables import (
    device_health,
    footage_links,
    presence,
    punches,
    rejected_facts,
)
from central.ports import Fact
from contracts.wire.access import PunchFact
from contracts.wire.footage import FootageLinkFact
from contracts.wire.presence import DeviceHealthFact, PresenceFact

_MOST_ROWS = 5000
_MOST_RAW_BYTES = 64 * 1024


class SqlFacts:
    """See `central.ports.Facts`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def store(self, site: str, fact: Fact) -> bool:
        """Store a fact; False when it was known or is older than what is known."""
        if isinstance(fact, PunchFact):
            statement = _punch(site, fact)
        elif isinstance(fact, PresenceFact):
            statement = _presence(site, fact)
        elif isinstance(fact, DeviceHealthFact):
            statement = _health(site, fact)
        else:
            statement = _link(site, fact)
        return (await self._db.execute(statement)).first() is not None

    async def store_rejected(self, site: str, subject: str, raw: bytes, reason: str) -> None:
        """Keep what could not be read, so that nothing vanishes."""
        await self._db.execute(
            insert(rejected_facts).values(
                site=site, subject=subject, raw=raw[:_MOST_RAW_BYTES], reason=reason
            )
        )

    async def punches(
        self, site: str, places: Sequence[str], span: tuple[int, int]
    ) -> list[PunchFact]:
        """Punches at places within [from, to), in order of time."""
        start, end = span
        query = (
            select(punches.c.body)
            .where(
                punches.c.site == site,
                punches.c.place.in_(places),
                punches.c.at_ns >= start,
                punches.c.at_ns < end,
            )
            .order_by(punches.c.at_ns, punches.c.device, punches.c.seq)
            .limit(_MOST_ROWS)
        )
        rows = await self._db.execute(query)
        return [PunchFact.model_validate(body) for body in rows.scalars()]

    async def presence(
        self, site: str, places: Sequence[str], span: tuple[int, int]
    ) -> list[PresenceFact]:
        """Presence intervals at places that touch [from, to), in order of time."""
        start, end = span
        query = (
            select(presence.c.body)
            .where(
                presence.c.site == site,
                presence.c.place.in_(places),
                presence.c.from_ns < end,
                or_(presence.c.to_ns.is_(None), presence.c.to_ns > start),
            )
            .order_by(presence.c.from_ns, presence.c.id)
            .limit(_MOST_ROWS)
        )
        rows = await self._db.execute(query)
        return [PresenceFact.model_validate(body) for body in rows.scalars()]

    async def health(self, site: str) -> dict[str, DeviceHealthFact]:
        """Latest health of each device."""
        query = select(device_health.c.device, device_health.c.body).where(
            device_health.c.site == site
        )
        rows = await self._db.execute(query)
        return {row.device: DeviceHealthFact.model_validate(row.body) for row in rows}

    async def links(self, case_no: str) -> dict[str, FootageLinkFact]:
        """Latest footage link of each step of a case, by step id."""
        query = select(footage_links.c.step, footage_links.c.body).where(
            footage_links.c.case_no == case_no
        )
        rows = await self._db.execute(query)
        return {row.step: FootageLinkFact.model_validate(row.body) for row in rows}


def _punch(site: str, fact: PunchFact) -> Any:
    new = upsert(punches).values(
        id=fact.id,
        site=site,
        device=fact.device,
        seq=fact.seq,
        place=fact.place,
        person=fact.person,
        at_ns=fact.at_ns,
        body=fact.model_dump(mode="json"),
    )
    kept = punches.c
    revision = func.coalesce(kept.body["revision"].as_integer(), 0)
    return new.on_conflict_do_update(
        index_elements=[kept.id],
        set_={name: new.excluded[name] for name in ("place", "person", "body")},
        where=and_(
            revision < fact.revision,
            kept.site == site,
            kept.device == fact.device,
            # A later register may add, never replace, whose punch it was.
            or_(kept.person.is_(None), kept.person == new.excluded.person),
            or_(kept.place.is_(None), kept.place == new.excluded.place),
        ),
    ).returning(kept.id)


def _presence(site: str, fact: PresenceFact) -> Any:
    new = upsert(presence).values(
        id=fact.id,
        site=site,
        place=fact.place,
        revision=fact.revision,
        from_ns=fact.from_ns,
        to_ns=fact.to_ns,
        body=fact.model_dump(mode="json"),
    )
    columns = ("place", "revision", "from_ns", "to_ns", "body")
    return new.on_conflict_do_update(
        index_elements=[presence.c.id],
        set_={name: new.excluded[name] for name in columns},
        where=and_(new.excluded.revision > presence.c.revision, presence.c.site == site),
    ).returning(presence.c.id)


def _health(site: str, fact: DeviceHealthFact) -> Any:
    new = upsert(device_health).values(
        site=site,
        device=fact.device,
        at_ns=fact.at_ns,
        fact_id=fact.id,
        body=fact.model_dump(mode="json"),
    )
    newer = or_(
        new.excluded.at_ns > device_health.c.at_ns,
        # Two facts of one instant: the greater id counts, whichever comes first.
        and_(
            new.excluded.at_ns == device_health.c.at_ns,
            new.excluded.fact_id > device_health.c.fact_id,
        ),
    )
    return new.on_conflict_do_update(
        index_elements=[device_health.c.site, device_health.c.device],
        set_={name: new.excluded[name] for name in ("at_ns", "fact_id", "body")},
        where=newer,
    ).returning(device_health.c.device)


def _link(site: str, fact: FootageLinkFact) -> Any:
    new = upsert(footage_links).values(
        step=fact.step,
        site=site,
        case_no=fact.case,
        revision=fact.revision,
        covered_permille=fact.covered_permille,
        body=fact.model_dump(mode="json"),
    )
    columns = ("revision", "covered_permille", "body")
    return new.on_conflict_do_update(
        index_elements=[footage_links.c.step],
        set_={name: new.excluded[name] for name in columns},
        where=and_(new.excluded.revision > footage_links.c.revision, footage_links.c.site == site),
    ).returning(footage_links.c.step)
