"""Signing in and out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from central.api import present
from central.api.dependencies import COOKIE, Ctx, allow
from central.api.gate import token_of
from central.api.schemas import Login, Me, PasswordChange
from central.domain.register import User
from central.handlers import access

router = APIRouter(prefix="/api", tags=["access"])

Self = Annotated[User, Depends(allow("self.use", even_before_password_change=True))]


@router.post("/login")
async def login(ctx: Ctx, request: Request, response: Response, body: Login) -> Me:
    """Sign in; sets the session cookie."""
    address = request.client.host if request.client is not None else ""
    user, token = await access.login(
        ctx, username=body.username, password=body.password, address=address
    )
    response.set_cookie(
        COOKIE,
        token,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
        path="/",
    )
    return present.me(user)


@router.post("/logout", status_code=204)
async def logout(ctx: Ctx, request: Request, user: Self) -> Response:
    """End this session."""
    await access.logout(ctx, user, token_of(request.headers))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    return response


@router.get("/me")
async def me(user: Self) -> Me:
    """Who is signed in."""
    return present.me(user)


@router.post("/password", status_code=204)
async def change_password(ctx: Ctx, request: Request, user: Self, body: PasswordChange) -> Response:
    """Replace the password; other sessions of the user end."""
    token = token_of(request.headers)
    await access.change_password(ctx, user, token=token, old=body.old, new=body.new)
    return Response(status_code=204)
