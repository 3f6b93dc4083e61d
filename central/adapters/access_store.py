"""Users, sessions and failed attempts in PostgreSQL."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, and_, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from central.adapters.tables import login_failures, persons, sessions, sites, users
from central.domain.register import NewUser, User
from central.ports import Credentials


class SqlAccess:
    """See `central.ports.Access`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def credentials(self, username: str) -> Credentials | None:
        """A user who may sign in."""
        query = _users().add_columns(users.c.password_hash).where(users.c.username == username)
        row = (await self._db.execute(query)).mappings().first()
        if row is None:
            return None
        return Credentials(user=_user(row), password_hash=row["password_hash"])

    async def usernames(self) -> set[str]:
        """Every user ever made."""
        return set((await self._db.execute(select(users.c.username))).scalars())

    async def set_user(self, site: str, user: NewUser, *, password_hash: str | None) -> None:
        """Store a user of the site file; the hash only for a new one."""
        values = {"site": site, "role": user.role, "person": user.person, "place": user.place}
        if password_hash is None:
            await self._db.execute(
                update(users).where(users.c.username == user.username).values(**values, active=True)
            )
            return
        new = upsert(users).values(
            **values,
            username=user.username,
            password_hash=password_hash,
            must_change_password=user.role == "administrator",
            active=True,
        )
        await self._db.execute(new.on_conflict_do_nothing())

    async def set_active(self, site: str, usernames: set[str]) -> None:
        """Users of the site that are not among these can no longer sign in."""
        gone = and_(users.c.site == site, users.c.username.not_in(usernames))
        await self._db.execute(update(users).where(gone).values(active=False))
        await self._db.execute(
            delete(sessions).where(sessions.c.username.in_(select(users.c.username).where(gone)))
        )

    async def set_password(self, username: str, password_hash: str) -> None:
        """Replace a password; it need not be changed any more."""
        await self._db.execute(
            update(users)
            .where(users.c.username == username)
            .values(password_hash=password_hash, must_change_password=False)
        )

    async def open_session(self, token_hash: str, username: str, *, at_ns: int) -> None:
        """Store a session by the hash of its token."""
        await self._db.execute(
            insert(sessions).values(
                token_hash=token_hash, username=username, opened_ns=at_ns, seen_ns=at_ns
            )
        )

    async def session(self, token_hash: str, *, idle_since_ns: int) -> tuple[User, int] | None:
        """The session's user and when it was last seen, unless idle for too long."""
        query = (
            _users()
            .add_columns(sessions.c.seen_ns)
            .join(sessions, sessions.c.username == users.c.username)
            .where(sessions.c.token_hash == token_hash, sessions.c.seen_ns >= idle_since_ns)
        )
        row = (await self._db.execute(query)).mappings().first()
        return None if row is None else (_user(row), int(row["seen_ns"]))

    async def touch_session(self, token_hash: str, *, at_ns: int) -> None:
        """Note that the session is in use."""
        await self._db.execute(
            update(sessions).where(sessions.c.token_hash == token_hash).values(seen_ns=at_ns)
        )

    async def close_sessions(
        self, *, token_hash: str | None = None, username: str | None = None, keep: str | None = None
    ) -> None:
        """End one session, or all of a user except one."""
        which = []
        if token_hash is not None:
            which.append(sessions.c.token_hash == token_hash)
        if username is not None:
            which.append(sessions.c.username == username)
        if not which:
            return
        if keep is not None:
            which.append(sessions.c.token_hash != keep)
        await self._db.execute(delete(sessions).where(*which))

    async def failures(self, key: str, *, since_ns: int) -> int:
        """Failed attempts under a key since then; older ones are forgotten."""
        await self._db.execute(delete(login_failures).where(login_failures.c.at_ns < since_ns))
        query = select(func.count()).where(
            login_failures.c.key == key, login_failures.c.at_ns >= since_ns
        )
        return int((await self._db.execute(query)).scalar_one())

    async def note_failure(self, key: str, *, at_ns: int) -> None:
        """Count a failed attempt."""
        await self._db.execute(insert(login_failures).values(key=key, at_ns=at_ns))

    async def forget_failures(self, key: str) -> None:
        """Start counting anew."""
        await self._db.execute(delete(login_failures).where(login_failures.c.key == key))


def _users() -> Select[Any]:
    who = and_(persons.c.site == users.c.site, persons.c.id == users.c.person)
    return (
        select(
            users.c.username,
            users.c.role,
            users.c.site,
            users.c.person,
            users.c.place,
            users.c.must_change_password,
            sites.c.name.label("site_name"),
            persons.c.name.label("person_name"),
            persons.c.unit.label("person_unit"),
        )
        .select_from(users)
        .join(sites, sites.c.id == users.c.site)
        .outerjoin(persons, who)
        .where(users.c.active)
    )


def _user(row: Mapping[Any, Any]) -> User:
    return User(
        username=row["username"],
        role=row["role"],
        site=row["site"],
        site_name=row["site_name"],
        person=row["person"],
        name=row["person_name"] or row["username"],
        unit=row["person_unit"] or "",
        place=row["place"],
        must_change_password=row["must_change_password"],
    )
