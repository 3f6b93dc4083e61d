"""The few file operations of a volume. Tests replace them to play a full or broken disk."""

import errno
import os
from pathlib import Path
from typing import Protocol

from contracts.wire.footage import GapCause

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def cause_of(error: OSError) -> GapCause:
    """Tell a full disk from a broken one."""
    return "disk_full" if error.errno in _FULL else "disk_error"


class Disk(Protocol):
    """Writes files that are never rewritten. Every method may raise OSError."""

    def create(self, path: Path) -> int:
        """Create a file that must not exist yet, with its folders; gives a descriptor."""
        ...

    def append(self, fd: int, octets: bytes) -> None:
        """Write all octets at the end."""
        ...

    def sync(self, fd: int) -> None:
        """Return when the octets written are on the medium."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in a folder are on the medium."""
        ...

    def cut(self, fd: int, size: int) -> None:
        """Give back what a failed append left behind `size`."""
        ...

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        ...


class LocalDisk:
    """The machine's own file system."""

    def create(self, path: Path) -> int:
        """Create a file that must not exist yet, with its folders; gives a descriptor."""
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)

    def append(self, fd: int, octets: bytes) -> None:
        """Write all octets at the end."""
        left = memoryview(octets)
        while left:
            left = left[os.write(fd, left) :]

    def sync(self, fd: int) -> None:
        """Return when the octets written are on the medium."""
        os.fdatasync(fd)

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in a folder are on the medium."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def cut(self, fd: int, size: int) -> None:
        """Give back what a failed append left behind `size`."""
        os.ftruncate(fd, size)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)
