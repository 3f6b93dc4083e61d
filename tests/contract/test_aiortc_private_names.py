"""What we use of aiortc and aioice beyond their public interface.

This test fails first when a new version moves a name: read it before any other failure. The names
are listed in `gateway.adapters.webrtc.transport.PeerTransport` and, for the agent, in
`edge_agent.adapters.webrtc_sender`.
"""

import asyncio
import importlib.metadata
import inspect
from typing import Any

import pytest
from aioice.ice import CandidatePair, Connection, StunProtocol
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender

from tests.waiting import until


@pytest.mark.parametrize(("package", "series"), [("aiortc", "1.16."), ("aioice", "0.13.")])
def test_versions_are_those_we_read(package: str, series: str) -> None:
    """Private names are only known for these series; pyproject pins them."""
    assert importlib.metadata.version(package).startswith(series)


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (Connection.get_component_candidates, ["self", "component", "addresses", "timeout"]),
        (StunProtocol.datagram_received, ["self", "data", "addr"]),
        (RTCRtpSender.send, ["self", "parameters"]),
        (RTCRtpReceiver.receive, ["self", "parameters"]),
    ],
)
def test_what_we_replace_has_the_signature_we_replace(function: Any, parameters: list[str]) -> None:
    """We put functions of the same shape in these places, on instances."""
    assert list(inspect.signature(function).parameters) == parameters


def test_candidate_pair_names_its_ends() -> None:
    """Sending needs the protocol and the address of the nominated pair."""
    assert "protocol" in inspect.signature(CandidatePair.__init__).parameters
    assert isinstance(inspect.getattr_static(CandidatePair, "remote_addr"), property)


def replace(pc: RTCPeerConnection, direction: str, opened: list[str]) -> Any:
    """Do to a peer connection what the adapters do, and return its DTLS transport."""
    transceiver: Any = pc.addTransceiver("video", direction=direction)

    async def note(_parameters: object) -> None:
        opened.append(direction)

    transceiver.sender.send = note
    transceiver.receiver.receive = note
    dtls = transceiver.receiver.transport
    connection = dtls.transport._connection
    original = connection.get_component_candidates

    async def loopback(**options: Any) -> Any:
        return await original(**{**options, "addresses": ["127.0.0.1"]})

    connection.get_component_candidates = loopback
    return dtls


async def test_one_packet_passes_through_the_replaced_names() -> None:
    """Every private name at work at once: handshake, interception, SRTP both ways of one packet."""
    opened: list[str] = []
    received: list[bytes] = []
    left, right = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    try:
        sending = replace(left, "sendonly", opened)
        receiving = replace(right, "recvonly", opened)
        assert sending._rx_srtp is None
        assert sending._tx_srtp is None
        await left.setLocalDescription(await left.createOffer())
        await right.setRemoteDescription(
            RTCSessionDescription(left.localDescription.sdp, left.localDescription.type)
        )
        await right.setLocalDescription(await right.createAnswer())
        (protocol,) = receiving.transport._connection._protocols
        original = protocol.datagram_received

        def intercept(data: bytes, addr: tuple[str, int]) -> None:
            if 127 < data[0] < 192:
                received.append(receiving._rx_srtp.unprotect(data))
            else:
                original(data, addr)

        protocol.datagram_received = intercept
        await left.setRemoteDescription(
            RTCSessionDescription(right.localDescription.sdp, right.localDescription.type)
        )
        await until(lambda: sorted(opened) == ["recvonly", "sendonly"])

        packet = bytes.fromhex("80e1000100000000deadbeef") + b"payload"
        pair = sending.transport._connection._nominated.get(1)
        pair.protocol.transport.sendto(sending._tx_srtp.protect(packet), pair.remote_addr)
        await until(lambda: received == [packet])
        assert protocol.transport.get_extra_info("socket") is not None
    finally:
        async with asyncio.timeout(5):
            await left.close()
            await right.close()
    assert left.connectionState == "closed"
