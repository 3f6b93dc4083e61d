"""RTP of one track in, access units out: for WebRTC (behind SRTP) and for our RTSP client alike.

Theory of operation. Packets that come in order go straight to the depacketizer; only when one is
missing the later ones wait in a dictionary. A hole is waited for `hole_ms` (the caller may ask for
`missing()` meanwhile), then given up: what was gathered of the unit before it and the whole unit
behind it are dropped, since nobody can tell whether their missing parts mattered, and the next
unit carries `lost_before`. A unit ends at the marker, or when the timestamp changes (some cameras
forget the marker); parameter sets that come under a marker of their own are kept for the picture
that follows. Nothing is emitted before the first key frame whose parameter sets are known.

Nothing here raises on what a peer sends: malformed packets are counted and their unit is dropped.
"""

from collections.abc import Callable
from typing import Protocol

from contracts.errors import InvalidInput, ProtocolError
from contracts.media.access_unit import VIDEO_CODECS, AccessUnit, Codec, CodecConfig
from contracts.media.audio import AudioDepacketizer, audio_depacketizer
from contracts.media.h264 import H264Depacketizer
from contracts.media.rtcp import ReportBlock
from contracts.media.rtp import HEADER, Unwrapper, payload_bounds, signed_difference
from contracts.timestamps import NS, MediaTime, WallTime, ntp_to_wall

MOST_UNIT_BYTES = 8 << 20
MOST_WAITING_PACKETS = 4096
MOST_WAITING_BYTES = 16 << 20
MOST_MISSING = 512

_PLAIN_HEADER = 0x80
_MARKER_BIT = 0x80
_NS_PER_MS = 1_000_000

_Waiting = tuple[int, bool, bytes, WallTime, int]
"""timestamp, marker, payload, now, mono_ns of a packet behind a hole."""


class VideoDepacketizer(Protocol):
    """Puts payloads of one access unit together; one class per video codec.

    Attributes:
        config: what decodes the units taken so far; a new object when parameter sets change.
        broken: a payload did not fit.
        has_picture: coded picture data is in the unit in work.
        size: octets gathered.
    """

    config: CodecConfig | None
    broken: bool
    has_picture: bool
    size: int

    @property
    def complete(self) -> bool:
        """Nothing is open or malformed."""
        ...

    def push(self, payload: bytes) -> None:
        """Add the next payload; sets `broken` rather than raising."""
        ...

    def take(self) -> tuple[bytes, bool]:
        """Return the unit and whether it is a key frame; adopt its parameter sets."""
        ...

    def clear(self) -> None:
        """Forget the unit in work."""
        ...


class RtpReceiver:
    """Receives one RTP stream; see the module's theory of operation.

    Attributes:
        wants_key_frame: set after a loss and while no decodable key frame was seen; the caller
            asks the sender and clears it.
        ssrc: of the first packet `datagram` took; packets of others are counted and ignored.
        received: packets taken, duplicates and late ones included.
        lost: packets given up.
        malformed: packets or units that break their format.
        foreign: datagrams of another SSRC.
        emitted: access units handed over.
    """

    def __init__(
        self,
        codec: Codec,
        rate: int,
        emit: Callable[[AccessUnit], None],
        config: CodecConfig | None = None,
        hole_ms: int = 300,
    ) -> None:
        self.wants_key_frame = codec in VIDEO_CODECS
        self.ssrc: int | None = None
        self.received = self.lost = self.malformed = self.foreign = self.emitted = 0
        self._rate = rate
        self._emit = emit
        self._hole_ns = hole_ms * _NS_PER_MS
        self._is_video = codec in VIDEO_CODECS
        if self._is_video:
            self._video = _video_depacketizer(codec, rate, config)
            self._deliver = self._deliver_video
        else:
            self._audio_config = config or CodecConfig(codec=codec, rate=rate, channels=1)
            self._audio: AudioDepacketizer = audio_depacketizer(self._audio_config)
            self._deliver = self._deliver_audio
        self._next = -1
        self._extended = 0
        self._first_extended = 0
        self._strange_next = -1
        self._waiting: dict[int, _Waiting] = {}
        self._waiting_bytes = 0
        self._furthest = 0
        self._hole_since = 0
        self._lost_before = 0
        self._unit_timestamp = -1
        self._unit_arrived = WallTime(0)
        self._skipped_timestamp = -1
        self._times = Unwrapper(32)
        self._report_wall: int | None = None
        self._report_timestamp = 0
        self._report_ntp = 0
        self._report_mono = 0
        self._reported_expected = self._reported_received = 0
        self._jitter = 0.0
        self._transit: int | None = None

    def datagram(self, data: bytes, *, now: WallTime, mono_ns: int) -> None:
        """Take one RTP packet as it came from the network.

        Args:
            data: the whole packet, already decrypted.
            now: wall time of its arrival.
            mono_ns: monotonic time of its arrival.
        """
        if len(data) > 12 and data[0] == _PLAIN_HEADER:  # noqa: PLR2004 - no options: the usual
            start, end = 12, len(data)
        else:
            try:
                start, end = payload_bounds(data)
            except ProtocolError:
                self.malformed += 1
                return
        _, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
        if ssrc != self.ssrc:
            if self.ssrc is not None:
                self.foreign += 1
                return
            self.ssrc = ssrc
        self.packet(
            sequence,
            timestamp,
            second >= _MARKER_BIT,
            data[start:end],
            now=now,
            mono_ns=mono_ns,
        )

    def packet(
        self,
        sequence: int,
        timestamp: int,
        marker: bool,
        payload: bytes,
        *,
        now: WallTime,
        mono_ns: int,
    ) -> None:
        """Take one packet whose header was read elsewhere (or a retransmission, unwrapped).

        Args:
            sequence: 16 bits.
            timestamp: 32 bits.
            marker: the marker bit.
            payload: without padding; may be empty.
            now: wall time of its arrival.
            mono_ns: monotonic time of its arrival.
        """
        self.received += 1
        if sequence == self._next and not self._waiting:
            self._next = (sequence + 1) & 0xFFFF
            self._extended += 1
            if payload:
                self._deliver(timestamp, marker, payload, now)
            return
        if self._next < 0:
            self._start_at(sequence)
        ahead = (sequence - self._next) & 0xFFFF
        if ahead < MOST_WAITING_PACKETS:
            self._wait(sequence, (timestamp, marker, payload, now, mono_ns))
        elif ahead < 0x10000 - MOST_WAITING_PACKETS:
            self._strange(sequence, (timestamp, marker, payload, now, mono_ns))

    def sender_report(self, ntp: int, rtp_timestamp: int, *, mono_ns: int = 0) -> None:
        """Take the clock of a sender report; units from now on carry `captured_at`.

        Args:
            ntp: 64 bits; 0 means the sender has no clock and is ignored (RFC 3550 section 6.4.1).
            rtp_timestamp: the same instant, 32 bits.
            mono_ns: when it arrived, for the delay in our own reports.
        """
        if ntp == 0:
            return
        self._report_wall = ntp_to_wall(ntp)
        self._report_timestamp = rtp_timestamp
        self._report_ntp = ntp
        self._report_mono = mono_ns

    def missing(self) -> list[int]:
        """Return the wrapped sequence numbers worth a NACK, in sending order, at most 512."""
        if not self._waiting:
            return []
        numbers: list[int] = []
        sequence = self._next
        while sequence != self._furthest and len(numbers) < MOST_MISSING:
            if sequence not in self._waiting:
                numbers.append(sequence)
            sequence = (sequence + 1) & 0xFFFF
        return numbers

    def poll(self, mono_ns: int) -> None:
        """Give up holes that are older than `hole_ms`; call it a few times a second."""
        while self._waiting and mono_ns - self._hole_since >= self._hole_ns:
            self._give_up()

    def report(self, mono_ns: int) -> ReportBlock:
        """Return what a receiver report says of this stream, and begin the next interval.

        The jitter is measured once per access unit, not per packet: a key frame's burst of
        packets with one timestamp says nothing about the network.
        """
        expected = self._extended - self._first_extended
        interval = expected - self._reported_expected
        lost = interval - (self.received - self._reported_received)
        self._reported_expected, self._reported_received = expected, self.received
        delay = (mono_ns - self._report_mono) * 0x10000 // NS if self._report_ntp else 0
        return ReportBlock(
            ssrc=self.ssrc or 0,
            fraction_lost=min(255, max(0, lost) * 256 // interval) if interval > 0 else 0,
            cumulative_lost=expected - self.received,
            highest_sequence=max(0, self._extended - 1),
            jitter=int(self._jitter),
            last_report=self._report_ntp >> 16 & 0xFFFFFFFF,
            delay_since_last=delay,
        )

    # Order

    def _start_at(self, sequence: int) -> None:
        self._next = sequence
        self._extended = self._first_extended = sequence

    def _wait(self, sequence: int, packet: _Waiting) -> None:
        """Keep a packet that is ahead of its turn, then take what is in turn."""
        if sequence in self._waiting:
            return
        if not self._waiting:
            self._furthest = sequence
            self._hole_since = packet[4]
        elif 0 < (sequence - self._furthest) & 0xFFFF < MOST_WAITING_PACKETS:
            self._furthest = sequence
        self._waiting[sequence] = packet
        self._waiting_bytes += len(packet[2])
        self._drain()
        while self._waiting_bytes > MOST_WAITING_BYTES:
            self._give_up()
        self.poll(packet[4])

    def _drain(self) -> None:
        moved = False
        while (packet := self._waiting.pop(self._next, None)) is not None:
            moved = True
            self._next = (self._next + 1) & 0xFFFF
            self._extended += 1
            timestamp, marker, payload, now, _ = packet
            if payload:
                self._waiting_bytes -= len(payload)
                self._deliver(timestamp, marker, payload, now)
        if moved and self._waiting:
            sequence = self._next
            while sequence not in self._waiting:
                sequence = (sequence + 1) & 0xFFFF
            self._hole_since = self._waiting[sequence][4]

    def _give_up(self) -> None:
        """Skip the hole in front: its packets are lost, and so are the units it touches."""
        lost = 0
        while self._next not in self._waiting:
            self._next = (self._next + 1) & 0xFFFF
            lost += 1
        self._extended += lost
        self._note_loss(lost, self._waiting[self._next][0])
        self._drain()

    def _strange(self, sequence: int, packet: _Waiting) -> None:
        """A number far off: believe it when the next one follows (RFC 3550 appendix A.1)."""
        if sequence != self._strange_next:
            self._strange_next = (sequence + 1) & 0xFFFF
            return
        self._strange_next = -1
        while self._waiting:
            self._give_up()
        gap = (sequence - self._next) & 0xFFFF
        self._note_loss(gap if gap < 0x8000 else 1, packet[0])  # noqa: PLR2004 - half the range
        self._first_extended += sequence - (self._extended & 0xFFFF)
        self._extended += sequence - (self._extended & 0xFFFF)
        self._next = sequence
        self._wait(sequence, packet)

    def _note_loss(self, lost: int, timestamp_behind: int) -> None:
        self.lost += lost
        self._lost_before += lost
        if self._is_video:
            self.wants_key_frame = True
            self._video.clear()
            self._unit_timestamp = -1
            self._skipped_timestamp = timestamp_behind
        else:
            self._audio.clear()

    # Units

    def _deliver_video(self, timestamp: int, marker: bool, payload: bytes, now: WallTime) -> None:
        video = self._video
        if timestamp != self._unit_timestamp:
            if timestamp == self._skipped_timestamp:
                return
            if self._unit_timestamp >= 0 and video.has_picture:
                self._end_unit()
            self._unit_timestamp = timestamp
            self._skipped_timestamp = -1
        video.push(payload)
        self._unit_arrived = now
        if marker and video.has_picture:
            self._end_unit()
        elif video.size > MOST_UNIT_BYTES:
            self._drop_unit()

    def _end_unit(self) -> None:
        video = self._video
        if not video.complete or video.size > MOST_UNIT_BYTES:
            self._drop_unit()
            return
        payload, key = video.take()
        timestamp, self._unit_timestamp = self._unit_timestamp, -1
        config = video.config
        if self.emitted == 0:
            if not key or config is None:
                self.wants_key_frame = True
                return
            self._lost_before = 0
        if config is not None:
            self._hand_over(config, key, timestamp, payload, self._unit_arrived)

    def _drop_unit(self) -> None:
        """A malformed or oversized unit counts as one lost packet; the rest of it is skipped."""
        self.malformed += 1
        self._note_loss(1, self._unit_timestamp)
        self.lost -= 1

    def _deliver_audio(self, timestamp: int, marker: bool, payload: bytes, now: WallTime) -> None:
        try:
            frames = self._audio.push(payload, marker=marker)
        except ProtocolError:
            self.malformed += 1
            self._lost_before += 1
            return
        for ticks, frame in frames:
            self._hand_over(self._audio_config, True, timestamp + ticks & 0xFFFFFFFF, frame, now)

    def _hand_over(
        self, config: CodecConfig, key: bool, timestamp: int, payload: bytes, now: WallTime
    ) -> None:
        captured_at = None
        if self._report_wall is not None:
            ticks = signed_difference(timestamp, self._report_timestamp, 32)
            captured_at = WallTime(self._report_wall + ticks * NS // self._rate)
        media_time = self._times.unwrap(timestamp)
        self._measure_jitter(media_time, now)
        lost_before, self._lost_before = self._lost_before, 0
        self.emitted += 1
        self._emit(
            AccessUnit(
                config=config,
                key=key,
                media_time=MediaTime(media_time),
                captured_at=captured_at,
                arrived_at=now,
                payload=payload,
                lost_before=lost_before,
            )
        )

    def _measure_jitter(self, media_time: int, now: WallTime) -> None:
        transit = now * self._rate // NS - media_time
        if self._transit is not None:
            self._jitter += (abs(transit - self._transit) - self._jitter) / 16
        self._transit = transit


def _video_depacketizer(codec: Codec, rate: int, config: CodecConfig | None) -> VideoDepacketizer:
    if codec == "h264":
        return H264Depacketizer(config, rate)
    raise InvalidInput(f"{codec} cannot be received yet", field="codec")
