"""Footage on disk as tools that are not ours read it."""

import hashlib
import subprocess
from pathlib import Path

import av


def video_files(folder: Path) -> list[Path]:
    """Files that hold video, in the order of their names, which is the order of time."""
    return [path for path in sorted(folder.rglob("*.mp4")) if _has_video(path)]


def sample_digests(path: Path) -> list[str]:
    """SHA-256 of each video sample, as an independent demuxer reads it."""
    with av.open(str(path)) as container:
        return [
            hashlib.sha256(bytes(packet)).hexdigest()
            for packet in container.demux(video=0)
            if packet.size
        ]


def ffprobe_complaints(path: Path) -> str:
    """Everything ffprobe warns of when it reads and decodes the whole file."""
    command = [
        "ffprobe",
        "-v",
        "warning",
        "-count_frames",
        "-show_entries",
        "stream=nb_read_frames",
    ]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
    return done.stderr


def _has_video(path: Path) -> bool:
    try:
        with av.open(str(path)) as container:
            return bool(container.streams.video)
    except av.FFmpegError:
        return False
