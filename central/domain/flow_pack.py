"""A flow pack: the steps of an item with roles, forms, materials, limits and their legal basis.

A pack is data. `faults` checks what a JSON schema cannot: that names refer to something, that
orders and limits make sense. Paths in faults are tuples of keys and indexes, so that a loader can
name the line.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from central.domain.clocks import ClockKind, CountUnit
from central.domain.permissions import Role
from central.domain.register import PlaceKind

CaseState = Literal[
    "received", "accepted", "refused", "in_progress", "decided", "delivered", "archived"
]
FieldKind = Literal["text", "long_text", "choice", "date", "person"]
MaterialSource = Literal["counter_scan", "e_licence", "made_here"]
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """A field of a step's form."""

    code: str
    label: str
    kind: FieldKind
    required: bool = True
    choices: tuple[str, ...] = ()
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Something the applicant brings, or a step produces."""

    code: str
    name: str
    required: bool
    source: MaterialSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit of the case: starts when step `starts` is done, ends when step `ends` is done."""

    code: str
    name: str
    kind: ClockKind
    unit: CountUnit
    days: int
    starts: str
    ends: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLimit:
    """A limit of one step, from the moment it may begin to the moment it is done."""

    days: int
    unit: CountUnit
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """The step needs several distinct persons, named in these fields of kind ``person``."""

    fields: tuple[str, ...]
    article: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotBy:
    """Who did one of these steps may not do this one."""

    steps: tuple[str, ...]
    article: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a choice in a step's form leads to. Without `goto` and `ends_case` the next step."""

    choice: str
    state: CaseState | None = None
    goto: str | None = None
    ends_case: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of the flow."""

    code: str
    name: str
    role: Role
    legal_basis: str
    places: tuple[PlaceKind, ...]
    order_basis: str = ""
    """The article that forbids doing this step before the one in front of it."""
    form: tuple[FormField, ...] = ()
    materials: tuple[str, ...] = ()
    """Materials that must be checked before the step can be finished."""
    makes: tuple[str, ...] = ()
    limit: StepLimit | None = None
    staff: Staff | None = None
    not_by: NotBy | None = None
    begins_state: CaseState | None = None
    """State of the case from the beginning of this step."""
    done_state: CaseState | None = None
    """State of the case after this step, unless its outcome says another."""
    outcome_field: str | None = None
    outcomes: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowPack:
    """The flow of one item in one version."""

    code: str
    name: str
    version: str
    unit: str
    number_prefix: str
    legal_basis: tuple[str, ...]
    steps: tuple[Step, ...]
    materials: tuple[Material, ...] = ()
    limits: tuple[Limit, ...] = ()
    suspension_basis: str = field(default="《中华人民共和国行政许可法》第四十五条")

    def seq_of(self, code: str) -> int:
        """Number of a step, from 1."""
        return next(n for n, step in enumerate(self.steps, 1) if step.code == code)

    def step(self, seq: int) -> Step | None:
        """The step with that number."""
        return self.steps[seq - 1] if 1 <= seq <= len(self.steps) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A mistake in a pack: where, and what to do about it (zh-CN)."""

    path: Path
    text: str


def faults(pack: FlowPack) -> list[Fault]:
    """Every mistake that a JSON schema cannot see, in the order of the pack."""
    found = [
        *_doubles([material.code for material in pack.materials], "materials"),
        *_doubles([limit.code for limit in pack.limits], "limits"),
        *_doubles([step.code for step in pack.steps], "steps"),
    ]
    found += _limit_faults(pack)
    for index, step in enumerate(pack.steps):
        for fault in _step_faults(pack, step):
            found.append(Fault(path=("steps", index, *fault.path), text=fault.text))
    return found


def _doubles(codes: list[str], where: str) -> Iterator[Fault]:
    for index, code in enumerate(codes):
        if code in codes[:index]:
            yield Fault(path=(where, index, "code"), text=f"代码「{code}」重复，请改用未用过的代码")


def _limit_faults(pack: FlowPack) -> list[Fault]:
    codes = [step.code for step in pack.steps]
    found = []
    for index, limit in enumerate(pack.limits):
        for key, code in (("starts", limit.starts), ("ends", limit.ends)):
            if code not in codes:
                found.append(
                    Fault(
                        path=("limits", index, key),
                        text=f"没有环节「{code}」，应为其中之一：{'、'.join(codes)}",
                    )
                )
        if (
            limit.starts in codes
            and limit.ends in codes
            and codes.index(limit.ends) <= codes.index(limit.starts)
        ):
            found.append(Fault(path=("limits", index, "ends"), text="止于的环节应在起于的环节之后"))
        found += _promise_faults(pack, limit, index)
    return found


def _promise_faults(pack: FlowPack, limit: Limit, index: int) -> list[Fault]:
    """A promise may not be longer than the law allows (优化营商环境条例第三十六条)."""
    if limit.kind != "promised":
        return []
    return [
        Fault(
            path=("limits", index, "days"),
            text=f"承诺期限 {limit.days} 天超过法定期限 {law.days} 天",
        )
        for law in pack.limits
        if law.kind == "statutory"
        and (law.starts, law.ends, law.unit) == (limit.starts, limit.ends, limit.unit)
        and limit.days > law.days
    ]


def _step_faults(pack: FlowPack, step: Step) -> Iterator[Fault]:
    fields = {item.code: item for item in step.form}
    materials = {item.code for item in pack.materials}
    yield from _doubles([item.code for item in step.form], "form")
    for index, item in enumerate(step.form):
        if (item.kind == "choice") != bool(item.choices):
            yield Fault(
                path=("form", index, "choices"), text="只有 choice 类的项才有选项，且至少一个"
            )
    for index, code in enumerate(step.materials):
        if code not in materials:
            yield Fault(path=("materials", index), text=f"没有材料「{code}」")
    yield from _people_faults(pack, step, fields)
    yield from _outcome_faults(pack, step, fields)


def _people_faults(pack: FlowPack, step: Step, fields: dict[str, FormField]) -> Iterator[Fault]:
    if step.staff is not None:
        for index, code in enumerate(step.staff.fields):
            if code not in fields or fields[code].kind != "person":
                yield Fault(
                    path=("staff", "fields", index), text=f"「{code}」不是本环节的人员（person）项"
                )
    if step.not_by is not None:
        earlier = [item.code for item in pack.steps[: pack.seq_of(step.code) - 1]]
        for index, code in enumerate(step.not_by.steps):
            if code not in earlier:
                yield Fault(path=("not_by", "steps", index), text=f"「{code}」不是更早的环节")


def _outcome_faults(pack: FlowPack, step: Step, fields: dict[str, FormField]) -> Iterator[Fault]:
    if step.outcome_field is None:
        return
    chosen = fields.get(step.outcome_field)
    if chosen is None or chosen.kind != "choice":
        yield Fault(
            path=("outcomes", "field"), text=f"「{step.outcome_field}」不是本环节的选择（choice）项"
        )
        return
    codes = {item.code for item in pack.steps}
    for index, outcome in enumerate(step.outcomes):
        if outcome.choice not in chosen.choices:
            yield Fault(
                path=("outcomes", "when", index, "choice"),
                text=f"「{outcome.choice}」不在选项之内：{'、'.join(chosen.choices)}",
            )
        if outcome.goto is not None and outcome.goto not in codes:
            yield Fault(
                path=("outcomes", "when", index, "goto"), text=f"没有环节「{outcome.goto}」"
            )
