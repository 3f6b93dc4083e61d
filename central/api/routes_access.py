"""Signing in and out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from central.api.dependencies import Ctx, allow
from central.api.schemas import Login, Me, PasswordChange
from central.domain.register import User

router = APIRouter(prefix="/api", tags=["access"])

Self = Annotated[User, Depends(allow("self.use", even_before_password_change=True))]


@router.post("/login")
async def login(ctx: Ctx, request: Request, response: Response, body: Login) -> Me:
    """Sign in; sets the session cookie."""
    raise NotImplementedError


@router.post("/logout", status_code=204)
async def logout(ctx: Ctx, request: Request, user: Self) -> Response:
    """End this session."""
    raise NotImplementedError


@router.get("/me")
async def me(user: Self) -> Me:
    """Who is signed in."""
    raise NotImplementedError


@router.post("/password", status_code=204)
async def change_password(ctx: Ctx, request: Request, user: Self, body: PasswordChange) -> Response:
    """Replace the password; other sessions of the user end."""
    raise NotImplementedError
