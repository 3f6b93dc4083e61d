"""Cases: list, open, run their steps, stop and start their clocks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

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
from central.domain.register import User

router = APIRouter(prefix="/api/cases", tags=["cases"])

Reader = Annotated[User, Depends(allow("cases.read"))]
Runner = Annotated[User, Depends(allow("cases.run"))]
Opener = Annotated[User, Depends(allow("cases.open"))]
Suspender = Annotated[User, Depends(allow("clocks.suspend"))]


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
    raise NotImplementedError


@router.post("", status_code=201)
async def open_case(ctx: Ctx, user: Opener, body: NewCase) -> Case:
    """Open a case."""
    raise NotImplementedError


@router.get("/{no}")
async def case(ctx: Ctx, user: Reader, no: str) -> Case:
    """One case."""
    raise NotImplementedError


@router.post("/{no}/steps/{seq}/start")
async def start_step(ctx: Ctx, user: Runner, no: str, seq: int, body: StepStart) -> Case:
    """Begin a step."""
    raise NotImplementedError


@router.put("/{no}/steps/{seq}/draft")
async def save_draft(ctx: Ctx, user: Runner, no: str, seq: int, body: StepDraft) -> Case:
    """Save a form half filled."""
    raise NotImplementedError


@router.post("/{no}/steps/{seq}/finish")
async def finish_step(ctx: Ctx, user: Runner, no: str, seq: int, body: StepFinish) -> Case:
    """Finish a step with its form."""
    raise NotImplementedError


@router.put("/{no}/materials/{code}")
async def mark_material(ctx: Ctx, user: Runner, no: str, code: str, body: MaterialChange) -> Case:
    """Mark a material."""
    raise NotImplementedError


@router.post("/{no}/suspend")
async def suspend(ctx: Ctx, user: Suspender, no: str, body: Suspend) -> Case:
    """Stop the clocks for a special procedure."""
    raise NotImplementedError


@router.post("/{no}/resume")
async def resume(ctx: Ctx, user: Suspender, no: str) -> Case:
    """Let the clocks run again."""
    raise NotImplementedError


@router.get("/{no}/clocks/{clock}/why")
async def why(ctx: Ctx, user: Reader, no: str, clock: str) -> Why:
    """为什么是这一天: the ledger of one clock."""
    raise NotImplementedError
