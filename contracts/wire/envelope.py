"""The envelope of every event of a device: ordered, chained, signed.

``seq`` counts per device, survives restarts and has no holes. ``prev`` is the digest of the
envelope with ``seq - 1`` (64 zeros for the first), so that a removed or reordered event shows. The
signature covers the canonical bytes of everything but itself.
"""

import json
from typing import Annotated, Any, ClassVar, Literal, Self

from cryptography import x509
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from contracts.canonical import canonical_bytes, digest
from contracts.errors import Denied, ProtocolError
from contracts.signing import Signer, verify
from contracts.timestamps import ClockSource

GENESIS = "0" * 64
MOST_ENVELOPE_BYTES = 256 * 1024


class WireModel(BaseModel):
    """A message: immutable, and tolerant of fields that a newer sender adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Labelled(WireModel):
    """A message whose JSON says what it is, under the key `LABEL`.

    The label is a constant of the class, not a field. JSON without it is taken for what its topic
    says; JSON with another one is refused.
    """

    LABEL: ClassVar[str]

    @classmethod
    def label(cls) -> str:
        """What the message is."""
        name: str = getattr(cls, cls.LABEL)
        return name

    @model_serializer(mode="wrap")
    def _with_label(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {self.LABEL: self.label(), **fields(self)}

    @model_validator(mode="before")
    @classmethod
    def _refuse_another(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get(cls.LABEL, cls.label()) != cls.label():
            raise ValueError(f"{cls.LABEL} {data[cls.LABEL]!r} is not {cls.label()!r}")
        return data


class EventBody(Labelled):
    """Body of an envelope; `TYPE` is also the envelope's `type`."""

    LABEL: ClassVar[str] = "TYPE"
    TYPE: ClassVar[str]


class Statement(Labelled):
    """A fact or an order; `KIND` is also the last part of its topic."""

    LABEL: ClassVar[str] = "KIND"
    KIND: ClassVar[str]


class StampClock(WireModel):
    """Where `observed_ns` came from and how wrong it may be."""

    source: ClockSource
    error_ms: int | None = None


class Envelope(WireModel):
    """One event of one device. `observed_ns`: wall time in nanoseconds at the agent."""

    v: Literal[1] = 1
    id: Annotated[str, Field(min_length=36, max_length=36)]
    type: Annotated[str, Field(max_length=64)]
    site: Annotated[str, Field(max_length=64)]
    device: Annotated[str, Field(max_length=64)]
    boot: Annotated[str, Field(max_length=64)]
    seq: Annotated[int, Field(ge=1)]
    observed_ns: int
    clock: StampClock
    body: dict[str, Any]
    prev: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    suite: Literal["es256"] = "es256"
    sig: str = ""

    def signed_bytes(self) -> bytes:
        """The canonical bytes that the signature covers."""
        return canonical_bytes(self.model_dump(mode="json", exclude={"sig"}))

    def digest(self) -> str:
        """SHA-256 in hex, which the next envelope carries as `prev`. Covers the signature too."""
        return digest(self.model_dump(mode="json"))

    def signed(self, signer: Signer) -> Self:
        """A copy with its signature."""
        return self.model_copy(update={"sig": signer.sign(self.signed_bytes())})

    def encode(self) -> bytes:
        """Bytes for the wire."""
        return canonical_bytes(self.model_dump(mode="json"))


def decode(raw: bytes) -> Envelope:
    """Read an envelope.

    Raises:
        ProtocolError: too large, not JSON, or a field is missing or wrong (named).
    """
    if len(raw) > MOST_ENVELOPE_BYTES:
        raise ProtocolError(f"{len(raw)} bytes are too many", field="envelope")
    try:
        return Envelope.model_validate(json.loads(raw))
    except ValidationError as exc:
        first = exc.errors()[0]
        raise ProtocolError(first["msg"], field=".".join(map(str, first["loc"]))) from exc
    except (ValueError, RecursionError) as exc:
        raise ProtocolError("not JSON", field="envelope") from exc


def check_signature(envelope: Envelope, certificate: x509.Certificate) -> None:
    """Check who made an envelope.

    Raises:
        Denied: the signature does not fit the certificate.
    """
    if not envelope.sig:
        raise Denied("the envelope is not signed")
    verify(certificate, envelope.signed_bytes(), envelope.sig)


class Ack(WireModel):
    """The gateway's receipt: every event of the device up to `seq` is stored durably.

    A PUBACK of the broker is no receipt; an agent empties its spool only on this.
    """

    v: Literal[1] = 1
    seq: int
    rejected: str | None = None
    """Why the event after `seq` cannot be taken, for an operator; None when all is well."""
