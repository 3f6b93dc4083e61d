"""Argon2id, in worker threads, so that the event loop goes on."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_MOST_AT_ONCE = 2
"""Each hash takes 64 MiB for some 50 ms; more at once would let strangers fill the memory."""


class Argon2Passwords:
    """See `central.ports.Passwords`."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._room = asyncio.Semaphore(_MOST_AT_ONCE)
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """A hash that can be stored."""
        async with self._room:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def fits(self, password_hash: str | None, password: str) -> bool:
        """Whether the password belongs to the hash; without a hash False, after as long a time."""
        async with self._room:
            return await asyncio.to_thread(self._fits, password_hash, password)

    def _fits(self, password_hash: str | None, password: str) -> bool:
        if password_hash is None:
            if self._nobody is None:
                self._nobody = self._hasher.hash("nobody")
            self._check(self._nobody, password)
            return False
        return self._check(password_hash, password)

    def _check(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
