"""Loading the site's register: idempotent, with a growing version told to the gateway."""

import secrets
from collections.abc import Callable
from dataclasses import asdict, replace

from central.domain.register import NewUser, SiteRegister
from central.handlers.context import Context
from contracts.canonical import digest
from contracts.wire.orders import DeviceEntry, PersonEntry, PlaceEntry, SiteOrder

FIRST_ADMINISTRATOR = "admin"
_PASSWORD_BYTES = 12

TellPassword = Callable[[str, str], None]
"""Given user name and one-time password before the transaction ends.

Should the commit fail, the password that was told is void and the next start tells another; the
other way round a crash could lock everybody out.
"""


async def load(ctx: Context, register: SiteRegister, tell_password: TellPassword) -> int:
    """Make the stored register equal to the site file; gives its version."""
    register = with_administrator(register)
    wanted = digest(asdict(register))
    now = ctx.clock.now()
    async with ctx.store.transaction() as tx:
        stored = await tx.register.version_of(register.id)
        if stored is not None and stored[1] == wanted:
            return stored[0]
        version = 1 if stored is None else stored[0] + 1
        await tx.register.replace(register, version=version, digest=wanted)
        known = await tx.access.usernames()
        for user in register.users:
            password_hash = None
            if user.username not in known:
                password = secrets.token_urlsafe(_PASSWORD_BYTES)
                password_hash = await ctx.passwords.hash(password)
                tell_password(user.username, password)
            await tx.access.set_user(register.id, user, password_hash=password_hash)
        await tx.access.set_active(register.id, {user.username for user in register.users})
        await tx.journal.order(register.id, _order(register, version, ctx.new_id()), at_ns=now)
        await tx.journal.audit(
            at_ns=now,
            username="central",
            action="site_loaded",
            body={"site": register.id, "version": version, "digest": wanted},
        )
    return version


def with_administrator(register: SiteRegister) -> SiteRegister:
    """The register with at least one administrator."""
    if any(user.role == "administrator" for user in register.users):
        return register
    first = NewUser(username=FIRST_ADMINISTRATOR, role="administrator")
    return replace(register, users=(first, *register.users))


def _order(register: SiteRegister, version: int, order_id: str) -> SiteOrder:
    return SiteOrder(
        id=order_id,
        version=version,
        site=register.id,
        name=register.name,
        places=tuple(
            PlaceEntry(id=p.id, name=p.name, kind=p.kind, opens=p.opens, closes=p.closes)
            for p in register.places
        ),
        devices=tuple(
            DeviceEntry(
                id=d.id,
                device_class=d.device_class,
                name=d.name,
                place=d.place,
                streams=d.streams,
                detects_presence=d.detects_presence,
            )
            for d in register.devices
        ),
        persons=tuple(
            PersonEntry(id=p.id, name=p.name, terminal_users=p.terminal_users)
            for p in register.persons
        ),
    )
