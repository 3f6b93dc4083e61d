"""A case's events as sentences for people (zh-CN)."""

from central.domain.case_events import (
    CaseEvent,
    CaseOpened,
    ClocksResumed,
    ClocksSuspended,
    MaterialMarked,
    StepFinished,
    StepStarted,
)
from central.domain.flow_pack import FlowPack

_MATERIAL_STATES = {"missing": "缺", "checked": "已核", "doubtful": "存疑"}


def sentence(pack: FlowPack, event: CaseEvent) -> str:
    """What happened."""
    fact = event.fact
    if isinstance(fact, CaseOpened):
        return f"登记办件「{pack.name}」"
    if isinstance(fact, StepStarted):
        again = f"（第 {fact.run} 次）" if fact.run > 1 else ""
        return f"开始「{_step(pack, fact.seq)}」{again}"
    if isinstance(fact, StepFinished):
        outcome = f"：{fact.outcome}" if fact.outcome else ""
        return f"办结「{_step(pack, fact.seq)}」{outcome}"
    if isinstance(fact, MaterialMarked):
        name = next((m.name for m in pack.materials if m.code == fact.code), fact.code)
        note = f"，{fact.note}" if fact.note else ""
        return f"材料「{name}」标为{_MATERIAL_STATES[fact.state]}{note}"
    if isinstance(fact, ClocksSuspended):
        return f"中止计时（告知书 {fact.notice_no}）：{fact.reason}"
    assert isinstance(fact, ClocksResumed)  # noqa: S101 - the only kind left
    return "恢复计时"


def step_seq(event: CaseEvent) -> int | None:
    """The step an event belongs to."""
    fact = event.fact
    return fact.seq if isinstance(fact, StepStarted | StepFinished) else None


def _step(pack: FlowPack, seq: int) -> str:
    step = pack.step(seq)
    return step.name if step is not None else str(seq)
