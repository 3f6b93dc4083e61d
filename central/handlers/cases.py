"""Running cases: a command is one transaction, from the locked row to the gateway's order."""

from collections.abc import Callable, Mapping, Sequence

from central.domain.case_clocks import day_of
from central.domain.case_events import (
    GENESIS,
    CaseEvent,
    ChainedEvent,
    Fact,
    StepFinished,
    StepStarted,
    chain,
)
from central.domain.cases import (
    Actor,
    Case,
    Command,
    FinishStep,
    MarkMaterial,
    ResumeClocks,
    StartStep,
    SuspendClocks,
    decide,
    evolve,
    fold,
    forbidden_by,
    open_case,
)
from central.domain.flow_pack import FlowPack
from central.domain.refusals import Text, conflict, invalid
from central.domain.register import Place, User
from central.handlers.context import Context
from central.handlers.views import (
    CaseView,
    Names,
    read_case,
    read_names,
    summarise,
    view_within,
)
from central.ports import Change, StoredCase, Transaction
from contracts.wire.orders import StepOrder

MakeCommand = Callable[[Names], Command]


async def open_new(ctx: Context, user: User, *, item: str, applicant: str, place: str) -> CaseView:
    """Open a case at a counter, under the newest version of its pack."""
    pack = ctx.packs.get(item)
    if pack is None:
        raise invalid(Text(zh=f"没有事项「{item}」", en=f"There is no item {item}"), field="item")
    if not applicant.strip():
        raise invalid(Text(zh="申请人未填写", en="The applicant is empty"), field="applicant")
    now = ctx.clock.now()
    async with ctx.store.transaction() as tx:
        names = await read_names(tx, user.site)
        where = known_place(names, place)
        if where.kind != "counter":
            raise invalid(
                Text(zh=f"{where.name}不是窗口", en=f"{where.id} is no counter"), field="place"
            )
        series = f"{pack.number_prefix}{day_of(now):%Y%m%d}"
        no = f"{series}-{await tx.cases.next_number(f'{user.site}:{series}'):04}"
        facts = open_case(pack, no=no, applicant=applicant.strip(), place=place)
        events = _chained(no, (), facts, user, now)
        stored = StoredCase(
            no=no,
            site=user.site,
            item=pack.code,
            pack_version=pack.version,
            revision=1,
            saved_ns=None,
            drafts={},
            events=tuple(events),
        )
        case = fold(pack, [event.event for event in events])
        await tx.cases.add(stored, summarise(pack, case, user.site))
        await _announce(tx, user.site, no, 1)
        return await view_within(ctx, tx, user, no)


async def start_step(ctx: Context, user: User, no: str, *, seq: int, place: str) -> CaseView:
    """Begin a step at a place; its footage is ordered in the same transaction."""

    def command(names: Names) -> Command:
        return StartStep(seq=seq, place=place, place_kind=known_place(names, place).kind)

    return await _run(ctx, user, no, command)


async def finish_step(
    ctx: Context, user: User, no: str, *, seq: int, values: Mapping[str, str], revision: int
) -> CaseView:
    """Finish a step with its form."""

    def command(names: Names) -> Command:
        return FinishStep(seq=seq, values=values, persons=frozenset(names.persons))

    return await _run(ctx, user, no, command, revision=revision)


async def mark_material(
    ctx: Context, user: User, no: str, command: MarkMaterial, *, revision: int
) -> CaseView:
    """Say what was found about a material."""
    return await _run(ctx, user, no, lambda _: command, revision=revision)


async def suspend(
    ctx: Context, user: User, no: str, command: SuspendClocks, *, revision: int
) -> CaseView:
    """Stop the clocks."""
    return await _run(ctx, user, no, lambda _: command, revision=revision)


async def resume(ctx: Context, user: User, no: str) -> CaseView:
    """Let the clocks run again."""
    return await _run(ctx, user, no, lambda _: ResumeClocks())


async def save_draft(
    ctx: Context, user: User, no: str, *, seq: int, values: Mapping[str, str], revision: int
) -> CaseView:
    """Save a form half filled; only that of a running step, only by its role.

    Raises:
        Refused: 409 when somebody else saved meanwhile or the step does not run, 422 for a field
            that the form does not have.
    """
    async with ctx.store.transaction() as tx:
        stored, pack, case = await read_case(ctx, tx, user, no, lock=True)
        _check_revision(stored, revision)
        _check_draft(pack, case, user, seq, values)
        await tx.cases.save_draft(no, seq, values, at_ns=ctx.clock.now())
        await _announce(tx, user.site, no, stored.revision + 1)
        return await view_within(ctx, tx, user, no)


def known_place(names: Names, place: str) -> Place:
    """A place of the register.

    Raises:
        Refused: 422.
    """
    if place not in names.places:
        raise invalid(
            Text(zh=f"没有场所「{place}」", en=f"There is no place {place}"), field="place"
        )
    return names.places[place]


async def _run(
    ctx: Context, user: User, no: str, make_command: MakeCommand, *, revision: int | None = None
) -> CaseView:
    """Run a command; `revision` is what the page has seen, None when that does not matter."""
    now = ctx.clock.now()
    async with ctx.store.transaction() as tx:
        stored, pack, case = await read_case(ctx, tx, user, no, lock=True)
        if revision is not None:
            _check_revision(stored, revision)
        command = make_command(await read_names(tx, user.site))
        facts = decide(pack, case, command, actor_of(user))
        events = _chained(no, stored.events, facts, user, now)
        for event in events:
            case = evolve(pack, case, event.event)
            await _follow_up(ctx, tx, user.site, case, event.event)
        await tx.cases.append(no, events, summarise(pack, case, user.site))
        await _announce(tx, user.site, no, stored.revision + 1)
        return await view_within(ctx, tx, user, no)


def actor_of(user: User) -> Actor:
    """The user as the domain sees one."""
    return Actor(username=user.username, role=user.role, person=user.person)


async def _follow_up(
    ctx: Context, tx: Transaction, site: str, case: Case, event: CaseEvent
) -> None:
    """What a step's begin and end cause: the order to bind its footage, and no draft any more."""
    fact = event.fact
    if not isinstance(fact, StepStarted | StepFinished):
        return
    step = case.at(fact.seq)
    if isinstance(fact, StepFinished):
        await tx.cases.drop_draft(case.no, fact.seq)
    if step.started_ns is None or step.place is None:
        return
    order = StepOrder(
        id=ctx.new_id(),
        step=case.step_id(fact.seq),
        case=case.no,
        place=step.place,
        person=step.person or "",
        started_ns=step.started_ns,
        ended_ns=step.ended_ns,
    )
    await tx.journal.order(site, order, at_ns=event.at_ns)


def _chained(
    no: str, before: Sequence[ChainedEvent], facts: Sequence[Fact], user: User, now: int
) -> list[ChainedEvent]:
    seq = before[-1].seq if before else 0
    prev = before[-1].digest if before else GENESIS
    # Instants of one case never run backwards, even if the clock was set back meanwhile.
    at_ns = max(now, before[-1].event.at_ns) if before else now
    chained = []
    for fact in facts:
        event = CaseEvent(at_ns=at_ns, username=user.username, person=user.person, fact=fact)
        link = chain(no, seq=seq + 1, event=event, prev=prev)
        chained.append(link)
        seq, prev = link.seq, link.digest
    return chained


def _check_revision(stored: StoredCase, revision: int) -> None:
    if stored.revision != revision:
        raise conflict(
            Text(
                zh="办件已被他人修改，您看到的不是最新内容",
                en="Somebody changed the case meanwhile",
            ),
            code="stale",
            action="刷新页面后重试，已填的内容请先复制",
        )


def _check_draft(
    pack: FlowPack, case: Case, user: User, seq: int, values: Mapping[str, str]
) -> None:
    finish = FinishStep(seq=seq, values=values, persons=frozenset())
    deciding = {
        "unknown_step",
        "case_ended",
        "wrong_role",
        "no_person",
        "already_done",
        "not_begun",
    }
    for guard in forbidden_by(pack, case, finish, actor_of(user)):
        if guard.code in deciding:
            raise conflict(guard.text, code=guard.code, action=guard.action)
        if guard.code == "unknown_field":
            raise invalid(guard.text, field=guard.field)


async def _announce(tx: Transaction, site: str, no: str, revision: int) -> None:
    await tx.journal.announce(
        Change(kind="case", site=site, content={"no": no, "revision": revision})
    )
