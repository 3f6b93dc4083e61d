"""Cases: list, open, run their steps, stop and start their clocks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from central.api import present
from central.api.dependencies import Ctx, allow
from central.api.schemas import (
    Case,
    CasePage,
    CaseState,
    MaterialChange,
    NewCase,
    StepDraft,
    StepFinish,
    StepStart,
    Suspend,
    Why,
)
from central.domain.cases import MarkMaterial, SuspendClocks
from central.domain.register import User
from central.handlers import cases as running
from central.handlers import views

router = APIRouter(prefix="/api/cases", tags=["cases"])

Reader = Annotated[User, Depends(allow("cases.read"))]
Runner = Annotated[User, Depends(allow("cases.run"))]
Opener = Annotated[User, Depends(allow("cases.open"))]
Suspender = Annotated[User, Depends(allow("clocks.suspend"))]
No = Annotated[str, Path(max_length=64)]
Seq = Annotated[int, Path(ge=1, le=1000)]


@router.get("")
async def cases(
    ctx: Ctx,
    user: Reader,
    *,
    q: Annotated[str, Query(max_length=100)] = "",
    state: CaseState | None = None,
    mine: bool = False,
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> CasePage:
    """A page of 50 cases, newest first. `mine`: those whose next step this user's role does."""
    wanted = views.filter_for(user, text=q, state=state, mine=mine, page=page)
    total, rows = await views.list_cases(ctx, wanted)
    return CasePage(total=total, items=[present.row(row) for row in rows])


@router.post("", status_code=201)
async def open_case(ctx: Ctx, user: Opener, body: NewCase) -> Case:
    """Open a case."""
    view = await running.open_new(
        ctx, user, item=body.item, applicant=body.applicant, place=body.place
    )
    return present.case(view)


@router.get("/{no}")
async def case(ctx: Ctx, user: Reader, no: No) -> Case:
    """One case."""
    return present.case(await views.view_case(ctx, user, no))


@router.post("/{no}/steps/{seq}/start")
async def start_step(ctx: Ctx, user: Runner, no: No, seq: Seq, body: StepStart) -> Case:
    """Begin a step."""
    return present.case(await running.start_step(ctx, user, no, seq=seq, place=body.place))


@router.put("/{no}/steps/{seq}/draft")
async def save_draft(ctx: Ctx, user: Runner, no: No, seq: Seq, body: StepDraft) -> Case:
    """Save a form half filled."""
    view = await running.save_draft(
        ctx, user, no, seq=seq, values=body.values, revision=body.revision
    )
    return present.case(view)


@router.post("/{no}/steps/{seq}/finish")
async def finish_step(ctx: Ctx, user: Runner, no: No, seq: Seq, body: StepFinish) -> Case:
    """Finish a step with its form."""
    view = await running.finish_step(
        ctx, user, no, seq=seq, values=body.values, revision=body.revision
    )
    return present.case(view)


@router.put("/{no}/materials/{code}")
async def mark_material(ctx: Ctx, user: Runner, no: No, code: No, body: MaterialChange) -> Case:
    """Mark a material."""
    command = MarkMaterial(code=code, state=body.state, note=body.note)
    view = await running.mark_material(ctx, user, no, command, revision=body.revision)
    return present.case(view)


@router.post("/{no}/suspend")
async def suspend(ctx: Ctx, user: Suspender, no: No, body: Suspend) -> Case:
    """Stop the clocks for a special procedure."""
    command = SuspendClocks(reason=body.reason, notice_no=body.notice_no)
    view = await running.suspend(ctx, user, no, command, revision=body.revision)
    return present.case(view)


@router.post("/{no}/resume")
async def resume(ctx: Ctx, user: Suspender, no: No) -> Case:
    """Let the clocks run again."""
    return present.case(await running.resume(ctx, user, no))


@router.get("/{no}/clocks/{clock}/why")
async def why(ctx: Ctx, user: Reader, no: No, clock: No) -> Why:
    """为什么是这一天: the ledger of one clock."""
    return present.why(await views.why(ctx, user, no, clock))
