"""Signing in and out. Tokens and passwords are stored as hashes only."""

import hashlib
import secrets

from central.domain.refusals import Refusal, Refused, Text, invalid
from central.domain.register import User
from central.handlers.context import Context
from central.ports import Transaction
from contracts.timestamps import NS

IDLE_S = 8 * 3600
_TOUCH_AFTER_S = 60
_FAILURE_WINDOW_S = 15 * 60
MOST_FAILURES_PER_USER = 5
MOST_FAILURES_PER_ADDRESS = 30


async def login(ctx: Context, *, username: str, password: str, address: str) -> tuple[User, str]:
    """Check a password and open a session.

    Returns:
        The user and the session's token.

    Raises:
        Refused: 401 for a wrong name or password, 429 after too many.
    """
    now = ctx.clock.now()
    keys = {
        f"user:{username}@{address}": MOST_FAILURES_PER_USER,
        f"address:{address}": MOST_FAILURES_PER_ADDRESS,
    }
    async with ctx.store.transaction() as tx:
        since = now - _FAILURE_WINDOW_S * NS
        for key, most in keys.items():
            if await tx.access.failures(key, since_ns=since) >= most:
                raise _too_many()
        known = await tx.access.credentials(username)
    fits = await ctx.passwords.fits(known.password_hash if known else None, password)
    if known is None or not fits:
        async with ctx.store.transaction() as tx:
            for key in keys:
                await tx.access.note_failure(key, at_ns=now)
        raise Refused(
            Refusal(
                status=401,
                code="wrong_password",
                text=Text(zh="用户名或密码不对", en="Wrong name or password"),
                field="password",
            )
        )
    token = secrets.token_urlsafe(32)
    async with ctx.store.transaction() as tx:
        await tx.access.forget_failures(f"user:{username}@{address}")
        await tx.access.open_session(hash_token(token), username, at_ns=now)
        await tx.journal.audit(
            at_ns=now, username=username, action="login", body={"address": address}
        )
    return known.user, token


async def authenticate(ctx: Context, token: str, *, touch: bool = True) -> User | None:
    """The user of a session that is known and was not idle for too long.

    With `touch` it counts as used; what a page does by itself must not keep a session alive.
    """
    if not token:
        return None
    now = ctx.clock.now()
    key = hash_token(token)
    async with ctx.store.transaction() as tx:
        found = await tx.access.session(key, idle_since_ns=now - IDLE_S * NS)
        if found is None:
            return None
        user, seen_ns = found
        if touch and now - seen_ns > _TOUCH_AFTER_S * NS:
            await tx.access.touch_session(key, at_ns=now)
    return user


async def logout(ctx: Context, user: User, token: str) -> None:
    """End a session."""
    async with ctx.store.transaction() as tx:
        await tx.access.close_sessions(token_hash=hash_token(token))
        await _audit(tx, ctx, user, "logout")


async def change_password(ctx: Context, user: User, *, token: str, old: str, new: str) -> None:
    """Replace a password; the user's other sessions end.

    Raises:
        Refused: the old password is wrong, or the new one equals it.
    """
    async with ctx.store.transaction() as tx:
        known = await tx.access.credentials(user.username)
    if known is None or not await ctx.passwords.fits(known.password_hash, old):
        raise invalid(Text(zh="原密码不对", en="The old password is wrong"), field="old")
    if old == new:
        raise invalid(
            Text(zh="新密码不能与原密码相同", en="The new password equals the old one"), field="new"
        )
    fresh = await ctx.passwords.hash(new)
    async with ctx.store.transaction() as tx:
        await tx.access.set_password(user.username, fresh)
        await tx.access.close_sessions(username=user.username, keep=hash_token(token))
        await _audit(tx, ctx, user, "password_changed")


def hash_token(token: str) -> str:
    """What is stored of a session's token; the token itself is 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


async def _audit(tx: Transaction, ctx: Context, user: User, action: str) -> None:
    await tx.journal.audit(at_ns=ctx.clock.now(), username=user.username, action=action, body={})


def _too_many() -> Refused:
    return Refused(
        Refusal(
            status=429,
            code="too_many_attempts",
            text=Text(
                zh="登录失败次数过多，请 15 分钟后再试",
                en="Too many failed attempts; try again in 15 minutes",
            ),
            retry_after_s=_FAILURE_WINDOW_S,
        )
    )
