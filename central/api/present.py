"""Views as bodies: nanoseconds become milliseconds, ids get their names."""

from central.api import schemas as s
from central.domain.case_events import CaseEvent, ChainedEvent
from central.domain.clocks import LedgerDay, Reckoning
from central.domain.flow_pack import FlowPack
from central.domain.history import sentence, step_seq
from central.domain.masking import mask_name
from central.domain.permissions import PAGES
from central.domain.refusals import Guard
from central.domain.register import User
from central.handlers.live import DeviceView, StreamView
from central.handlers.replay import Lane, TimelineView, device_of
from central.handlers.views import CaseView, Names, RowView, WhyView
from central.ports import StoredRetrieval
from contracts.timestamps import NS_PER_MS
from contracts.wire.footage import FootageLinkFact, Gap, StreamCoverage

_LIMIT_UNITS = {"working_day": "个工作日", "calendar_day": "日"}


def ms(wall_ns: int) -> int:
    """Milliseconds of a wall time, rounded down."""
    return wall_ns // NS_PER_MS


def maybe_ms(wall_ns: int | None) -> int | None:
    """The same where there may be none."""
    return None if wall_ns is None else ms(wall_ns)


def me(user: User) -> s.Me:
    """The signed-in user."""
    return s.Me(
        username=user.username,
        name=user.name,
        unit=user.unit,
        role=user.role,
        person=user.person,
        must_change_password=user.must_change_password,
        pages=list(PAGES[user.role]),
        site_name=user.site_name,
    )


def device(view: DeviceView) -> s.Device:
    """A device."""
    fact = view.fact
    return s.Device(
        id=view.device.id,
        device_class=view.device.device_class,
        name=view.device.name,
        place=view.device.place,
        place_name=view.place_name,
        health=view.health,
        cause=fact.cause if fact is not None else "",
        detail=view.detail,
        since_ms=None if fact is None else ms(fact.at_ns),
        spool_pending=0 if fact is None else fact.spool_pending,
        clock_offset_ms=None if fact is None else fact.clock_offset_ms,
        streams=[f"{view.device.id}.{name}" for name in view.device.streams],
        maker=fact.maker if fact is not None else "",
        model=fact.model if fact is not None else "",
        firmware=fact.firmware if fact is not None else "",
        serial=fact.serial if fact is not None else "",
    )


def stream(view: StreamView) -> s.Stream:
    """A live stream."""
    return s.Stream(
        stream=view.stream,
        device=view.device.device.id,
        name=view.device.device.name,
        place=view.device.device.place,
        place_name=view.device.place_name,
        health=view.device.health,
    )


def item(pack: FlowPack) -> s.Item:
    """An item a case can be opened for."""
    return s.Item(
        code=pack.code, name=pack.name, version=pack.version, legal_basis=list(pack.legal_basis)
    )


def due(reckoning: Reckoning) -> s.Due:
    """A limit."""
    ledger = reckoning.ledger
    return s.Due(
        clock=ledger.code,
        kind=ledger.kind,
        state=reckoning.state,
        due_date=reckoning.due.isoformat(),
        due_status=reckoning.status,
        budget=ledger.budget,
        used=reckoning.used,
        left=reckoning.left,
        unit=ledger.unit,
        source=ledger.source,
    )


def row(view: RowView) -> s.CaseRow:
    """A line of a list."""
    summary = view.summary
    return s.CaseRow(
        no=summary.no,
        item=summary.item,
        item_name=view.item_name,
        applicant_masked=mask_name(summary.applicant),
        unit=summary.unit,
        place=summary.place,
        state=summary.state,
        step_seq=summary.step_seq,
        step_name=view.step_name,
        opened_ms=ms(summary.opened_ns),
        due=None if view.due is None else due(view.due),
        coverage_permille=summary.coverage_permille,
    )


def guard(found: Guard) -> s.Guard:
    """A guard."""
    return s.Guard(
        code=found.code,
        text=found.text.zh,
        text_en=found.text.en,
        article=found.article,
        action=found.action,
        field=found.field,
    )


def case(view: CaseView) -> s.Case:
    """A case."""
    found, pack = view.case, view.pack
    return s.Case(
        no=found.no,
        item=found.item,
        item_name=pack.name,
        pack_version=found.pack_version,
        applicant_masked=mask_name(found.applicant),
        unit=found.unit,
        place=found.place,
        place_name=view.names.place(found.place),
        state=found.state,
        opened_ms=ms(found.opened_ns),
        clocks=[due(clock) for clock in view.clocks if clock.ledger.kind != "step"],
        steps=[_step(view, seq) for seq in range(1, len(found.steps) + 1)],
        materials=[
            s.Material(
                code=material.code,
                name=material.name,
                required=material.required,
                state=found.materials[material.code].state,
                source=material.source,
                note=found.materials[material.code].note,
            )
            for material in pack.materials
        ],
        guards=[guard(one) for one in view.guards],
        events=[_chained(one, pack, view.names) for one in view.stored.events],
        revision=view.stored.revision,
        saved_ms=maybe_ms(view.stored.saved_ns),
    )


def _step(view: CaseView, seq: int) -> s.Step:
    definition, progress = view.pack.steps[seq - 1], view.case.at(seq)
    clock = next((c for c in view.clocks if c.ledger.code == f"step-{seq}"), None)
    step_id = view.case.step_id(seq)
    link = view.links.get(step_id)
    limit = definition.limit
    values = view.stored.drafts.get(seq, progress.values)
    return s.Step(
        id=step_id,
        seq=seq,
        code=definition.code,
        name=definition.name,
        role=definition.role,
        state=progress.state,
        place=progress.place,
        place_name=view.names.place(progress.place),
        person=progress.person,
        person_name=view.names.person(progress.person),
        started_ms=maybe_ms(progress.started_ns),
        ended_ms=maybe_ms(progress.ended_ns),
        legal_basis=definition.legal_basis,
        limit_text="" if limit is None else f"{limit.days} {_LIMIT_UNITS[limit.unit]}",
        due=None if clock is None else due(clock),
        link=None if link is None else _link(link, view.names),
        form=[
            s.FormField(
                code=field.code,
                label=field.label,
                kind=field.kind,
                required=field.required,
                choices=list(field.choices),
                help=field.help,
            )
            for field in definition.form
        ],
        values=dict(values),
        makes=list(definition.makes),
    )


def _link(fact: FootageLinkFact, names: Names) -> s.StepLink:
    return s.StepLink(
        revision=fact.revision,
        final=fact.final,
        covered_permille=fact.covered_permille,
        streams=[_coverage(one, fact, names) for one in fact.streams],
    )


def _coverage(one: StreamCoverage, fact: FootageLinkFact, names: Names) -> s.StepLinkStream:
    missing = 0
    for gap in one.gaps:
        start = max(gap.from_ns, fact.from_ns)
        end = fact.to_ns if gap.to_ns is None else min(gap.to_ns, fact.to_ns)
        missing += max(0, end - start)
    return s.StepLinkStream(
        stream=one.stream,
        device_name=names.device(one.device),
        covered_permille=one.covered_permille,
        missing_ms=ms(missing),
        clock_offset_ms=one.clock_offset_ms,
        gaps=[_gap(gap) for gap in one.gaps],
    )


def _gap(gap: Gap) -> s.GapOut:
    return s.GapOut(
        from_ms=ms(gap.from_ns), to_ms=maybe_ms(gap.to_ns), cause=gap.cause, detail=gap.detail
    )


def _chained(chained: ChainedEvent, pack: FlowPack, names: Names) -> s.CaseEvent:
    return event(chained.event, pack, names)


def event(happened: CaseEvent, pack: FlowPack, names: Names) -> s.CaseEvent:
    """A line of a case's history."""
    return s.CaseEvent(
        at_ms=ms(happened.at_ns),
        kind=happened.kind,
        text=sentence(pack, happened),
        person_name=names.person(happened.person) or happened.username,
        step_seq=step_seq(happened),
    )


def why(view: WhyView) -> s.Why:
    """The ledger of a clock."""
    return s.Why(
        due=due(view.reckoning),
        days=[_day(day, view) for day in view.days],
        rules=[
            s.WhyRule(text=rule.text, source=rule.source, pending=rule.pending)
            for rule in view.rules
        ],
    )


def _day(day: LedgerDay, view: WhyView) -> s.DayCell:
    return s.DayCell(
        date=day.day.isoformat(),
        kind=day.kind,
        name=day.name,
        count=day.count,
        past=day.day < view.today,
        today=day.day == view.today,
        provisional=day.provisional,
    )


def retrieval(found: StoredRetrieval) -> s.Retrieval:
    """A line of the register."""
    return s.Retrieval(
        id=found.id,
        case_no=found.case_no,
        step=found.step,
        user=found.username,
        user_name=found.user_name,
        unit=found.unit,
        reason=found.reason,
        basis=found.basis,
        at_ms=ms(found.at_ns),
        expires_ms=ms(found.expires_ns),
        from_ms=ms(found.from_ns),
        to_ms=ms(found.to_ns),
        views=found.views,
    )


def timeline(view: TimelineView) -> s.CaseTimeline:
    """The lanes of a case page."""
    return s.CaseTimeline(
        from_ms=ms(view.span[0]),
        to_ms=ms(view.span[1]),
        now_ms=ms(view.now_ns),
        presence=[
            s.PresenceLane(
                place=fact.place,
                state=fact.state,
                from_ms=ms(fact.from_ns),
                to_ms=maybe_ms(fact.to_ns),
                most_people=fact.most_people,
                cause=fact.cause,
                model=fact.model,
            )
            for fact in view.presence
        ],
        punches=[
            s.PunchMark(
                id=fact.id,
                at_ms=ms(fact.at_ns),
                device=fact.device,
                person=fact.person,
                person_name=view.names.person(fact.person) or f"未登记 {fact.terminal_user}",
                direction=fact.direction,
                verify=fact.verify,
                origin=fact.origin,
            )
            for fact in view.punches
        ],
        operations=[event(one, view.pack, view.names) for one in view.operations],
        streams=[_lane(lane, view.names) for lane in view.lanes],
    )


def _lane(lane: Lane, names: Names) -> s.StreamLane:
    device_id = device_of(lane.stream)
    known = names.devices.get(device_id)
    place_name = names.place(known.place) if known is not None else ""
    found = lane.timeline
    codec = found.codec if found is not None else None
    return s.StreamLane(
        stream=lane.stream,
        device=device_id,
        name=names.device(device_id),
        place_name=place_name,
        recorded=[]
        if found is None
        else [s.Span(from_ms=ms(one.from_ns), to_ms=ms(one.to_ns)) for one in found.recorded],
        gaps=[] if found is None else [_gap(gap) for gap in found.gaps],
        codec=codec,
        playable=codec is not None and codec.startswith("avc1"),
        clock_offset_ms=None if found is None else found.clock_offset_ms,
        reachable=found is not None,
    )
