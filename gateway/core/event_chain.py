"""Which events of a device may be stored: signed by it, next in its chain, told once.

Acceptance is by prefix: event n is stored only after n - 1, and names its digest. What comes too
early waits (see `services/event_intake`); what comes again is recognised by its digest; anything
else breaks the chain and is refused with a reason an operator can act on.
"""

from dataclasses import dataclass
from typing import Literal

from cryptography import x509

from contracts.errors import Denied
from contracts.signing import check_issued_by, common_name
from contracts.wire.access import Punched, PunchFact
from contracts.wire.devices import ClockMeasured
from contracts.wire.envelope import GENESIS, Envelope, check_signature

Place = Literal["next", "again", "early"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """Number and digest of the last stored event of a device; 0 and zeros before the first."""

    seq: int = 0
    digest: str = GENESIS


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedEvent:
    """An event to be stored, with what it means.

    Attributes:
        raw: the bytes as received, kept as evidence.
        digest: of the envelope, which the device's next one must name.
        punched: the punch in it; `punch` is what is stated to central if its key is new.
        clock: the clock measurement in it.
    """

    envelope: Envelope
    raw: bytes
    digest: str
    punched: Punched | None = None
    punch: PunchFact | None = None
    clock: ClockMeasured | None = None


def check_origin(
    envelope: Envelope, certificate: x509.Certificate, ca: x509.Certificate, *, now_s: int
) -> None:
    """Check that the device it names made an envelope.

    Raises:
        Denied: the certificate is not this site's or not this device's, or the signature is wrong.
    """
    check_issued_by(certificate, ca, now_s=now_s)
    if common_name(certificate) != envelope.device:
        raise Denied(
            f"证书属于 {common_name(certificate)}，不是 {envelope.device} "
            "(the certificate names another device)"
        )
    check_signature(envelope, certificate)


def place_in_chain(head: ChainHead, envelope: Envelope, *, stored: str | None) -> Place:
    """Say where an event stands relative to what is stored.

    Args:
        head: the device's last stored event.
        envelope: the event, its signature already checked.
        stored: digest of what is stored under the event's number, if anything.

    Raises:
        Denied: it contradicts what is stored; the message says how.
    """
    if envelope.seq <= head.seq:
        if stored == envelope.digest():
            return "again"
        raise Denied(
            f"第 {envelope.seq} 号事件与已存的不同（已存到第 {head.seq} 号）："
            "设备的暂存库丢失或被替换，请重新登记该设备 "
            "(stored with other content: spool lost or replaced; enrol it again)"
        )
    if envelope.seq > head.seq + 1:
        return "early"
    if envelope.prev != head.digest:
        raise Denied(
            f"第 {envelope.seq} 号事件不接在第 {head.seq} 号之后：中间的事件被改动或丢失 "
            "(prev does not name the stored event: something between was changed or lost)"
        )
    return "next"
