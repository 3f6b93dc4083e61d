"""Cases in PostgreSQL."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from central.adapters.tables import (
    case_events,
    cases,
    footage_links,
    number_series,
    step_drafts,
)
from central.domain.case_events import CaseEvent, ChainedEvent, body_of, read_fact
from central.ports import CaseFilter, CaseSummary, StoredCase


class SqlCases:
    """See `central.ports.Cases`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def next_number(self, series: str) -> int:
        """The next number of a series; the row stays locked until the transaction ends."""
        new = upsert(number_series).values(series=series, last_number=1)
        statement = new.on_conflict_do_update(
            index_elements=[number_series.c.series],
            set_={"last_number": number_series.c.last_number + 1},
        ).returning(number_series.c.last_number)
        return int((await self._db.execute(statement)).scalar_one())

    async def add(self, case: StoredCase, summary: CaseSummary) -> None:
        """Store a new case with its first events."""
        values = {**_projection(summary), "no": case.no, "revision": case.revision}
        await self._db.execute(insert(cases).values(values))
        await self._insert_events(case.no, case.events)

    async def load(self, no: str, *, lock: bool = False) -> StoredCase | None:
        """A case; with `lock` its row is held until the transaction ends."""
        query = select(cases).where(cases.c.no == no)
        row = (await self._db.execute(query.with_for_update() if lock else query)).first()
        if row is None:
            return None
        events = await self._db.execute(
            select(case_events).where(case_events.c.case_no == no).order_by(case_events.c.seq)
        )
        drafts = await self._db.execute(
            select(step_drafts.c.seq, step_drafts.c["values"]).where(step_drafts.c.case_no == no)
        )
        return StoredCase(
            no=row.no,
            site=row.site,
            item=row.item,
            pack_version=row.pack_version,
            revision=row.revision,
            saved_ns=row.saved_ns,
            drafts={draft[0]: draft[1] for draft in drafts},
            events=tuple(_event(item) for item in events.mappings()),
        )

    async def append(self, no: str, events: Sequence[ChainedEvent], summary: CaseSummary) -> None:
        """Append events to a locked case and raise its revision."""
        await self._insert_events(no, events)
        await self._db.execute(
            update(cases)
            .where(cases.c.no == no)
            .values({**_projection(summary), "revision": cases.c.revision + 1})
        )

    async def save_draft(self, no: str, seq: int, values: Mapping[str, str], *, at_ns: int) -> None:
        """Store a half-filled form of a locked case and raise its revision."""
        new = upsert(step_drafts).values({"case_no": no, "seq": seq, "values": dict(values)})
        await self._db.execute(
            new.on_conflict_do_update(
                index_elements=[step_drafts.c.case_no, step_drafts.c.seq],
                set_={"values": new.excluded["values"]},
            )
        )
        await self._db.execute(
            update(cases)
            .where(cases.c.no == no)
            .values(revision=cases.c.revision + 1, saved_ns=at_ns)
        )

    async def drop_draft(self, no: str, seq: int) -> None:
        """Forget a form that has been handed in."""
        await self._db.execute(
            delete(step_drafts).where(step_drafts.c.case_no == no, step_drafts.c.seq == seq)
        )

    async def page(self, wanted: CaseFilter, *, size: int) -> tuple[int, list[CaseSummary]]:
        """How many there are, and one page, newest first."""
        total = await self._db.execute(_narrow(select(func.count()).select_from(cases), wanted))
        coverage = (
            select(func.min(footage_links.c.covered_permille))
            .where(footage_links.c.case_no == cases.c.no)
            .scalar_subquery()
            .label("coverage_permille")
        )
        rows = await self._db.execute(
            _narrow(select(cases, coverage), wanted)
            .order_by(cases.c.opened_ns.desc(), cases.c.no.desc())
            .limit(size)
            .offset((wanted.page - 1) * size)
        )
        return int(total.scalar_one()), [_summary(row) for row in rows.mappings()]

    async def _insert_events(self, no: str, events: Sequence[ChainedEvent]) -> None:
        rows = [
            {
                "case_no": no,
                "seq": item.seq,
                "at_ns": item.event.at_ns,
                "kind": item.event.kind,
                "username": item.event.username,
                "person": item.event.person,
                "body": body_of(item.event.fact),
                "prev": item.prev,
                "digest": item.digest,
            }
            for item in events
        ]
        await self._db.execute(insert(case_events), rows)


def _narrow(query: Select[Any], wanted: CaseFilter) -> Select[Any]:
    query = query.where(cases.c.site == wanted.site)
    if wanted.state is not None:
        query = query.where(cases.c.state == wanted.state)
    if wanted.role is not None:
        query = query.where(cases.c.step_role == wanted.role)
    if wanted.text:
        pattern = f"%{_escape(wanted.text)}%"
        query = query.where(
            or_(
                cases.c.no.ilike(pattern, escape="\\"),
                cases.c.applicant.ilike(pattern, escape="\\"),
            )
        )
    return query


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")


def _projection(summary: CaseSummary) -> dict[str, Any]:
    return {
        "site": summary.site,
        "item": summary.item,
        "pack_version": summary.pack_version,
        "applicant": summary.applicant,
        "unit": summary.unit,
        "place": summary.place,
        "state": summary.state,
        "step_seq": summary.step_seq,
        "step_role": summary.step_role,
        "opened_ns": summary.opened_ns,
        "clocks": [dict(clock) for clock in summary.clocks],
    }


def _summary(row: Mapping[Any, Any]) -> CaseSummary:
    return CaseSummary(
        no=row["no"],
        site=row["site"],
        item=row["item"],
        pack_version=row["pack_version"],
        applicant=row["applicant"],
        unit=row["unit"],
        place=row["place"],
        state=row["state"],
        step_seq=row["step_seq"],
        step_role=row["step_role"],
        opened_ns=row["opened_ns"],
        clocks=tuple(row["clocks"]),
        coverage_permille=row["coverage_permille"],
    )


def _event(row: Mapping[Any, Any]) -> ChainedEvent:
    event = CaseEvent(
        at_ns=row["at_ns"],
        username=row["username"],
        person=row["person"],
        fact=read_fact(row["kind"], row["body"]),
    )
    return ChainedEvent(seq=row["seq"], event=event, prev=row["prev"], digest=row["digest"])
