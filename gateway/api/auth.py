"""Who may ask this gateway for footage: bearers of a grant that central signed.

Browsers never hold a grant; central checks the user and asks on their behalf.
"""

from collections.abc import Awaitable, Callable

from cryptography import x509
from fastapi import HTTPException, Request, status

from contracts.clock import Clock
from contracts.errors import Denied, InvalidInput
from contracts.timestamps import NS
from contracts.tokens import Grant, GrantUse, read_grant

GrantDependency = Callable[[Request], Awaitable[Grant]]


class GrantChecker:
    """Makes route dependencies that let only fitting grants pass."""

    def __init__(self, *, site: str, central: x509.Certificate, clock: Clock) -> None:
        self._site = site
        self._central = central
        self._clock = clock

    def require(self, use: GrantUse) -> GrantDependency:
        """A dependency: 401 without a valid grant, 403 when it is for another use or site."""

        async def check(request: Request) -> Grant:
            return self.check(request.headers.get("authorization", ""), use)

        return check

    def check(self, authorization: str, use: GrantUse) -> Grant:
        """Check an ``Authorization`` header.

        Raises:
            HTTPException: 401 or 403, with the reason.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED,
                "a grant of central is needed",
                {"WWW-Authenticate": "Bearer"},
            )
        try:
            grant = read_grant(token, central=self._central, now_s=self._clock.now() // NS)
        except (InvalidInput, Denied) as exc:
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED, str(exc), {"WWW-Authenticate": "Bearer"}
            ) from exc
        if grant.use != use or grant.site != self._site:
            raise HTTPException(
                status.HTTP_403_FORBIDDEN, f"the grant is not for {use} at this site"
            )
        return grant


def require_stream(
    grant: Grant, stream: str, *, from_ns: int | None = None, to_ns: int | None = None
) -> None:
    """Check that a grant covers a stream and, for replay, an interval.

    Raises:
        HTTPException: 403 when it does not.
    """
    if stream not in grant.streams:
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"the grant does not cover {stream}")
    if from_ns is not None and from_ns < grant.not_before_ns:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "the interval begins before the grant's")
    if to_ns is not None and to_ns > grant.not_after_ns:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "the interval ends after the grant's")
