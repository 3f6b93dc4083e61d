"""Units waiting to be sent: bounded, and never half a group of pictures.

Without a connection only the newest group of pictures is kept, so that the gateway sees a picture
with the first packet. With one, a queue that overflows drops to the next key frame; both kinds of
loss are counted.
"""

from collections import deque

from contracts.media.access_unit import AccessUnit


class SendQueue:
    """First in, first out, with one drop rule: what is dropped ends at a key frame.

    Attributes:
        dropped: units given up because the queue was full, in all.
        skipped: units superseded by a newer key frame while nobody took them, in all.
    """

    def __init__(self, *, most_bytes: int) -> None:
        self.dropped = 0
        self.skipped = 0
        self._most_bytes = most_bytes
        self._units: deque[tuple[AccessUnit, int]] = deque()
        self._bytes = 0
        self._is_open = False
        self._needs_key = False
        self._has_video = False

    def __len__(self) -> int:
        return len(self._units)

    @property
    def byte_count(self) -> int:
        """Payload bytes waiting."""
        return self._bytes

    def open(self) -> None:
        """Somebody takes units from now on."""
        self._is_open = True

    def close(self) -> None:
        """Nobody takes units any more: keep the newest group of pictures only."""
        self._is_open = False
        self._needs_key = self._has_video
        self.skipped += self._empty()

    def put(self, unit: AccessUnit, session: int) -> None:
        """Add a unit of a source session, or drop and count it."""
        is_video = unit.config.track == "video"
        is_video_key = is_video and unit.key
        self._has_video = self._has_video or is_video
        if is_video_key and not self._is_open:
            self.skipped += self._empty()
        if is_video_key:
            self._needs_key = False
        elif self._needs_key:
            self.dropped += 1
            return
        if self._bytes + len(unit.payload) > self._most_bytes:
            self.dropped += self._empty()
            if not is_video_key:
                self.dropped += 1
                self._needs_key = self._has_video
                return
        self._units.append((unit, session))
        self._bytes += len(unit.payload)

    def pop(self) -> tuple[AccessUnit, int] | None:
        """The oldest unit with its source session, or None."""
        if not self._units:
            return None
        unit, session = self._units.popleft()
        self._bytes -= len(unit.payload)
        return unit, session

    def _empty(self) -> int:
        count = len(self._units)
        self._units.clear()
        self._bytes = 0
        return count
