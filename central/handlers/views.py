"""Looking at cases: one with everything about it, a page of a list, the ledger of a clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from central.domain.case_clocks import Rule, clocks_of, day_of, main_clock, rules_of
from central.domain.case_json import ledger_from_json, ledger_to_json
from central.domain.cases import Actor, Case, FinishStep, StartStep, fold, forbidden_by
from central.domain.clocks import LedgerDay, Reckoning, ledger_days, reckon
from central.domain.flow_pack import CaseState, FlowPack
from central.domain.refusals import Guard, Text, not_found
from central.domain.register import Device, Person, Place, User
from central.handlers.context import Context
from central.ports import CaseFilter, CaseSummary, StoredCase, Transaction
from contracts.errors import Unavailable
from contracts.wire.footage import FootageLinkFact

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Who and what ids stand for."""

    persons: Mapping[str, Person]
    places: Mapping[str, Place]
    devices: Mapping[str, Device]

    def person(self, key: str | None) -> str:
        """A person's name; the id when it is not known any more."""
        return "" if key is None else self.persons[key].name if key in self.persons else key

    def place(self, key: str | None) -> str:
        """A place's name."""
        return "" if key is None else self.places[key].name if key in self.places else key

    def device(self, key: str) -> str:
        """A device's name."""
        return self.devices[key].name if key in self.devices else key


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """A case and everything a page shows of it."""

    stored: StoredCase
    case: Case
    pack: FlowPack
    clocks: tuple[Reckoning, ...]
    guards: tuple[Guard, ...]
    links: Mapping[str, FootageLinkFact]
    names: Names


@dataclass(frozen=True, slots=True, kw_only=True)
class RowView:
    """A line of a list."""

    summary: CaseSummary
    item_name: str
    step_name: str
    due: Reckoning | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyView:
    """The ledger of one clock."""

    reckoning: Reckoning
    days: tuple[LedgerDay, ...]
    rules: tuple[Rule, ...]
    today: date


async def read_names(tx: Transaction, site: str) -> Names:
    """The register of a site, by id."""
    return Names(
        persons={item.id: item for item in await tx.register.persons(site)},
        places={item.id: item for item in await tx.register.places(site)},
        devices={item.id: item for item in await tx.register.devices(site)},
    )


async def read_case(
    ctx: Context, tx: Transaction, user: User, no: str, *, lock: bool = False
) -> tuple[StoredCase, FlowPack, Case]:
    """A case of the user's site.

    Raises:
        Refused: 404.
        Unavailable: its flow pack is not installed.
    """
    stored = await tx.cases.load(no, lock=lock)
    if stored is None or stored.site != user.site:
        raise no_case(no)
    pack = pack_of(ctx, stored)
    return stored, pack, fold(pack, [item.event for item in stored.events])


def pack_of(ctx: Context, stored: StoredCase) -> FlowPack:
    """The pack under whose version the case was opened.

    Raises:
        Unavailable: it is not installed.
    """
    pack = ctx.packs.get(stored.item, stored.pack_version)
    if pack is None:
        raise Unavailable(f"缺少事项包 {stored.item} {stored.pack_version}，请管理员装回该版本")
    return pack


async def view_case(ctx: Context, user: User, no: str) -> CaseView:
    """A case for its page."""
    async with ctx.store.transaction() as tx:
        return await view_within(ctx, tx, user, no)


async def view_within(ctx: Context, tx: Transaction, user: User, no: str) -> CaseView:
    """A case for its page, as this transaction sees it."""
    stored, pack, case = await read_case(ctx, tx, user, no)
    names = await read_names(tx, user.site)
    links = await tx.facts.links(no)
    today = day_of(ctx.clock.now())
    return CaseView(
        stored=stored,
        case=case,
        pack=pack,
        clocks=tuple(reckon(item, ctx.calendar, today) for item in clocks_of(pack, case)),
        guards=tuple(next_guards(pack, case, stored, user, names)),
        links=links,
        names=names,
    )


async def list_cases(ctx: Context, wanted: CaseFilter) -> tuple[int, list[RowView]]:
    """How many cases fit, and one page of them."""
    async with ctx.store.transaction() as tx:
        total, summaries = await tx.cases.page(wanted, size=PAGE_SIZE)
    today = day_of(ctx.clock.now())
    rows = []
    for summary in summaries:
        pack = ctx.packs.get(summary.item, summary.pack_version)
        step = pack.step(summary.step_seq) if pack is not None else None
        clocks = [reckon(ledger_from_json(c), ctx.calendar, today) for c in summary.clocks]
        rows.append(
            RowView(
                summary=summary,
                item_name=pack.name if pack is not None else summary.item,
                step_name=step.name if step is not None else "",
                due=main_clock(clocks),
            )
        )
    return total, rows


async def why(ctx: Context, user: User, no: str, clock: str) -> WhyView:
    """为什么是这一天.

    Raises:
        Refused: 404, no such case or the clock has not started.
    """
    async with ctx.store.transaction() as tx:
        _, pack, case = await read_case(ctx, tx, user, no)
    ledger = next((item for item in clocks_of(pack, case) if item.code == clock), None)
    if ledger is None:
        raise not_found(
            Text(zh=f"此办件没有起算的期限「{clock}」", en=f"No clock {clock} has started")
        )
    today = day_of(ctx.clock.now())
    return WhyView(
        reckoning=reckon(ledger, ctx.calendar, today),
        days=ledger_days(ledger, ctx.calendar, today),
        rules=rules_of(ledger, ctx.calendar, today),
        today=today,
    )


def summarise(pack: FlowPack, case: Case, site: str) -> CaseSummary:
    """The projection of a case that lists are made of."""
    current = case.current
    seq = current.seq if current is not None else _last_done(case)
    return CaseSummary(
        no=case.no,
        site=site,
        item=case.item,
        pack_version=case.pack_version,
        applicant=case.applicant,
        unit=case.unit,
        place=case.place,
        state=case.state,
        step_seq=seq,
        step_role=pack.steps[seq - 1].role if current is not None else None,
        opened_ns=case.opened_ns,
        clocks=tuple(ledger_to_json(item) for item in clocks_of(pack, case)),
    )


def next_guards(
    pack: FlowPack, case: Case, stored: StoredCase, user: User, names: Names
) -> list[Guard]:
    """What forbids this user's next action: finishing the running step or beginning the next."""
    step = case.current
    if step is None:
        return []
    actor = Actor(username=user.username, role=user.role, person=user.person)
    if step.state == "running":
        finish = FinishStep(
            seq=step.seq,
            values=stored.drafts.get(step.seq, {}),
            persons=frozenset(names.persons),
        )
        return forbidden_by(pack, case, finish, actor)
    place = names.places.get(user.place or case.place)
    start = StartStep(
        seq=step.seq,
        place=place.id if place is not None else case.place,
        place_kind=place.kind if place is not None else "counter",
    )
    return forbidden_by(pack, case, start, actor)


def no_case(no: str) -> Exception:
    """404 for a case."""
    return not_found(Text(zh=f"没有办件 {no}", en=f"There is no case {no}"))


def filter_for(
    user: User, *, text: str, state: CaseState | None, mine: bool, page: int
) -> CaseFilter:
    """The filter of a list for a user."""
    return CaseFilter(
        site=user.site,
        text=text.strip(),
        state=state,
        role=user.role if mine else None,
        page=page,
    )


def _last_done(case: Case) -> int:
    return max(case.steps, key=lambda step: (step.ended_ns or 0, step.seq)).seq
