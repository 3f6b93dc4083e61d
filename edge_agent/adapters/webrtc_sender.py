"""Publishes one stream to the gateway by WHIP (RFC 9725): access units in, SRTP out, no encoding.

`put`, `source_up` and `source_down` return at once; `run` connects, sends and reconnects. The SDP
session outlives the camera: when the camera is away nothing is sent but a report each second, and
the gateway learns the cause from the device's health over MQTT.
"""

import asyncio
import contextlib
import json
import secrets
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pylibsrtp
import structlog
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc import sdp as aiortc_sdp
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError

from contracts.backoff import Backoff
from contracts.clock import Clock
from contracts.errors import Denied, InvalidInput, ProtocolError, Unavailable
from contracts.media.access_unit import AccessUnit, Codec
from contracts.media.rtp import is_rtcp
from contracts.media.rtp_sender import RtxNumbers, StreamNumbers
from contracts.signing import Signer
from contracts.timestamps import NS
from contracts.tokens import DeviceProof, issue
from contracts.wire.devices import HealthCause
from edge_agent.core.outgoing import OutgoingStreams, TrackTime
from edge_agent.core.send_queue import SendQueue
from edge_agent.ports import HealthReporter

_log = structlog.get_logger(__name__)

_CONNECT_S = 10.0
_ANSWER_S = 10.0
_IDLE_S = 0.5
_REPORT_NS = NS
_SILENT_NS = 3 * NS
"""The gateway reports each second; after three missing reports it is taken for gone, because every
second spent waiting is a second nobody records."""
_PROOF_S = 60
_MOST_ANSWER_BYTES = 64 << 10
_MOST_DETAIL = 200
_PACKETS_PER_TURN = 32
"""A key frame is sent in several turns of the loop, so that requests for lost packets get in."""
_CODEC_NAMES: dict[str, Codec] = {
    "video/h264": "h264",
    "audio/pcma": "pcma",
    "audio/pcmu": "pcmu",
    "audio/opus": "opus",
}
_REFUSED = (401, 403, 404, 406, 409, 413, 415, 422)
_SRTP_FIRST_OCTETS = range(128, 192)


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderOptions:
    """Where one stream goes, and as whom.

    Attributes:
        url: base of the gateway, e.g. ``https://127.0.0.1:8460``.
        tls: trusts the site's CA only.
        site: the site's id.
        device: whose stream it is.
        stream: full id, ``device.name``.
        certificate: PEM of the device's certificate; it is part of the proof.
        ice_addresses: host addresses to send from; none means all but loopback.
        most_bytes: bound of the send queue.
    """

    url: str
    tls: ssl.SSLContext
    site: str
    device: str
    stream: str
    certificate: str
    ice_addresses: tuple[str, ...] = ()
    most_bytes: int = 16 << 20


class WebrtcSender:
    """Takes the access units of one stream (`edge_agent.ports.MediaSink`) and publishes them."""

    def __init__(
        self,
        options: SenderOptions,
        *,
        signer: Signer,
        health: HealthReporter,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._options = options
        self._signer = signer
        self._health = health
        self._clock = clock
        self._random = random
        self._backoff = Backoff()
        self._queue = SendQueue(most_bytes=options.most_bytes)
        self._more = asyncio.Event()
        self._times: dict[str, TrackTime] = {}
        self._session = 0
        self._refused_codecs: set[str] = set()
        self._is_published = False

    @property
    def dropped(self) -> int:
        """Units given up because the queue was full."""
        return self._queue.dropped

    def put(self, unit: AccessUnit) -> None:
        """Pass one access unit on."""
        if unit.config.codec not in _CODEC_NAMES.values():
            self._refuse_codec(unit.config.codec)
            return
        self._queue.put(unit, self._session)
        self._more.set()

    def source_up(self, session: str) -> None:
        """Media time starts anew; what goes out continues one timeline."""
        _log.debug("source_up", stream=self._options.stream, session=session)
        self._session += 1

    def source_down(self, cause: HealthCause, detail: str) -> None:
        """Nothing follows before the next `source_up`; the session stays."""
        _log.debug("source_down", stream=self._options.stream, cause=cause, detail=detail)

    async def run(self) -> None:
        """Publish until cancelled; reconnects with jittered delays."""
        attempt = 0
        async with httpx.AsyncClient(
            verify=self._options.tls, timeout=_ANSWER_S, trust_env=False
        ) as http:
            while True:
                self._is_published = False
                try:
                    await self._publish(http)
                except (Denied, InvalidInput) as exc:
                    self._tell_failure("gateway_refused", f"网关拒绝推流：{exc}")
                except Unavailable as exc:
                    self._tell_failure("gateway_unreachable", f"连不上网关：{exc}")
                attempt = 0 if self._is_published else attempt + 1
                await self._clock.sleep(self._backoff.delay(attempt, random=self._random()))

    async def _publish(self, http: httpx.AsyncClient) -> None:
        """One session from offer to end.

        Raises:
            Denied: the gateway does not take this stream.
            InvalidInput: its answer is unusable.
            Unavailable: it cannot be reached, or the session ended.
        """
        peer = _Peer(self._options.ice_addresses, self._clock)
        location = None
        try:
            location, answer = await self._offer(http, await peer.offer())
            await peer.accept(answer)
            self._is_published = True
            self._health.report("online", "ok")
            _log.info("published", stream=self._options.stream)
            await self._pump(peer)
        finally:
            self._queue.close()
            await peer.close()
            if location is not None:
                await self._withdraw(http, location)
        raise Unavailable(peer.end_reason or "the session ended")

    async def _offer(self, http: httpx.AsyncClient, offer: str) -> tuple[str, str]:
        url = f"{self._options.url}/whip/{self._options.stream}"
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {self._proof()}"}
        try:
            response = await http.post(url, content=offer, headers=headers)
        except httpx.HTTPError as exc:
            raise Unavailable(f"{self._options.url}: {str(exc) or type(exc).__name__}") from exc
        if response.status_code in _REFUSED:
            raise Denied(f"{response.status_code} {_reason(response)}")
        if response.status_code != httpx.codes.CREATED:
            raise Unavailable(f"{response.status_code} {_reason(response)}")
        if len(response.content) > _MOST_ANSWER_BYTES:
            raise InvalidInput("the answer is too long", field="sdp")
        location = str(response.url.join(response.headers.get("location", "")))
        return location, response.text

    async def _withdraw(self, http: httpx.AsyncClient, location: str) -> None:
        headers = {"Authorization": f"Bearer {self._proof()}"}
        with contextlib.suppress(httpx.HTTPError):
            await http.delete(location, headers=headers)

    def _proof(self) -> str:
        return issue(
            DeviceProof(
                site=self._options.site,
                device=self._options.device,
                certificate=self._options.certificate,
                expires_s=self._clock.now() // NS + _PROOF_S,
            ),
            self._signer,
        )

    async def _pump(self, peer: "_Peer") -> None:
        streams = OutgoingStreams(
            peer.numbers, self._times, ssrc=peer.ssrc, send_rtcp=peer.send_rtcp
        )
        peer.on_feedback = streams.feedback
        self._queue.open()
        reported_ns = 0
        while not peer.ended.is_set():
            taken = self._queue.pop()
            if taken is not None:
                await self._send(peer, streams, *taken)
            else:
                await self._wait_more()
            now = self._clock.monotonic_ns()
            if now - reported_ns >= _REPORT_NS:
                reported_ns = now
                streams.report()
            if now - peer.heard_ns > _SILENT_NS:
                peer.end("网关 3 秒没有回音 (nothing heard from the gateway for 3 s)")

    async def _send(
        self, peer: "_Peer", streams: OutgoingStreams, unit: AccessUnit, session: int
    ) -> None:
        try:
            packets = streams.packets(unit, session)
        except InvalidInput as exc:
            _log.warning("unit_not_sendable", stream=self._options.stream, reason=str(exc))
            return
        for index, packet in enumerate(packets):
            peer.send_rtp(packet)
            if index % _PACKETS_PER_TURN == _PACKETS_PER_TURN - 1:
                await asyncio.sleep(0)

    async def _wait_more(self) -> None:
        self._more.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_S):
                await self._more.wait()

    def _refuse_codec(self, codec: str) -> None:
        if codec not in self._refused_codecs:
            self._refused_codecs.add(codec)
            self._health.report(
                "degraded",
                "unsupported_codec",
                f"{self._options.stream}：{codec} 无法推流，请把摄像机改为 H.264、G.711 或 Opus",
            )

    def _tell_failure(self, cause: HealthCause, detail: str) -> None:
        _log.warning("publish_failed", stream=self._options.stream, cause=cause, detail=detail)
        self._health.report("degraded", cause, detail)


class _Peer:
    """The offering peer connection: ICE, DTLS and SDP by aiortc, SRTP by us.

    Private names of aiortc 1.16 and aioice 0.13 it relies on, and no other place in the agent:

    * ``RTCDtlsTransport._rx_srtp``, ``._tx_srtp``;
    * ``RTCIceTransport._connection``;
    * ``Connection._protocols``, ``._nominated``, ``.get_component_candidates`` (replaced);
    * ``StunProtocol.datagram_received`` (replaced), ``.transport``;
    * ``CandidatePair.protocol``, ``.remote_addr``.

    Public names replaced on instances: ``RTCRtpSender.send``, ``RTCRtpReceiver.receive``.
    """

    def __init__(self, addresses: tuple[str, ...], clock: Clock) -> None:
        self.ended = asyncio.Event()
        self.end_reason = ""
        self.heard_ns = clock.monotonic_ns()
        self.ssrc = secrets.randbits(32)
        self.numbers: dict[str, StreamNumbers] = {}
        self.on_feedback: Callable[[bytes], list[bytes]] | None = None
        self._clock = clock
        self._connected = asyncio.Event()
        self._pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._pc.on("connectionstatechange", self._state_changed)
        self._ssrcs: dict[str, list[int]] = {}
        video: Any = self._add("video")
        self._add("audio")
        self._dtls: Any = video.receiver.transport
        self._connection: Any = self._dtls.transport._connection  # noqa: SLF001 - see class
        if addresses:
            self._choose_addresses(list(addresses))

    async def offer(self) -> str:
        """The offer, with all host candidates.

        Raises:
            Unavailable: no address could be bound.
        """
        await self._pc.setLocalDescription(await self._pc.createOffer())
        if not self._connection._protocols:  # noqa: SLF001 - see class
            raise Unavailable("没有可用的本机网络地址 (no local address can be bound)")
        for protocol in self._connection._protocols:  # noqa: SLF001 - see class
            self._intercept(protocol)
        offer = str(self._pc.localDescription.sdp)
        for media in aiortc_sdp.SessionDescription.parse(offer).media:
            self._ssrcs[media.kind] = [source.ssrc for source in media.ssrc]
        return offer

    async def accept(self, answer: str) -> None:
        """Take the answer and connect.

        Raises:
            InvalidInput: the answer is unusable.
            Unavailable: no connection came about.
        """
        try:
            parsed = aiortc_sdp.SessionDescription.parse(answer)
            await self._pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            for media in parsed.media:
                self._note_numbers(media)
        except (ValueError, LookupError, AssertionError, TypeError, AttributeError) as exc:
            raise InvalidInput(f"unusable: {exc}", field="sdp.answer") from exc
        except (OperationError, InvalidStateError, InvalidAccessError) as exc:
            raise InvalidInput(f"no common codec: {exc}", field="sdp.answer") from exc
        try:
            async with asyncio.timeout(_CONNECT_S):
                await self._connected.wait()
        except TimeoutError as exc:
            raise Unavailable("媒体通道建立超时，请检查 UDP 是否被防火墙拦截") from exc

    def send_rtp(self, packet: bytes) -> None:
        """Encrypt and send; lost when the peer is gone."""
        pair = self._connection._nominated.get(1)  # noqa: SLF001 - see class
        srtp = self._dtls._tx_srtp  # noqa: SLF001 - see class
        if pair is not None and srtp is not None:
            pair.protocol.transport.sendto(srtp.protect(packet), pair.remote_addr)

    def send_rtcp(self, packet: bytes) -> None:
        """Encrypt and send; lost when the peer is gone."""
        pair = self._connection._nominated.get(1)  # noqa: SLF001 - see class
        srtp = self._dtls._tx_srtp  # noqa: SLF001 - see class
        if pair is not None and srtp is not None:
            pair.protocol.transport.sendto(srtp.protect_rtcp(packet), pair.remote_addr)

    def end(self, reason: str) -> None:
        """Note that the session is over."""
        if not self.ended.is_set():
            self.end_reason = reason
            self.ended.set()

    async def close(self) -> None:
        """Free the sockets."""
        self.end("closed")
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(_CONNECT_S):
                await self._pc.close()

    def _add(self, kind: str) -> Any:
        transceiver: Any = self._pc.addTransceiver(kind, direction="sendonly")
        capabilities = RTCRtpSender.getCapabilities(kind)
        transceiver.setCodecPreferences(
            [
                c
                for c in capabilities.codecs
                if c.mimeType.lower() in _CODEC_NAMES or c.mimeType.lower() == "video/rtx"
            ]
        )
        transceiver.sender.send = self._open
        transceiver.receiver.receive = self._open
        return transceiver

    def _note_numbers(self, media: aiortc_sdp.MediaDescription) -> None:
        """Draw the numbers of each codec the gateway took, in its order of preference."""
        ssrcs = self._ssrcs.get(media.kind, [])
        apts = {
            entry.parameters.get("apt"): entry.payloadType
            for entry in media.rtp.codecs
            if entry.mimeType.lower() == "video/rtx"
        }
        for entry in media.rtp.codecs:
            codec = _CODEC_NAMES.get(entry.mimeType.lower())
            if codec is None or codec in self.numbers or not ssrcs:
                continue
            rtx_type = apts.get(entry.payloadType)
            rtx = None
            if rtx_type is not None and len(ssrcs) > 1:
                rtx = RtxNumbers(
                    payload_type=rtx_type, ssrc=ssrcs[1], sequence=secrets.randbits(15)
                )
            self.numbers[codec] = StreamNumbers(
                payload_type=int(entry.payloadType or 0),
                ssrc=ssrcs[0],
                sequence=secrets.randbits(15),
                timestamp=secrets.randbits(32),
                cname=f"{self.ssrc:08x}",
                rtx=rtx,
            )

    def _choose_addresses(self, addresses: list[str]) -> None:
        original: Callable[..., Awaitable[Any]] = self._connection.get_component_candidates

        async def chosen(**options: Any) -> Any:
            return await original(**{**options, "addresses": addresses})

        self._connection.get_component_candidates = chosen

    def _intercept(self, protocol: Any) -> None:
        original = protocol.datagram_received

        def received(data: bytes, addr: tuple[Any, ...]) -> None:
            self.heard_ns = self._clock.monotonic_ns()
            if data and data[0] in _SRTP_FIRST_OCTETS:
                self._take(data)
            else:
                original(data, addr)

        protocol.datagram_received = received

    def _take(self, data: bytes) -> None:
        srtp = self._dtls._rx_srtp  # noqa: SLF001 - see class
        if srtp is None or self.on_feedback is None or not is_rtcp(data):
            return
        try:
            for packet in self.on_feedback(srtp.unprotect_rtcp(data)):
                self.send_rtp(packet)
        except (pylibsrtp.Error, ProtocolError) as exc:
            _log.debug("feedback_ignored", reason=str(exc))

    async def _open(self, _parameters: object) -> None:
        """Called by the peer connection, once per track, when DTLS is connected."""
        self._connected.set()

    def _state_changed(self) -> None:
        state = self._pc.connectionState
        if state in ("failed", "closed"):
            self.end(f"connection {state}")


def _reason(response: httpx.Response) -> str:
    """The server's own words, if it has any."""
    try:
        body = json.loads(response.content[:_MOST_ANSWER_BYTES])
    except ValueError:
        return response.reason_phrase
    detail = body.get("detail") if isinstance(body, dict) else None
    return str(detail)[:_MOST_DETAIL] if detail else response.reason_phrase
