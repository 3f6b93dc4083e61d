"""Any sequence of commands: the flow's invariants hold, and the fold is the state."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from central.domain.cases import FinishStep, MarkMaterial, ResumeClocks, SuspendClocks, fold
from central.domain.refusals import Refused
from tests.unit.central.test_case_flow import (
    CLERK,
    HEAD,
    OTHER_CLERK,
    PACK,
    PERSONS,
    VALUES,
    Desk,
    start,
)

SEQS = st.integers(1, len(PACK.steps))
ACTORS = st.sampled_from([CLERK, OTHER_CLERK, HEAD])
CHOICES = st.sampled_from(["", "不予许可", "退回重新核查", "不予受理"])


class CaseMachine(RuleBasedStateMachine):
    """Commands in any order, by anybody."""

    @initialize()
    def open(self) -> None:
        self.desk = Desk()
        self.refused = 0

    def give(self, command, actor=CLERK) -> None:
        before = self.desk.case
        try:
            self.desk.give(command, actor)
        except Refused as exc:
            assert exc.guards
            assert all(guard.text.zh and guard.text.en for guard in exc.guards)
            assert self.desk.case is before

    @rule(seq=SEQS, actor=ACTORS)
    def start(self, seq, actor) -> None:
        self.give(start(seq), actor)

    @rule(seq=SEQS, actor=ACTORS, choice=CHOICES)
    def finish(self, seq, actor, choice) -> None:
        field = PACK.steps[seq - 1].outcome_field
        changed = {field: choice} if field and choice else {}
        values = {**VALUES[seq], **changed}
        self.give(FinishStep(seq=seq, values=values, persons=PERSONS), actor)

    @rule()
    def go_on(self) -> None:
        """The next right thing, so that runs get far."""
        step = self.desk.case.current
        if step is None:
            return
        actor = CLERK if PACK.steps[step.seq - 1].role == "clerk" else HEAD
        if step.state == "running":
            command = FinishStep(seq=step.seq, values=VALUES[step.seq], persons=PERSONS)
            self.give(command, actor)
        else:
            self.give(start(step.seq), actor)

    @rule(material=st.sampled_from(PACK.materials), state=st.sampled_from(["checked", "missing"]))
    def mark(self, material, state) -> None:
        self.give(MarkMaterial(code=material.code, state=state, note=""))

    @rule()
    def check_all(self) -> None:
        for material in PACK.materials:
            self.give(MarkMaterial(code=material.code, state="checked", note=""))

    @rule()
    def suspend(self) -> None:
        self.give(SuspendClocks(reason="检验检测", notice_no="1"))

    @rule()
    def resume(self) -> None:
        self.give(ResumeClocks())

    @invariant()
    def at_most_one_step_is_open(self) -> None:
        states = [step.state for step in self.desk.case.steps]
        assert sum(state in {"ready", "running", "returned"} for state in states) <= 1

    @invariant()
    def what_is_done_was_done_in_order(self) -> None:
        steps = self.desk.case.steps
        for step in steps:
            if step.state != "done":
                continue
            assert step.started_ns is not None
            assert step.ended_ns is not None
            assert step.started_ns <= step.ended_ns
            earlier = [other for other in steps[: step.seq - 1] if other.state == "done"]
            assert all(other.ended_ns <= step.started_ns for other in earlier)

    @invariant()
    def no_licence_without_an_approval(self) -> None:
        made, approved = self.desk.case.at(6), self.desk.case.at(5)
        if made.started_ns is not None:
            assert approved.state == "done"
            assert approved.values["decision"] == "准予许可"

    @invariant()
    def the_reviewer_did_not_handle(self) -> None:
        review, check = self.desk.case.at(4), self.desk.case.at(3)
        if review.state == "done":
            assert review.person not in {check.person, check.finished_by}

    @invariant()
    def the_fold_is_the_state(self) -> None:
        assert fold(PACK, self.desk.events) == self.desk.case


CaseMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestCaseMachine = CaseMachine.TestCase
