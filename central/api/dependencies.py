"""What routes depend on: the application's parts, the signed-in user, and a right of that user."""

from collections.abc import Callable
from typing import Annotated, cast

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from central.domain.permissions import ROLE_NAMES, Action, may
from central.domain.refusals import Refusal, Refused, Text, denied
from central.domain.register import User
from central.handlers.context import Context

COOKIE = "mingjing_session"
CSRF_HEADER = "x-mingjing"


def context_of(connection: HTTPConnection) -> Context:
    """The parts that the composition root put into the application."""
    return cast("Context", connection.app.state.context)


def user_of(connection: HTTPConnection) -> User:
    """The user whom the gate let pass.

    Raises:
        Refused: 401, when a route is reached around the gate.
    """
    user = connection.scope.get("state", {}).get("user")
    if not isinstance(user, User):
        raise Refused(
            Refusal(status=401, code="login_needed", text=Text(zh="请先登录", en="Sign in first"))
        )
    return user


def allow(action: Action, *, even_before_password_change: bool = False) -> Callable[..., User]:
    """A dependency: the signed-in user, if the role holds the right; 403 otherwise."""

    def check(request: Request) -> User:
        user = user_of(request)
        if user.must_change_password and not even_before_password_change:
            raise denied(
                Text(zh="请先修改一次性密码", en="Change the one-time password first"),
                code="password_change_needed",
                action="修改密码",
            )
        if not may(user.role, action):
            raise denied(
                Text(
                    zh=f"{ROLE_NAMES[user.role]}没有这项权限（{action}）",
                    en=f"The role {user.role} may not do this ({action})",
                )
            )
        return user

    check.action = action  # type: ignore[attr-defined]  # the route walk of the tests reads it
    return check


Ctx = Annotated[Context, Depends(context_of)]
