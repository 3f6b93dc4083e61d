"""Facts on their way to central: one envelope-free message with the id that makes it idempotent."""

from dataclasses import dataclass
from hashlib import sha256

from contracts.wire.access import PunchFact
from contracts.wire.footage import FootageLinkFact
from contracts.wire.presence import DeviceHealthFact, PresenceFact

WireFact = PunchFact | PresenceFact | DeviceHealthFact | FootageLinkFact
_VERSION = 8
_VARIANT = 0b10


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A fact as bytes. Publishing the same `id` twice has one effect."""

    kind: str
    id: str
    payload: bytes


def encode_fact(fact: WireFact) -> Fact:
    """Make the message of a fact.

    What is stated again with a higher revision needs an id per revision, or the broker's
    de-duplication would swallow the newer one.
    """
    payload = fact.model_dump_json().encode()
    return Fact(kind=fact.KIND, id=_message_id(fact), payload=payload)


def derived_id(*parts: object) -> str:
    """A UUIDv8 (RFC 9562, section 5.8) made of what a fact is about.

    Derived and not drawn: whoever computes the same fact again gets the same id.
    """
    value = int.from_bytes(sha256("\x1f".join(map(str, parts)).encode()).digest()[:16], "big")
    value = value & ~(0xF << 76) | _VERSION << 76
    value = value & ~(0b11 << 62) | _VARIANT << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _message_id(fact: WireFact) -> str:
    match fact:
        case PresenceFact():
            return f"{fact.id}.{fact.revision}"
        case FootageLinkFact():
            return f"{fact.step}.{fact.revision}"
        case PunchFact() if fact.revision > 0:
            return f"{fact.id}.{fact.revision}"
        case PunchFact() | DeviceHealthFact():
            return fact.id
