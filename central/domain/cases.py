"""A case as a fold over its events, and the table that says which command is allowed when.

``decide(pack, case, command, actor) -> events`` goes through the checks that `RULES` lists for the
command; each check returns guards with article and advice. Nothing else may change a case, so no
step can be skipped, whatever a page offers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from central.domain import guards as g
from central.domain.case_events import (
    CaseEvent,
    CaseOpened,
    ClocksResumed,
    ClocksSuspended,
    Fact,
    MaterialMarked,
    MaterialState,
    StepFinished,
    StepStarted,
)
from central.domain.flow_pack import CaseState, FlowPack, Outcome, Step
from central.domain.permissions import Role
from central.domain.refusals import Guard, Refusal, Refused

StepState = Literal["locked", "ready", "running", "done", "returned"]
ENDED: frozenset[CaseState] = frozenset({"refused", "delivered", "archived"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress:
    """How far a step is. Instants are wall time in nanoseconds; `ready_ns`: when it could begin."""

    seq: int
    state: StepState = "locked"
    run: int = 0
    place: str | None = None
    person: str | None = None
    finished_by: str | None = None
    ready_ns: int | None = None
    started_ns: int | None = None
    ended_ns: int | None = None
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialProgress:
    """What was found about a material."""

    state: MaterialState = "missing"
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A time in which the clocks stand still; `to_ns` None while it lasts."""

    from_ns: int
    to_ns: int | None
    reason: str
    notice_no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The state of a case after its events."""

    no: str
    item: str
    pack_version: str
    applicant: str
    unit: str
    place: str
    state: CaseState
    opened_ns: int
    steps: tuple[StepProgress, ...]
    materials: Mapping[str, MaterialProgress]
    pauses: tuple[Pause, ...] = ()

    def at(self, seq: int) -> StepProgress:
        """Progress of the step with that number (from 1)."""
        return self.steps[seq - 1]

    @property
    def current(self) -> StepProgress | None:
        """The step that runs or may begin; None when the case has ended."""
        return next((s for s in self.steps if s.state in {"running", "ready", "returned"}), None)

    @property
    def is_suspended(self) -> bool:
        """Whether the clocks stand still."""
        return bool(self.pauses) and self.pauses[-1].to_ns is None

    def step_id(self, seq: int) -> str:
        """Id of the latest run of a step; footage is bound to it."""
        run = self.at(seq).run
        return f"{self.no}.{seq}" if run <= 1 else f"{self.no}.{seq}.{run}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who gives a command."""

    username: str
    role: Role
    person: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartStep:
    """Begin a step at a place of this kind."""

    seq: int
    place: str
    place_kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishStep:
    """Finish a step. `persons` are the ids a field of kind ``person`` may name."""

    seq: int
    values: Mapping[str, str]
    persons: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkMaterial:
    """Say what was found about a material."""

    code: str
    state: MaterialState
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendClocks:
    """Stop the clocks."""

    reason: str
    notice_no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeClocks:
    """Let the clocks run."""


Command = StartStep | FinishStep | MarkMaterial | SuspendClocks | ResumeClocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a check looks at."""

    pack: FlowPack
    case: Case
    actor: Actor

    def step(self, seq: int) -> Step:
        """Definition of a step that exists (see `_known_step`)."""
        return self.pack.steps[seq - 1]


def open_case(pack: FlowPack, *, no: str, applicant: str, place: str) -> tuple[Fact, ...]:
    """The first event of a case."""
    return (
        CaseOpened(
            no=no,
            item=pack.code,
            pack_version=pack.version,
            applicant=applicant,
            unit=pack.unit,
            place=place,
        ),
    )


def decide(pack: FlowPack, case: Case, command: Command, actor: Actor) -> tuple[Fact, ...]:
    """The events that follow from a command.

    Raises:
        Refused: with every guard that forbids it; nothing has happened.
    """
    found = forbidden_by(pack, case, command, actor)
    if found:
        raise Refused(
            Refusal(
                status=max(_STATUS.get(guard.code, 409) for guard in found)
                if all(guard.code in _STATUS for guard in found)
                else 409,
                code=found[0].code,
                text=found[0].text,
                field=found[0].field,
                article=found[0].article,
                action=found[0].action,
                guards=tuple(found),
            )
        )
    return _effects(pack, case, command)


def forbidden_by(pack: FlowPack, case: Case, command: Command, actor: Actor) -> list[Guard]:
    """Every guard that forbids a command; empty when it is allowed."""
    situation = Situation(pack=pack, case=case, actor=actor)
    found: list[Guard] = []
    for check in RULES[type(command)]:
        guards = check(situation, command)
        found += guards
        if guards and check in _DECISIVE:
            break
    return found


def fold(pack: FlowPack, events: list[CaseEvent]) -> Case:
    """The case after its events, of which the first opens it."""
    first = events[0]
    assert isinstance(first.fact, CaseOpened)  # noqa: S101 - written by `open_case` alone
    case = _opened(pack, first, first.fact)
    for event in events[1:]:
        case = evolve(pack, case, event)
    return case


def evolve(pack: FlowPack, case: Case, event: CaseEvent) -> Case:
    """The case after one more event."""
    fact = event.fact
    if isinstance(fact, StepStarted):
        return _started(case, event, fact)
    if isinstance(fact, StepFinished):
        return _finished(case, event, fact)
    if isinstance(fact, MaterialMarked):
        marked = MaterialProgress(state=fact.state, note=fact.note)
        return replace(case, materials={**case.materials, fact.code: marked})
    if isinstance(fact, ClocksSuspended):
        pause = Pause(from_ns=event.at_ns, to_ns=None, reason=fact.reason, notice_no=fact.notice_no)
        return replace(case, pauses=(*case.pauses, pause))
    if isinstance(fact, ClocksResumed):
        last = replace(case.pauses[-1], to_ns=event.at_ns)
        return replace(case, pauses=(*case.pauses[:-1], last))
    return _opened(pack, event, fact)


# --- checks ----------------------------------------------------------------------------------


def _known_step(now: Situation, command: Command) -> list[Guard]:
    if not isinstance(command, StartStep | FinishStep) or now.pack.step(command.seq) is not None:
        return []
    return [g.unknown_step(command.seq)]


def _case_open(now: Situation, _: Command) -> list[Guard]:
    return [g.case_ended()] if now.case.state in ENDED else []


def _role_fits(now: Situation, command: Command) -> list[Guard]:
    assert isinstance(command, StartStep | FinishStep)  # noqa: S101 - see RULES
    step = now.step(command.seq)
    if now.actor.role != step.role:
        return [g.wrong_role(step)]
    return [g.no_person()] if now.actor.person is None else []


def _may_begin(now: Situation, command: Command) -> list[Guard]:
    assert isinstance(command, StartStep)  # noqa: S101 - see RULES
    progress = now.case.at(command.seq)
    if progress.state in {"ready", "returned"}:
        return []
    step = now.step(command.seq)
    if progress.state == "running":
        return [g.already_running(step)]
    if progress.state == "done":
        return [g.already_done(step)]
    current = now.case.current
    waiting = now.step(current.seq) if current is not None else None
    return [g.out_of_order(step, waiting)]


def _runs(now: Situation, command: Command) -> list[Guard]:
    assert isinstance(command, FinishStep)  # noqa: S101 - see RULES
    progress = now.case.at(command.seq)
    step = now.step(command.seq)
    if progress.state == "running":
        return []
    if progress.state == "done":
        return [g.already_done(step)]
    return [g.not_begun(step)]


def _clocks_run(now: Situation, _: Command) -> list[Guard]:
    if not now.case.is_suspended:
        return []
    return [g.suspended(now.case.pauses[-1].notice_no, now.pack.suspension_basis)]


def _place_fits(now: Situation, command: Command) -> list[Guard]:
    assert isinstance(command, StartStep)  # noqa: S101 - see RULES
    step = now.step(command.seq)
    return [] if command.place_kind in step.places else [g.wrong_place(step)]


def _other_person(now: Situation, command: Command) -> list[Guard]:
    """Reviewer ≠ handler; also the persons named in the earlier step's staff fields."""
    assert isinstance(command, StartStep | FinishStep)  # noqa: S101 - see RULES
    step = now.step(command.seq)
    if step.not_by is None:
        return []
    for code in step.not_by.steps:
        earlier = now.pack.steps[now.pack.seq_of(code) - 1]
        done = now.case.at(now.pack.seq_of(code))
        people = {done.person, done.finished_by}
        if earlier.staff is not None:
            people |= {done.values.get(name) for name in earlier.staff.fields}
        if now.actor.person in people:
            return [g.same_person(step, earlier)]
    return []


def _form_filled(now: Situation, command: Command) -> list[Guard]:
    assert isinstance(command, FinishStep)  # noqa: S101 - see RULES
    step = now.step(command.seq)
    known = {item.code for item in step.form}
    found = [g.unknown_field(code) for code in command.values if code not in known]
    for item in step.form:
        value = command.values.get(item.code, "").strip()
        if not value:
            if item.required:
                found.append(g.field_missing(step, item))
        elif item.kind == "choice" and value not in item.choices:
            found.append(g.not_a_choice(item))
        elif item.kind == "person" and value not in command.persons:
            found.append(g.not_a_person(item))
        elif item.kind == "date" and not g.is_date(value):
            found.append(g.not_a_date(item))
    return found


def _staff_enough(now: Situation, command: Command) -> list[Guard]:
    assert isinstance(command, FinishStep)  # noqa: S101 - see RULES
    step = now.step(command.seq)
    if step.staff is None:
        return []
    named = [command.values.get(code, "").strip() for code in step.staff.fields]
    given = [name for name in named if name]
    if len(set(given)) < len(given):
        return [g.staff_not_distinct(step)]
    return []


def _materials_checked(now: Situation, command: Command) -> list[Guard]:
    assert isinstance(command, FinishStep)  # noqa: S101 - see RULES
    step = now.step(command.seq)
    outcome = _outcome(step, command.values)
    if outcome is not None and outcome.state == "refused":
        return []
    found = []
    for material in now.pack.materials:
        if material.code not in step.materials:
            continue
        state = now.case.materials[material.code].state
        if state == "doubtful" or (material.required and state == "missing"):
            found.append(g.material_open(material, state, step))
    return found


def _known_material(now: Situation, command: Command) -> list[Guard]:
    assert isinstance(command, MarkMaterial)  # noqa: S101 - see RULES
    return [] if command.code in now.case.materials else [g.unknown_material(command.code)]


def _may_suspend(now: Situation, _: Command) -> list[Guard]:
    if now.case.is_suspended:
        return [g.already_suspended(now.case.pauses[-1].notice_no)]
    if now.case.state not in {"accepted", "in_progress"}:
        return [g.nothing_to_suspend(now.pack.suspension_basis)]
    return []


def _may_resume(now: Situation, _: Command) -> list[Guard]:
    return [] if now.case.is_suspended else [g.not_suspended()]


Check = Callable[[Situation, Command], list[Guard]]

RULES: dict[type[Command], tuple[Check, ...]] = {
    StartStep: (
        _known_step,
        _case_open,
        _role_fits,
        _may_begin,
        _clocks_run,
        _place_fits,
        _other_person,
    ),
    FinishStep: (
        _known_step,
        _case_open,
        _role_fits,
        _runs,
        _clocks_run,
        _other_person,
        _form_filled,
        _staff_enough,
        _materials_checked,
    ),
    MarkMaterial: (_case_open, _known_material),
    SuspendClocks: (_case_open, _may_suspend),
    ResumeClocks: (_case_open, _may_resume),
}
_DECISIVE: frozenset[Check] = frozenset({_known_step, _case_open, _role_fits, _may_begin, _runs})
"""When one of these forbids, the rest would only confuse."""

_STATUS = (
    dict.fromkeys(g.CONTENT_CODES, 422)
    | dict.fromkeys(g.PERMISSION_CODES, 403)
    | {
        "unknown_step": 404,
        "unknown_material": 404,
    }
)


# --- effects ---------------------------------------------------------------------------------


def _effects(pack: FlowPack, case: Case, command: Command) -> tuple[Fact, ...]:
    if isinstance(command, StartStep):
        step = pack.steps[command.seq - 1]
        return (
            StepStarted(
                seq=command.seq,
                step=step.code,
                run=case.at(command.seq).run + 1,
                place=command.place,
                state=step.begins_state,
            ),
        )
    if isinstance(command, FinishStep):
        return (_finish(pack, command),)
    if isinstance(command, MarkMaterial):
        return (MaterialMarked(code=command.code, state=command.state, note=command.note),)
    if isinstance(command, SuspendClocks):
        return (ClocksSuspended(reason=command.reason, notice_no=command.notice_no),)
    return (ClocksResumed(),)


def _finish(pack: FlowPack, command: FinishStep) -> StepFinished:
    step = pack.steps[command.seq - 1]
    outcome = _outcome(step, command.values)
    following: int | None = command.seq + 1 if command.seq < len(pack.steps) else None
    state = step.done_state
    if outcome is not None:
        state = outcome.state or state
        if outcome.ends_case:
            following = None
        elif outcome.goto is not None:
            following = pack.seq_of(outcome.goto)
    return StepFinished(
        seq=command.seq,
        step=step.code,
        values={key: value.strip() for key, value in command.values.items()},
        outcome=outcome.choice if outcome is not None else "",
        state=state,
        next_seq=following,
    )


def _outcome(step: Step, values: Mapping[str, str]) -> Outcome | None:
    if step.outcome_field is None:
        return None
    chosen = values.get(step.outcome_field, "").strip()
    return next((item for item in step.outcomes if item.choice == chosen), None)


def _opened(pack: FlowPack, event: CaseEvent, fact: Fact) -> Case:
    assert isinstance(fact, CaseOpened)  # noqa: S101 - the only kind left
    steps = tuple(
        StepProgress(
            seq=seq,
            state="ready" if seq == 1 else "locked",
            ready_ns=event.at_ns if seq == 1 else None,
        )
        for seq in range(1, len(pack.steps) + 1)
    )
    return Case(
        no=fact.no,
        item=fact.item,
        pack_version=fact.pack_version,
        applicant=fact.applicant,
        unit=fact.unit,
        place=fact.place,
        state="received",
        opened_ns=event.at_ns,
        steps=steps,
        materials={material.code: MaterialProgress() for material in pack.materials},
    )


def _started(case: Case, event: CaseEvent, fact: StepStarted) -> Case:
    step = replace(
        case.at(fact.seq),
        state="running",
        run=fact.run,
        place=fact.place,
        person=event.person,
        finished_by=None,
        started_ns=event.at_ns,
        ended_ns=None,
    )
    return replace(case, steps=_with(case, step), state=fact.state or case.state)


def _finished(case: Case, event: CaseEvent, fact: StepFinished) -> Case:
    done = replace(
        case.at(fact.seq),
        state="done",
        finished_by=event.person,
        ended_ns=event.at_ns,
        values=dict(fact.values),
    )
    steps = list(_with(case, done))
    following = fact.next_seq
    if following is not None:
        goes_back = following <= fact.seq
        for index in range(following - 1, fact.seq if goes_back else following):
            steps[index] = replace(
                steps[index],
                state=("returned" if goes_back else "ready")
                if index == following - 1
                else "locked",
                ready_ns=event.at_ns if index == following - 1 else None,
            )
    return replace(case, steps=tuple(steps), state=fact.state or case.state)


def _with(case: Case, step: StepProgress) -> tuple[StepProgress, ...]:
    return tuple(step if item.seq == step.seq else item for item in case.steps)
