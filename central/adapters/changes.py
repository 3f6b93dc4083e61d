"""Notices of commits, from PostgreSQL to every central process and on to its pages.

Notices are hints: whoever missed some (a slow reader, a broken connection) is cut off and reads
anew, so nothing waits without bound and no page shows an old state for long.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from central.adapters.journal import CHANNEL
from central.ports import Change
from contracts.errors import Unavailable

MOST_WAITING = 256
_log = structlog.get_logger(__name__)

Inbox = asyncio.Queue[Change | None]
"""None: notices were missed; stop and read anew."""


class ChangeFeed:
    """Listens for notices and gives each subscriber its own bounded queue."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._inboxes: set[Inbox] = set()
        self.is_listening = False

    @contextmanager
    def subscribed(self) -> Iterator[Inbox]:
        """A queue that gets every change from now on."""
        inbox: Inbox = asyncio.Queue(MOST_WAITING)
        self._inboxes.add(inbox)
        try:
            yield inbox
        finally:
            self._inboxes.discard(inbox)

    async def listen(self, on_listening: Callable[[], None]) -> None:
        """Listen until the connection breaks; `on_listening` is called once it works.

        Raises:
            Unavailable: it broke, or could not be made.
        """
        lost = asyncio.Event()
        async with self._engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: asyncpg.Connection[Any] | None = raw.driver_connection
            if driver is None:
                raise Unavailable("数据库连接没有驱动")
            driver.add_termination_listener(lambda _: lost.set())
            await driver.add_listener(CHANNEL, self._take)
            self.cut_off_all()
            self.is_listening = True
            on_listening()
            try:
                await lost.wait()
            finally:
                self.is_listening = False
                self.cut_off_all()
                if not driver.is_closed():
                    await driver.remove_listener(CHANNEL, self._take)
        raise Unavailable("与数据库的通知连接中断")

    def cut_off_all(self) -> None:
        """Tell every subscriber that notices may have been missed."""
        for inbox in list(self._inboxes):
            self._cut_off(inbox)

    def _take(self, *arguments: Any) -> None:
        try:
            raw = json.loads(arguments[-1])
            change = Change(kind=raw["kind"], site=raw["site"], content=raw["content"])
        except (ValueError, KeyError, TypeError) as exc:
            _log.warning("change_not_readable", reason=str(exc))
            return
        for inbox in list(self._inboxes):
            try:
                inbox.put_nowait(change)
            except asyncio.QueueFull:
                self._cut_off(inbox)

    def _cut_off(self, inbox: Inbox) -> None:
        while not inbox.empty():
            inbox.get_nowait()
        inbox.put_nowait(None)
