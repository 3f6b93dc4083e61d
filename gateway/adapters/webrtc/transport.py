"""One peer connection whose SRTP we handle ourselves.

aiortc 1.16 does ICE, DTLS and SDP here. Its RTP senders and receivers are never started: they cost
a coroutine and several objects per packet, decode what we only pass on, and a fault in one closes
the whole transport. Every private name of aiortc and aioice that the gateway relies on is in
`PeerTransport`; ``tests/contract/test_aiortc_private_names.py`` fails first when one moves.
"""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import pylibsrtp
import structlog
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError

from contracts.clock import Clock
from contracts.errors import InvalidInput, Unavailable
from contracts.media.access_unit import Codec
from contracts.media.rtp import is_rtcp
from gateway.adapters.webrtc.offer import without_unwanted_candidates
from gateway.core.media_errors import CodecMismatch

_log = structlog.get_logger(__name__)

_SRTP_FIRST_OCTETS = range(128, 192)
"""RFC 7983 section 7: what of a shared port is SRTP or SRTCP."""
_MOST_EARLY = 512
"""Datagrams kept that arrive before our side of the DTLS handshake is through."""
_SOCKET_BUFFER = 4 << 20
"""A key frame is a burst of some 200 packets, and the loop serves other cameras meanwhile."""
_CLOSE_S = 3.0

_Received = Callable[[bytes], None]


class PeerTransport:
    """ICE, DTLS and SRTP of one peer; RTP and RTCP in and out as plain octets.

    Private names it relies on:

    * ``RTCDtlsTransport._rx_srtp``, ``._tx_srtp``: libsrtp sessions, None before the handshake;
    * ``RTCIceTransport._connection``: the ``aioice.Connection``;
    * ``Connection._protocols``: one ``StunProtocol`` per host address;
    * ``Connection._nominated``: component (1) to ``CandidatePair``, empty once closed;
    * ``Connection.get_component_candidates(component=, addresses=)``: replaced on the instance, to
      choose host addresses (aioice skips loopback by itself);
    * ``StunProtocol.datagram_received(data, addr)``: replaced on the instance;
    * ``StunProtocol.transport``; ``CandidatePair.protocol``, ``.remote_addr``.

    Public names replaced on instances: ``RTCRtpSender.send`` and ``RTCRtpReceiver.receive``, which
    the peer connection awaits once DTLS is connected.

    Attributes:
        connected: set when SRTP can flow.
        ended: set when the peer is gone; `end_reason` says how.
        heard_ns: monotonic time of the last datagram of any kind.
        rejected: datagrams that failed authentication or broke a callback.
    """

    def __init__(
        self,
        *,
        addresses: Sequence[str],
        clock: Clock,
        on_rtp: _Received,
        on_rtcp: _Received,
    ) -> None:
        self.connected = asyncio.Event()
        self.ended = asyncio.Event()
        self.end_reason = ""
        self.heard_ns = clock.monotonic_ns()
        self.rejected = 0
        self._addresses = list(addresses)
        self._clock = clock
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp
        self._early: deque[bytes] = deque(maxlen=_MOST_EARLY)
        self._warned = False
        self._dtls: Any = None
        self._connection: Any = None
        # Not MAX_BUNDLE: with it aiortc stops the shared transport when the offer's sections come
        # in another order than ours.
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._pc.on("connectionstatechange", self._state_changed)

    def add(self, kind: str, direction: str, codecs: Iterable[Codec]) -> None:
        """Add a track, before `answer`; only these codecs will be agreed."""
        wanted = {f"{kind}/{codec}" for codec in codecs} | {"video/rtx"}
        transceiver: Any = self._pc.addTransceiver(kind, direction=direction)
        capabilities = RTCRtpReceiver.getCapabilities(kind)
        transceiver.setCodecPreferences(
            [c for c in capabilities.codecs if c.mimeType.lower() in wanted] if capabilities else []
        )
        transceiver.sender.send = self._open
        transceiver.receiver.receive = self._open

    async def answer(self, offer: str) -> str:
        """Answer an offer; all host candidates are in the answer.

        Raises:
            CodecMismatch: no common codec for a section.
            InvalidInput: aiortc refuses the offer.
            Unavailable: none of the configured addresses could be bound.
        """
        description = RTCSessionDescription(without_unwanted_candidates(offer), "offer")
        try:
            await self._pc.setRemoteDescription(description)
            self._find_transport()
            await self._pc.setLocalDescription(await self._pc.createAnswer())
        except OperationError as exc:
            raise CodecMismatch("与对方没有共同的编码 (no common codec)", field="sdp") from exc
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as exc:
            raise InvalidInput(f"SDP 无法应答 (cannot be answered): {exc}", field="sdp") from exc
        except (InvalidStateError, InvalidAccessError) as exc:
            raise Unavailable(f"the peer went away: {exc}") from exc
        if not self._connection._protocols:  # noqa: SLF001 - see class
            raise Unavailable(f"cannot receive media on {self._addresses or 'any address'}")
        for protocol in self._connection._protocols:  # noqa: SLF001 - see class
            self._intercept(protocol)
        return str(self._pc.localDescription.sdp)

    def send_rtp(self, packet: bytes) -> None:
        """Encrypt and send one RTP packet; lost without a word when the peer is gone."""
        pair = self._connection._nominated.get(1)  # noqa: SLF001 - see class
        srtp = self._dtls._tx_srtp  # noqa: SLF001 - see class
        if pair is not None and srtp is not None:
            pair.protocol.transport.sendto(srtp.protect(packet), pair.remote_addr)

    def send_rtcp(self, packet: bytes) -> None:
        """Encrypt and send one compound RTCP packet; lost when the peer is gone."""
        pair = self._connection._nominated.get(1)  # noqa: SLF001 - see class
        srtp = self._dtls._tx_srtp  # noqa: SLF001 - see class
        if pair is not None and srtp is not None:
            pair.protocol.transport.sendto(srtp.protect_rtcp(packet), pair.remote_addr)

    def end(self, reason: str) -> None:
        """Note that the peer is gone. `close` frees its sockets."""
        if not self.ended.is_set():
            self.end_reason = reason
            self.ended.set()

    async def close(self) -> None:
        """Say goodbye and free the sockets."""
        self.end("closed")
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(_CLOSE_S):
                await self._pc.close()

    def _find_transport(self) -> None:
        """The one transport that is left once the offer's bundle is known."""
        transports = {t.receiver.transport for t in self._pc.getTransceivers()}
        if len(transports) != 1:
            raise ValueError("all media must share one transport")
        self._dtls = transports.pop()
        self._connection = self._dtls.transport._connection  # noqa: SLF001 - see class
        if self._addresses:
            self._choose_addresses(self._connection)

    def _choose_addresses(self, connection: Any) -> None:
        original: Callable[..., Awaitable[Any]] = connection.get_component_candidates

        async def chosen(**options: Any) -> Any:
            return await original(**{**options, "addresses": self._addresses})

        connection.get_component_candidates = chosen

    def _intercept(self, protocol: Any) -> None:
        sock = protocol.transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER)
        original = protocol.datagram_received
        is_srtp = _SRTP_FIRST_OCTETS

        def received(data: bytes, addr: tuple[Any, ...]) -> None:
            self.heard_ns = self._clock.monotonic_ns()
            if not data or data[0] not in is_srtp:
                original(data, addr)
            elif not self.connected.is_set():
                self._early.append(data)
            else:
                self._take(data)

        protocol.datagram_received = received

    async def _open(self, _parameters: object) -> None:
        """Called by the peer connection, once per track, when DTLS is connected."""
        if self.connected.is_set():
            return
        self.connected.set()
        while self._early:
            self._take(self._early.popleft())

    def _take(self, data: bytes) -> None:
        srtp = self._dtls._rx_srtp  # noqa: SLF001 - see class
        if srtp is None:
            return
        try:
            if is_rtcp(data):
                self._on_rtcp(srtp.unprotect_rtcp(data))
            else:
                self._on_rtp(srtp.unprotect(data))
        except pylibsrtp.Error:
            # Replayed by a retransmission, or forged: either way not for us.
            self.rejected += 1
        except Exception:  # noqa: BLE001 - a fault of ours must not take the session down with it
            self.rejected += 1
            if not self._warned:
                self._warned = True
                _log.exception("media_callback_failed")

    def _state_changed(self) -> None:
        state = self._pc.connectionState
        if state in ("failed", "closed"):
            self.end(f"connection {state}")
