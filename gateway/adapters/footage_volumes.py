"""Several volumes read as one site's footage. A stream lives on one volume, always the same."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from contracts.timestamps import WallTime
from contracts.wire.footage import Timeline
from gateway.core.hls import IndexedFile, IndexedPart
from gateway.ports import FootagePlayback


class FootageVolumes:
    """The port `FootagePlayback` over all volumes; file ids are those of the stream's volume."""

    def __init__(self, volumes: Sequence[FootagePlayback]) -> None:
        """The order is that of the settings: it decides where a stream lives."""
        self._volumes = volumes

    def streams(self) -> list[str]:
        """Every stream that has footage or gap rows."""
        return sorted({stream for volume in self._volumes for stream in volume.streams()})

    def timeline(self, stream: str, start: WallTime, end: WallTime) -> Timeline:
        """Recorded spans and gaps of one stream's video track within [start, end)."""
        return self._of(stream).timeline(stream, start, end)

    def parts(self, stream: str, start: WallTime, end: WallTime) -> list[IndexedPart]:
        """Parts of [start, end), from the key frame at or before `start` on, by wall time."""
        return self._of(stream).parts(stream, start, end)

    def file(self, stream: str, file_id: int) -> IndexedFile | None:
        """One file with its parts; its name says on which volume it is."""
        found = self._of(stream).file(stream, file_id)
        return found and replace(found, name=f"{self._index(stream)}:{found.name}")

    def read(self, file: IndexedFile, offset: int, length: int) -> Iterator[bytes]:
        """Octets of a file that `file` gave, in chunks.

        Raises:
            Unavailable: the file is not there.
        """
        index, _, name = file.name.partition(":")
        return self._volumes[int(index)].read(replace(file, name=name), offset, length)

    def _of(self, stream: str) -> FootagePlayback:
        return self._volumes[self._index(stream)]

    def _index(self, stream: str) -> int:
        # The same choice as the recorder's.
        return zlib.crc32(stream.encode()) % len(self._volumes)
