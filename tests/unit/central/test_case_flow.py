"""The flow of a case: order, guards with their article, history, the chain of events."""

from dataclasses import replace

import pytest

from central.adapters.flow_packs import shipped
from central.domain.case_clocks import clocks_of, main_clock
from central.domain.case_events import (
    GENESIS,
    CaseEvent,
    ChainedEvent,
    MaterialMarked,
    body_of,
    chain,
    check_chain,
    read_fact,
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
    open_case,
)
from central.domain.clocks import reckon
from central.domain.history import sentence
from central.domain.masking import mask_name
from central.domain.refusals import Refused
from contracts.errors import InvalidInput
from contracts.timestamps import NS, from_iso

PACK = shipped()[0].pack
CLERK = Actor(username="liu-yang", role="clerk", person="liu-yang")
OTHER_CLERK = Actor(username="he-fang", role="clerk", person="he-fang")
HEAD = Actor(username="chen-gang", role="unit_head", person="chen-gang")
PERSONS = frozenset({"liu-yang", "he-fang", "chen-gang"})
T0 = from_iso("2026-09-15T09:00:00+08:00")
VALUES = {
    1: {"applicant_kind": "企业", "premises": "示范路 1 号", "business": "热食类"},
    2: {"decision": "受理"},
    3: {
        "inspector_1": "liu-yang",
        "inspector_2": "he-fang",
        "checked_on": "2026-09-16",
        "finding": "符合要求",
    },
    4: {"opinion": "同意上报"},
    5: {"decision": "准予许可"},
    6: {"licence_no": "JY1"},
    7: {"way": "邮寄", "receiver": "王小明"},
}


class Desk:
    """A case and the commands given to it."""

    def __init__(self) -> None:
        (opened,) = open_case(PACK, no="SP1", applicant="王小明", place="counter-07")
        self.events = [CaseEvent(at_ns=T0, username="liu-yang", person="liu-yang", fact=opened)]
        self.case: Case = fold(PACK, self.events)

    def give(self, command: Command, actor: Actor = CLERK) -> None:
        for fact in decide(PACK, self.case, command, actor):
            event = CaseEvent(
                at_ns=T0 + len(self.events) * NS,
                username=actor.username,
                person=actor.person,
                fact=fact,
            )
            self.events.append(event)
            self.case = evolve(PACK, self.case, event)

    def start(self, seq: int, actor: Actor = CLERK, kind: str = "counter") -> None:
        self.give(StartStep(seq=seq, place="counter-07", place_kind=kind), actor)

    def finish(self, seq: int, actor: Actor = CLERK, **changed: str) -> None:
        values = {**VALUES[seq], **changed}
        self.give(FinishStep(seq=seq, values=values, persons=PERSONS), actor)

    def check_materials(self) -> None:
        for material in PACK.materials:
            self.give(MarkMaterial(code=material.code, state="checked", note=""))

    def run_until(self, seq: int) -> None:
        """Run every step in front of this one."""
        self.check_materials()
        for number in range(1, seq):
            actor = CLERK if PACK.steps[number - 1].role == "clerk" else HEAD
            self.start(number, actor)
            self.finish(number, actor)


def refusal(desk: Desk, command: Command, actor: Actor = CLERK) -> Refused:
    """The refusal of a command; nothing has changed."""
    before = desk.case
    with pytest.raises(Refused) as refused:
        desk.give(command, actor)
    assert desk.case == before
    return refused.value


def start(seq: int) -> StartStep:
    return StartStep(seq=seq, place="counter-07", place_kind="counter")


@pytest.mark.parametrize("seq", range(2, 8))
def test_no_step_can_be_skipped(seq: int) -> None:
    """Each later step is locked, with its article and what to do first."""
    actor = CLERK if PACK.steps[seq - 1].role == "clerk" else HEAD
    refused = refusal(Desk(), start(seq), actor)
    assert (refused.code, refused.status) == ("out_of_order", 409)
    assert refused.article.startswith("《中华人民共和国行政许可法》")
    assert refused.action == "先办结「收件」"


def test_a_refusal_to_accept_ends_the_case() -> None:
    """不予受理: no clock of the decision starts, nothing more can be begun."""
    desk = Desk()
    desk.start(1)
    desk.give(MarkMaterial(code="application", state="checked", note=""))
    desk.finish(1)
    desk.start(2)
    desk.finish(2, decision="不予受理")
    assert (desk.case.state, desk.case.current) == ("refused", None)
    assert [ledger.code for ledger in clocks_of(PACK, desk.case)] == ["step-1", "step-2"]
    assert refusal(desk, start(3)).code == "case_ended"


def test_acceptance_waits_for_the_materials() -> None:
    """Each missing or doubtful one is named; doubtful optional ones too."""
    desk = Desk()
    desk.check_materials()
    desk.start(1)
    desk.finish(1)
    desk.start(2)
    desk.give(MarkMaterial(code="layout", state="missing", note=""))
    desk.give(MarkMaterial(code="authorisation", state="doubtful", note="无公章"))
    refused = refusal(desk, FinishStep(seq=2, values=VALUES[2], persons=PERSONS))
    assert [(guard.code, guard.field) for guard in refused.guards] == [
        ("material_missing", "materials.layout"),
        ("material_doubtful", "materials.authorisation"),
    ]
    assert refused.status == 422


def test_a_returned_step_is_done_again() -> None:
    """退回重新核查: the site check runs a second time under its own footage id."""
    desk = Desk()
    desk.run_until(4)
    desk.start(4, HEAD)
    desk.finish(4, HEAD, opinion="退回重新核查")
    assert [desk.case.at(seq).state for seq in (3, 4, 5)] == ["returned", "locked", "locked"]
    assert refusal(desk, start(4), HEAD).code == "out_of_order"
    desk.start(3)
    assert desk.case.step_id(3) == "SP1.3.2"
    desk.finish(3)
    desk.start(4, HEAD)
    desk.finish(4, HEAD)
    assert desk.case.at(5).state == "ready"
    assert sentence(PACK, desk.events[-4]) == "开始「现场核查」（第 2 次）"


def test_a_refused_licence_is_delivered_and_never_made() -> None:
    """不予许可 goes straight to delivery; making the licence stays locked."""
    desk = Desk()
    desk.run_until(5)
    desk.start(5, HEAD)
    desk.finish(5, HEAD, decision="不予许可")
    assert desk.case.at(6).state == "locked"
    assert desk.case.at(7).state == "ready"
    assert refusal(desk, start(6)).code == "out_of_order"
    desk.start(7)
    desk.finish(7)
    assert desk.case.state == "delivered"


def test_roles_persons_and_places_are_checked() -> None:
    """Another role, an account without a person, a wrong place, an unknown step."""
    desk = Desk()
    assert refusal(desk, start(1), HEAD).code == "wrong_role"
    assert refusal(desk, start(1), replace(CLERK, person=None)).status == 403
    room = StartStep(seq=1, place="room-1", place_kind="room")
    assert refusal(desk, room).field == "place"
    assert refusal(desk, start(99)).status == 404
    unknown = MarkMaterial(code="x", state="checked", note="")
    assert refusal(desk, unknown).status == 404


def test_a_step_is_begun_and_finished_once() -> None:
    """Twice is a conflict, never a second event."""
    desk = Desk()
    desk.check_materials()
    finish = FinishStep(seq=1, values=VALUES[1], persons=PERSONS)
    assert refusal(desk, finish).code == "not_begun"
    desk.start(1)
    assert refusal(desk, start(1), OTHER_CLERK).code == "already_running"
    desk.finish(1, OTHER_CLERK)
    assert (desk.case.at(1).person, desk.case.at(1).finished_by) == ("liu-yang", "he-fang")
    assert refusal(desk, finish).code == "already_done"
    assert refusal(desk, start(1)).code == "already_done"


def test_clocks_stop_between_acceptance_and_decision_only() -> None:
    """Before and after there is nothing to suspend; while suspended no step moves."""
    desk = Desk()
    pause = SuspendClocks(reason="检验检测", notice_no="告字1号")
    assert refusal(desk, pause).article == "《中华人民共和国行政许可法》第四十五条"
    assert refusal(desk, ResumeClocks()).code == "not_suspended"
    desk.run_until(3)
    desk.give(pause)
    assert refusal(desk, pause).code == "already_suspended"
    assert refusal(desk, start(3)).code == "suspended"
    desk.give(ResumeClocks())
    desk.start(3)
    desk.finish(3)
    desk.start(4, HEAD)
    desk.finish(4, HEAD)
    desk.start(5, HEAD)
    desk.finish(5, HEAD)
    assert refusal(desk, pause).code == "nothing_to_suspend"


def test_the_first_due_running_clock_is_the_one_to_show() -> None:
    """The promised limit while it runs; the delivery's after the decision."""
    calendar = shipped_calendar()
    desk = Desk()
    desk.run_until(3)
    today = clocks_of(PACK, desk.case)[0].started
    clocks = [reckon(item, calendar, today) for item in clocks_of(PACK, desk.case)]
    shown = main_clock(clocks)
    assert shown is not None
    assert shown.ledger.code == "promised"
    assert main_clock([]) is None


def shipped_calendar():
    from central.adapters.work_calendar import ChinaCalendar

    return ChinaCalendar()


def test_the_chain_shows_every_change() -> None:
    """A changed fact, a removed, a moved and an added event are found by number."""
    desk = Desk()
    desk.run_until(4)
    prev, links = GENESIS, list[ChainedEvent]()
    for seq, event in enumerate(desk.events, 1):
        links.append(chain("SP1", seq=seq, event=event, prev=prev))
        prev = links[-1].digest
    assert check_chain("SP1", links) is None
    assert check_chain("SP2", links) == 1
    note = MaterialMarked(code="layout", state="checked", note="后补")
    forged = replace(links[3], event=replace(links[3].event, fact=note))
    assert check_chain("SP1", [*links[:3], forged, *links[4:]]) == 4
    assert check_chain("SP1", [*links[:3], *links[4:]]) == 4
    assert check_chain("SP1", [links[1], links[0], *links[2:]]) == 1
    assert fold(PACK, [link.event for link in links]) == desk.case


def test_facts_survive_storage() -> None:
    """To JSON and back; unknown kinds and missing fields are named, new fields are passed over."""
    desk = Desk()
    desk.run_until(8)
    for event in desk.events:
        assert read_fact(event.kind, {**body_of(event.fact), "later": 1}) == event.fact
    with pytest.raises(InvalidInput):
        read_fact("case.dreamt", {})
    with pytest.raises(InvalidInput) as wrong:
        read_fact("step.started", {"seq": 1})
    assert wrong.value.field == "step.started.body"


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        ("王小明", "王**"),
        ("王明", "王*"),
        ("王", "王*"),
        ("欧阳小明", "欧***"),
        ("示范餐饮店", "示范**店"),
        ("示范区好味道餐饮有限公司", "示范******有限公司"),
        ("阿迪力·买买提", "阿迪****提"),
        ("\U00030000小明", "\U00030000**"),
    ],
)
def test_names_are_masked(name: str, masked: str) -> None:
    """Given names and the middle of organisations' names are hidden."""
    assert mask_name(name) == masked
