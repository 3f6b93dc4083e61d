"""Where a simulated camera's access units come from: encoded live, a cached clip, or a file."""

import fractions
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import av
import numpy as np
from av.video.frame import PictureType

from contracts.errors import InvalidInput, Unavailable
from contracts.media import h264
from contracts.timestamps import NS_PER_MS, WallTime
from mingjing.simulators import burnt_clock
from mingjing.simulators.counter_scene import CounterScene, Plane

Profile = Literal["baseline", "main", "high"]

CLIP_SECONDS = 8
MOST_FRAMES_HELD = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOptions:
    """How the pictures are coded; no B-frames ever."""

    width: int = 1280
    height: int = 720
    fps: int = 25
    kbps: int = 2500
    gop: int = 50
    profile: Profile = "baseline"


class VideoSource(Protocol):
    """Gives one access unit a tick.

    Attributes:
        parameter_sets: SPS and PPS, for the SDP.
    """

    parameter_sets: tuple[bytes, ...]

    def next_nals(self, index: int, wall: WallTime, *, want_key: bool) -> list[bytes]:
        """Return the NAL units of tick number `index`, captured at `wall`. May take milliseconds.

        `want_key` asks for a key frame; a clip cannot comply.
        """
        ...


class Painter(Protocol):
    """Draws pictures in planar YUV 4:2:0."""

    def draw(self, seconds: float) -> Plane:
        """Return a picture that the caller may write to."""
        ...


class LiveSource:
    """Encodes a painter's pictures as they are wanted, with the clock burnt in."""

    def __init__(self, options: VideoOptions, painter: Painter, *, clock: bool = True) -> None:
        self._options = options
        self._painter = painter
        self._clock = clock
        self._encoder = _Encoder(options, preset="ultrafast")
        first = self._encoder.encode(painter.draw(0.0), key=True)
        self.parameter_sets = _parameter_sets(first)

    def next_nals(self, index: int, wall: WallTime, *, want_key: bool) -> list[bytes]:
        """Draw, burn the clock in, encode."""
        picture = self._painter.draw(index / self._options.fps)
        if self._clock:
            _burn(picture, self._options, wall)
        return self._encoder.encode(picture, key=want_key)


class ClipSource:
    """Plays a clip encoded once and kept in a cache file; costs nothing per frame."""

    def __init__(self, options: VideoOptions, cache: Path) -> None:
        path = cache / f"clip-{_fingerprint(options)}.h264"
        if not path.exists():
            _encode_clip(options, path)
        self._units = [h264.split_annex_b(unit) for unit in _access_units(path)]
        self.parameter_sets = _parameter_sets(self._units[0])

    def next_nals(self, index: int, wall: WallTime, *, want_key: bool) -> list[bytes]:
        """Return the next unit of the loop."""
        del wall, want_key
        return self._units[index % len(self._units)]


class FilePainter:
    """Plays the user's own video in a loop, scaled; pictures are taken by their time."""

    def __init__(self, path: Path, width: int, height: int) -> None:
        self._path = path
        self._size = (width, height)
        self._frames = self._decode()
        self._start = 0.0
        self._due = 0.0
        try:
            self._picture = next(self._frames)[1]
        except (StopIteration, av.FFmpegError) as exc:
            raise InvalidInput(f"{path} holds no video that can be decoded", field="file") from exc

    def draw(self, seconds: float) -> Plane:
        """Return the picture that is shown `seconds` after the start."""
        while self._due <= seconds - self._start:
            following = next(self._frames, None)
            if following is None:
                self._frames = self._decode()
                self._start, self._due = seconds, 0.0
                following = next(self._frames)
                self._picture = following[1]
                break
            self._due, self._picture = following
        return self._picture.copy()

    def _decode(self) -> Iterator[tuple[float, Plane]]:
        width, height = self._size
        with av.open(str(self._path)) as container:
            first: float | None = None
            for frame in container.decode(video=0):
                at = frame.time or 0.0
                first = at if first is None else first
                scaled = frame.reformat(width=width, height=height, format="yuv420p")
                yield at - first, scaled.to_ndarray().astype(np.uint8, copy=False)


class _Encoder:
    """libx264 that gives each picture's NAL units at once."""

    def __init__(self, options: VideoOptions, *, preset: str) -> None:
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height = options.width, options.height
        context.pix_fmt = "yuv420p"
        context.framerate = fractions.Fraction(options.fps)
        context.time_base = fractions.Fraction(1, options.fps)
        context.bit_rate = options.kbps * 1000
        context.gop_size = options.gop
        context.max_b_frames = 0
        context.thread_count = 1
        context.profile = options.profile.capitalize()
        kbps = options.kbps
        context.options = {
            "preset": preset,
            "tune": "zerolatency",
            "forced-idr": "1",
            "x264-params": "repeat-headers=1:scenecut=0:sliced-threads=0:threads=1"
            f":vbv-maxrate={kbps}:vbv-bufsize={kbps}",
        }
        self._context = context
        self._pts = 0

    def encode(self, picture: Plane, *, key: bool = False) -> list[bytes]:
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = self._pts
        self._pts += 1
        frame.pict_type = PictureType.I if key else PictureType.NONE
        stream = b"".join(bytes(packet) for packet in self._context.encode(frame))
        return h264.split_annex_b(stream)


def scene_source(options: VideoOptions, *, portrait: Path | None, period_s: float) -> LiveSource:
    """Return the live counter scene."""
    scene = CounterScene(options.width, options.height, portrait=portrait, period_s=period_s)
    return LiveSource(options, scene)


def _burn(picture: Plane, options: VideoOptions, wall: WallTime) -> None:
    width, height = options.width, options.height
    burnt_clock.draw(picture[:height], wall // NS_PER_MS)
    strip = burnt_clock.strip_height(height)
    half = picture.reshape(-1)[width * height :].reshape(2, height // 2, width // 2)
    half[:, : strip // 2] = 128


def _parameter_sets(nals: list[bytes]) -> tuple[bytes, ...]:
    sets = tuple(nal for nal in nals if h264.nal_type(nal) in (h264.SPS, h264.PPS))
    if len(sets) < 2:  # noqa: PLR2004 - SPS and PPS
        raise Unavailable("libx264 gave no parameter sets with its first picture")
    return sets


def _fingerprint(options: VideoOptions) -> str:
    return hashlib.sha256(f"2 {options!r}".encode()).hexdigest()[:16]


def _encode_clip(options: VideoOptions, path: Path) -> None:
    """Encode a noisy scene, so that the bit rate asked for is really used; appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scene = CounterScene(options.width, options.height, period_s=CLIP_SECONDS)
    encoder = _Encoder(options, preset="veryfast")
    noise = np.random.default_rng(1)
    partial = path.with_suffix(f".{os.getpid()}")
    frames = CLIP_SECONDS * options.fps // options.gop * options.gop or options.gop
    with partial.open("wb") as file:
        for index in range(frames):
            picture = scene.draw(index / options.fps)
            luma = picture[: options.height]
            grain = noise.integers(0, 24, size=(options.height, options.width), dtype=np.uint8)
            luma[:] = np.minimum(luma, 231) + grain - np.minimum(grain, 20)
            nals = encoder.encode(picture, key=index % options.gop == 0)
            file.write(b"\0\0\0\1\x09\xf0" + h264.to_annex_b(h264.join_nals(nals)))
    partial.replace(path)


def _access_units(path: Path) -> list[bytes]:
    """Cut a clip at its access unit delimiters."""
    units = path.read_bytes().split(b"\0\0\0\1\x09\xf0")[1:]
    if not units or len(units) > MOST_FRAMES_HELD:
        raise Unavailable(f"{path} is no clip of ours; delete it to have it made anew")
    return units
