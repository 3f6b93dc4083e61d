"""Paces a simulated camera: frames, sound and sender reports to whoever is watching."""

import asyncio
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

import numpy as np

from contracts.clock import Clock
from contracts.media import h264
from contracts.timestamps import NS
from mingjing.simulators.camera_source import VideoSource
from mingjing.simulators.rtp_tracks import RtpTrack, Transport
from mingjing.simulators.sei_clock import build_clock_sei

VIDEO = 0
AUDIO = 1

_MTU = 1400
_REPORT_S = 2.0
_AUDIO_RATE = 8000
_AUDIO_SAMPLES = 160
_BEEP_HZ = 880
_BEEP_S = 0.15
_SLICES = (h264.SLICE, h264.IDR_SLICE)
_GARBAGE_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What this camera does wrong, on purpose.

    Attributes:
        no_key_frames: key frames are never sent.
        unsupported_codec: the SDP offers a codec nobody can carry.
        garbage: random octets instead of media.
        refuse: connections are closed at once.
        busy: DESCRIBE is answered with 503.
        stall_after_s: media stops this long after PLAY, the connection stays.
        lose_permille: share of RTP packets over UDP that are not sent.
    """

    no_key_frames: bool = False
    unsupported_codec: bool = False
    garbage: bool = False
    refuse: bool = False
    busy: bool = False
    stall_after_s: float | None = None
    lose_permille: int = 0


@dataclass(slots=True, eq=False)
class Viewer:
    """One playing RTSP session."""

    transports: dict[int, Transport] = field(default_factory=dict)
    is_playing: bool = False
    waits_for_key: bool = False
    playing_since_ns: int = 0
    reported_ns: int = 0


class Broadcast:
    """Sends each access unit to all viewers at the time it was captured.

    Attributes:
        video: the video track's numbers.
        audio: the audio track's numbers, None without sound.
        viewers: sessions; the RTSP server adds and removes them.
    """

    def __init__(
        self,
        source: VideoSource,
        clock: Clock,
        *,
        fps: int,
        has_audio: bool,
        faults: Faults,
        record: TextIO | None = None,
    ) -> None:
        self.video = RtpTrack(payload_type=96, rate=90_000)
        self.audio = RtpTrack(payload_type=8, rate=_AUDIO_RATE) if has_audio else None
        self.viewers: set[Viewer] = set()
        self._source = source
        self._clock = clock
        self._fps = fps
        self._faults = faults
        self._record = record
        self._sound = _beeps()
        self._frames_of_sound = 0
        self._started_ns = clock.monotonic_ns()
        self._wants_key = False

    def start(self, viewer: Viewer) -> None:
        """Begin sending to a viewer, from a key frame on."""
        viewer.is_playing = True
        viewer.waits_for_key = not self._faults.no_key_frames
        viewer.playing_since_ns = self._clock.monotonic_ns()
        viewer.reported_ns = 0
        self._wants_key = True

    def ticks(self, track: RtpTrack) -> int:
        """Return a track's time now, in its ticks since the start."""
        return (self._clock.monotonic_ns() - self._started_ns) * track.rate // NS

    async def run(self) -> None:
        """Send until cancelled. Pictures nobody watches are not made."""
        index = 0
        while True:
            due_ns = self._started_ns + index * NS // self._fps
            late_ns = self._clock.monotonic_ns() - due_ns
            if late_ns < 0:
                await self._clock.sleep(-late_ns / NS)
            elif late_ns > NS:
                index += late_ns * self._fps // NS  # the machine slept: skip, as a camera would
                continue
            if any(viewer.is_playing for viewer in self.viewers):
                await self._frame(index)
            self._play_sound()
            index += 1

    async def _frame(self, index: int) -> None:
        wall = self._clock.now()
        want_key, self._wants_key = self._wants_key, False
        nals = await asyncio.to_thread(self._source.next_nals, index, wall, want_key=want_key)
        is_key = any(h264.nal_type(nal) == h264.IDR_SLICE for nal in nals)
        if not nals or (is_key and self._faults.no_key_frames):
            return
        nals = [nal for nal in nals if h264.nal_type(nal) != h264.ACCESS_UNIT_DELIMITER]
        slices = (at for at, nal in enumerate(nals) if h264.nal_type(nal) in _SLICES)
        first = next(slices, len(nals))
        nals.insert(first, build_clock_sei(wall))
        payload = h264.join_nals(nals)
        ticks = index * self.video.rate // self._fps
        packets = self.video.number(h264.packetize(payload, _MTU), ticks, marker=True)
        was_sent = False
        for viewer in list(self.viewers):
            if viewer.is_playing and (is_key or not viewer.waits_for_key):
                was_sent |= self._send_picture(viewer, packets)
        if was_sent and self._record is not None:
            self._record.write(hashlib.sha256(payload).hexdigest() + "\n")
            self._record.flush()

    def _send_picture(self, viewer: Viewer, packets: Sequence[bytes]) -> bool:
        transport = viewer.transports.get(VIDEO)
        if transport is None or self._is_stalled(viewer):
            return False
        if self._faults.garbage:
            viewer.waits_for_key = False
            transport.send_garbage(os.urandom(_GARBAGE_BYTES))
            return False
        self._report(viewer)
        was_sent = transport.send_media(packets)
        viewer.waits_for_key = not was_sent
        return was_sent

    def _play_sound(self) -> None:
        if self.audio is None:
            return
        wanted = self.ticks(self.audio) // _AUDIO_SAMPLES
        self._frames_of_sound = max(self._frames_of_sound, wanted - self._fps)
        while self._frames_of_sound < wanted:
            frame = self._sound[self._frames_of_sound % len(self._sound)]
            ticks = self._frames_of_sound * _AUDIO_SAMPLES
            packets = self.audio.number([frame], ticks, marker=False)
            for viewer in self.viewers:
                transport = viewer.transports.get(AUDIO)
                if viewer.is_playing and transport and not self._is_silent(viewer):
                    transport.send_media(packets)
            self._frames_of_sound += 1

    def _is_silent(self, viewer: Viewer) -> bool:
        return self._faults.garbage or viewer.waits_for_key or self._is_stalled(viewer)

    def _is_stalled(self, viewer: Viewer) -> bool:
        after_s = self._faults.stall_after_s
        if after_s is None:
            return False
        return self._clock.monotonic_ns() - viewer.playing_since_ns > after_s * NS

    def _report(self, viewer: Viewer) -> None:
        """Send sender reports of both tracks every two seconds, the first before any media."""
        mono_ns = self._clock.monotonic_ns()
        if viewer.reported_ns and mono_ns - viewer.reported_ns < _REPORT_S * NS:
            return
        viewer.reported_ns = mono_ns
        wall = self._clock.now()
        for number, track in ((VIDEO, self.video), (AUDIO, self.audio)):
            transport = viewer.transports.get(number)
            if track is not None and transport is not None:
                transport.send_report(track.report(wall, self.ticks(track)))


def _beeps() -> list[bytes]:
    """One second of PCMA in 20 ms frames: a beep at its start over a quiet hum."""
    seconds = np.arange(_AUDIO_RATE) / _AUDIO_RATE
    beep = np.where(seconds < _BEEP_S, np.sin(2 * np.pi * _BEEP_HZ * seconds), 0.0)
    hum = 0.01 * np.sin(2 * np.pi * 100 * seconds)
    coded = _to_alaw(((0.5 * beep + hum) * 32767).astype(np.int64))
    return [coded[at : at + _AUDIO_SAMPLES] for at in range(0, len(coded), _AUDIO_SAMPLES)]


def _to_alaw(samples: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bytes:
    """Compand 16-bit samples (ITU-T G.711, A-law): 12-bit magnitudes, even bits inverted."""
    magnitude = np.minimum(np.abs(samples) >> 3, 4095)
    segment = np.maximum(0, np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int64) - 4)
    mantissa = magnitude >> np.maximum(segment, 1) & 0x0F
    code = segment << 4 | mantissa | np.where(samples >= 0, 0x80, 0)
    return bytes((code ^ 0x55).astype(np.uint8))
