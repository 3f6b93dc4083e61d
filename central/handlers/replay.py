"""Replay: the reason is registered first; then, and only within it, footage is shown.

公共安全视频图像信息系统管理条例第十六条: every retrieval is registered with reason, content, unit
and name of the person.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from central.domain.case_events import CaseEvent
from central.domain.flow_pack import FlowPack
from central.domain.refusals import Text, conflict, denied, invalid, not_found
from central.domain.register import User
from central.domain.replay import OPEN_FOR_NS, clip, opened_by, streams_at
from central.handlers.context import Context
from central.handlers.views import PAGE_SIZE, Names, read_case, read_names
from central.ports import OpenFile, Permit, StoredRetrieval
from contracts.errors import Unavailable
from contracts.ids import split_stream_id
from contracts.timestamps import CHINA, NS, from_datetime
from contracts.wire.access import PunchFact
from contracts.wire.footage import Timeline
from contracts.wire.presence import PresenceFact

_MOST_SPAN_NS = 31 * 86_400 * NS
_GATEWAY_WAIT_S = 5.0
_LEAST_REASON = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A stream's footage within the range; `timeline` None when the gateway did not answer."""

    stream: str
    timeline: Timeline | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineView:
    """The lanes of a case page."""

    span: tuple[int, int]
    now_ns: int
    pack: FlowPack
    names: Names
    presence: tuple[PresenceFact, ...]
    punches: tuple[PunchFact, ...]
    operations: tuple[CaseEvent, ...]
    lanes: tuple[Lane, ...]


async def open_retrieval(
    ctx: Context, user: User, no: str, *, step: int | None, reason: str, basis: str
) -> StoredRetrieval:
    """Register why footage is wanted; opens it for two hours.

    Raises:
        Refused: 404 no such case or step, 409 nothing has begun yet, 422 the reason is blank.
    """
    reason = reason.strip()
    if len(reason) < _LEAST_REASON:
        raise invalid(
            Text(zh="调阅事由至少 10 个字", en="The reason needs at least 10 characters"),
            field="reason",
        )
    now = ctx.clock.now()
    expires = now + OPEN_FOR_NS
    async with ctx.store.transaction() as tx:
        _, pack, case = await read_case(ctx, tx, user, no)
        if step is not None and pack.step(step) is None:
            raise not_found(Text(zh=f"没有第 {step} 个环节", en=f"There is no step {step}"))
        opened = opened_by(case, step, until_ns=expires)
        if opened is None:
            raise conflict(
                Text(
                    zh="环节尚未开始，没有影像可调阅", en="Nothing has begun; there is no footage"
                ),
                code="nothing_begun",
            )
        devices = await tx.register.devices(user.site)
        retrieval = StoredRetrieval(
            id=ctx.new_id(),
            site=user.site,
            case_no=no,
            step=step,
            username=user.username,
            user_name=user.name,
            unit=user.unit,
            reason=reason,
            basis=basis,
            at_ns=now,
            expires_ns=expires,
            from_ns=opened.from_ns,
            to_ns=opened.to_ns,
            streams=streams_at(devices, opened.places),
        )
        await tx.retrievals.add(retrieval)
        await tx.journal.audit(
            at_ns=now,
            username=user.username,
            action="retrieval_opened",
            body={"retrieval": retrieval.id, "case": no, "step": step, "reason": reason},
        )
    return retrieval


async def register_page(
    ctx: Context, user: User, *, month: str | None, page: int
) -> tuple[int, list[StoredRetrieval]]:
    """How many lines the register has (of a month, ``YYYY-MM``), and one page of them."""
    span = None if month is None else _month(month)
    async with ctx.store.transaction() as tx:
        return await tx.retrievals.page(user.site, span, page=page, size=PAGE_SIZE)


async def timeline(
    ctx: Context, user: User, no: str, *, span: tuple[int, int], retrieval_id: str | None
) -> TimelineView:
    """Lanes of a case within [from, to). Events need no retrieval, footage does."""
    check_span(span)
    async with ctx.store.transaction() as tx:
        stored, pack, case = await read_case(ctx, tx, user, no)
        retrieval = None
        if retrieval_id is not None:
            retrieval = check_open(ctx, user, await tx.retrievals.get(retrieval_id), case_no=no)
        places = sorted({case.place, *(s.place for s in case.steps if s.place is not None)})
        names = await read_names(tx, user.site)
        presence = await tx.facts.presence(user.site, places, span)
        punches = await tx.facts.punches(user.site, places, span)
    operations = [item.event for item in stored.events if span[0] <= item.event.at_ns < span[1]]
    lanes = [] if retrieval is None else await _lanes(ctx, user, retrieval, span)
    return TimelineView(
        span=span,
        now_ns=ctx.clock.now(),
        pack=pack,
        names=names,
        presence=tuple(presence),
        punches=tuple(punches),
        operations=tuple(operations),
        lanes=tuple(lanes),
    )


async def playlist(
    ctx: Context, user: User, retrieval_id: str, stream: str, *, span: tuple[int, int]
) -> bytes:
    """HLS playlist of a stream, cut to what the retrieval opens. Counts as a view."""
    check_span(span)
    async with ctx.store.transaction() as tx:
        retrieval = check_open(ctx, user, await tx.retrievals.get(retrieval_id), stream=stream)
        part = clip(span, (retrieval.from_ns, retrieval.to_ns))
        if part is None:
            raise denied(
                Text(
                    zh="此时段不在登记的调阅范围内",
                    en="That time is outside the registered retrieval",
                ),
                code="outside_retrieval",
                action="重新登记调阅",
            )
        await tx.retrievals.count_view(retrieval.id)
        await tx.journal.audit(
            at_ns=ctx.clock.now(),
            username=user.username,
            action="footage_viewed",
            body={
                "retrieval": retrieval.id,
                "stream": stream,
                "from_ns": part[0],
                "to_ns": part[1],
            },
        )
    return await ctx.gateways.playlist(_permit(user, retrieval), stream, part)


async def footage_file(
    ctx: Context, user: User, retrieval_id: str, stream: str, name: str, headers: Mapping[str, str]
) -> OpenFile:
    """Bytes of a footage file. The gateway checks the permit's range again."""
    async with ctx.store.transaction() as tx:
        retrieval = check_open(ctx, user, await tx.retrievals.get(retrieval_id), stream=stream)
    return ctx.gateways.file(_permit(user, retrieval), stream, name, headers)


def check_open(
    ctx: Context,
    user: User,
    retrieval: StoredRetrieval | None,
    *,
    case_no: str | None = None,
    stream: str | None = None,
) -> StoredRetrieval:
    """A retrieval that this user opened, for this case and stream, and that has not expired.

    Raises:
        Refused: 404 unknown or another's, 403 expired or not for that stream.
    """
    if (
        retrieval is None
        or retrieval.username != user.username
        or retrieval.site != user.site
        or (case_no is not None and retrieval.case_no != case_no)
    ):
        raise not_found(Text(zh="没有这次调阅登记", en="There is no such retrieval"))
    if ctx.clock.now() >= retrieval.expires_ns:
        raise denied(
            Text(zh="调阅登记已过期（两小时）", en="The retrieval has expired (two hours)"),
            code="retrieval_expired",
            action="重新登记调阅",
        )
    if stream is not None and stream not in retrieval.streams:
        raise denied(
            Text(
                zh="此路影像不在登记的调阅范围内",
                en="That stream is outside the registered retrieval",
            ),
            code="outside_retrieval",
        )
    return retrieval


def check_span(span: tuple[int, int]) -> None:
    """A range that makes sense.

    Raises:
        Refused: 422.
    """
    if span[0] >= span[1]:
        raise invalid(Text(zh="止于应在起于之后", en="to_ms must be after from_ms"), field="to_ms")
    if span[1] - span[0] > _MOST_SPAN_NS:
        raise invalid(Text(zh="一次至多 31 天", en="At most 31 days at once"), field="to_ms")


async def _lanes(
    ctx: Context, user: User, retrieval: StoredRetrieval, span: tuple[int, int]
) -> list[Lane]:
    part = clip(span, (retrieval.from_ns, retrieval.to_ns))
    if part is None:
        return []
    permit = _permit(user, retrieval)

    async def ask(stream: str) -> Lane:
        try:
            async with asyncio.timeout(_GATEWAY_WAIT_S):
                found = await ctx.gateways.timeline(permit, stream, part)
        except (Unavailable, TimeoutError):
            return Lane(stream=stream, timeline=None)
        return Lane(stream=stream, timeline=found)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(stream), name=stream) for stream in retrieval.streams]
    return [task.result() for task in tasks]


def _permit(user: User, retrieval: StoredRetrieval) -> Permit:
    return Permit(
        use="replay",
        site=retrieval.site,
        user=user.username,
        case=retrieval.case_no,
        streams=retrieval.streams,
        not_before_ns=retrieval.from_ns,
        not_after_ns=retrieval.to_ns,
    )


def _month(text: str) -> tuple[int, int]:
    start = datetime.strptime(text, "%Y-%m").replace(tzinfo=CHINA)
    following = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return from_datetime(start), from_datetime(following)


def device_of(stream: str) -> str:
    """The device a stream belongs to."""
    return split_stream_id(stream)[0]
