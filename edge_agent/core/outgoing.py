"""The RTP streams of one publishing session, sans-I/O: units and feedback in, packets out.

Each codec is one stream. All streams of a session begin anew with it, but their timelines go on
over sessions with the gateway and over sessions of the camera, so that a receiver never sees time
jump back.
"""

from collections.abc import Callable, Mapping

from contracts.media.access_unit import AccessUnit
from contracts.media.rtcp import (
    GENERIC_NACK,
    PAYLOAD_FEEDBACK,
    TRANSPORT_FEEDBACK,
    build_receiver_report,
    iterate_compound,
    parse_nack,
)
from contracts.media.rtp_sender import RtpSender, StreamNumbers, decodable_payload
from contracts.media.rtp_timeline import ArrivalClock, RtpTimeline
from contracts.timestamps import WallTime


class TrackTime:
    """The time of one codec's units, kept over sessions."""

    def __init__(self, rate: int) -> None:
        self._timeline = RtpTimeline(rate)
        self._arrivals = ArrivalClock(rate)
        self._session: int | None = None

    def of(self, unit: AccessUnit, session: int) -> tuple[WallTime, int]:
        """(wall time of capture, RTP ticks) of a unit of the camera's session number `session`.

        The camera's word counts; without one, the least delayed arrival tells best.
        """
        if session != self._session:
            if self._session is not None:
                self._timeline.restart()
                self._arrivals.restart()
            self._session = session
        ticks = self._timeline.ticks(unit)
        if unit.captured_at is not None:
            return unit.captured_at, ticks
        return self._arrivals.wall(ticks, unit.arrived_at), ticks


class OutgoingStreams:
    """What one publishing session sends.

    Attributes:
        key_frames_wanted: how often the gateway asked for one.
    """

    def __init__(
        self,
        numbers: Mapping[str, StreamNumbers],
        times: dict[str, TrackTime],
        *,
        ssrc: int,
        send_rtcp: Callable[[bytes], None],
    ) -> None:
        """Prepare.

        Args:
            numbers: of each codec the gateway took.
            times: of each codec so far; shared by all sessions of a sender, added to here.
            ssrc: our own, for reports before there is a stream.
            send_rtcp: takes reports; they must leave before the packets returned later.
        """
        self.key_frames_wanted = 0
        self._numbers = numbers
        self._times = times
        self._ssrc = ssrc
        self._send_rtcp = send_rtcp
        self._senders: dict[str, RtpSender] = {}
        self._last: dict[str, tuple[WallTime, int]] = {}

    def packets(self, unit: AccessUnit, session: int) -> list[bytes]:
        """RTP packets of a unit; none when the gateway did not take its codec.

        Raises:
            InvalidInput: the unit's payload is malformed; nothing of it is to be sent.
        """
        codec = unit.config.codec
        numbers = self._numbers.get(codec)
        if numbers is None:
            return []
        sender = self._senders.get(codec)
        is_first = sender is None
        if sender is None:
            sender = self._senders[codec] = RtpSender(numbers)
        time = self._times.setdefault(codec, TrackTime(unit.config.rate))
        self._last[codec] = wall, ticks = time.of(unit, session)
        packets = sender.packets(unit.config, decodable_payload(unit), ticks=ticks)
        if is_first:
            # Before the first packet, so that even the first unit's capture time is known.
            self._send_rtcp(sender.sender_report(wall=wall, ticks=ticks))
        return packets

    def report(self) -> None:
        """Say what time it is on each stream, or at least that we are here."""
        for codec, sender in self._senders.items():
            wall, ticks = self._last[codec]
            self._send_rtcp(sender.sender_report(wall=wall, ticks=ticks))
        if not self._senders:
            self._send_rtcp(build_receiver_report(self._ssrc))

    def feedback(self, compound: bytes) -> list[bytes]:
        """Packets to send again for an RTCP compound of the gateway.

        A camera cannot be asked for a key frame through here; its next one comes by itself.

        Raises:
            ProtocolError: not RTCP.
        """
        again: list[bytes] = []
        for packet in iterate_compound(compound):
            if packet.packet_type == TRANSPORT_FEEDBACK and packet.count == GENERIC_NACK:
                again += self._retransmissions(*parse_nack(packet))
            elif packet.packet_type == PAYLOAD_FEEDBACK:
                self.key_frames_wanted += 1
        return again

    def _retransmissions(self, media_ssrc: int, sequences: list[int]) -> list[bytes]:
        return [
            packet
            for sender in self._senders.values()
            if sender.numbers.ssrc == media_ssrc
            for sequence in sequences
            if (packet := sender.retransmit(sequence)) is not None
        ]
