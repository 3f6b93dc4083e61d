"""Short-lived signed tokens between the programs.

A token is ``payload.signature``, both base64url; the payload is canonical JSON. Two kinds:

* a *grant* of central: this user may see these streams between these instants, for this case;
* a device's *proof*: I am this device of this site, my certificate is enclosed (for WHIP).
"""

import json
from typing import Annotated, Any, Literal

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.canonical import canonical_bytes
from contracts.errors import Denied, InvalidInput
from contracts.ids import parse_device_id
from contracts.signing import (
    Signer,
    b64url,
    check_issued_by,
    common_name,
    load_certificate,
    unb64url,
    verify,
)

_MOST_TOKEN_BYTES = 8192

GrantUse = Literal["replay", "live", "status"]


class Grant(BaseModel):
    """What central lets one user see. Times: wall time in nanoseconds, a half-open range."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["grant"] = "grant"
    use: GrantUse
    site: str
    user: str
    case: str | None = None
    streams: Annotated[tuple[str, ...], Field(max_length=64)]
    not_before_ns: int = 0
    not_after_ns: int = 0
    expires_s: int


class DeviceProof(BaseModel):
    """A device proves its identity over HTTP, where its TLS client certificate cannot reach us."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["device"] = "device"
    site: str
    device: str
    audience: Literal["whip"] = "whip"
    certificate: str
    expires_s: int


def issue(token: Grant | DeviceProof, signer: Signer) -> str:
    """Sign a token."""
    payload = canonical_bytes(token.model_dump(mode="json"))
    return f"{b64url(payload)}.{signer.sign(payload)}"


def read_grant(text: str, *, central: x509.Certificate, now_s: int) -> Grant:
    """Check and read a grant.

    Raises:
        InvalidInput: not a token.
        Denied: wrong signature or expired.
    """
    payload, signature, fields = _split(text)
    verify(central, payload, signature)
    try:
        grant = Grant.model_validate(fields)
    except ValidationError as exc:
        raise InvalidInput("not a grant", field="token") from exc
    if grant.expires_s < now_s:
        raise Denied("the grant has expired")
    return grant


def read_device_proof(text: str, *, ca: x509.Certificate, site: str, now_s: int) -> DeviceProof:
    """Check a device's proof against the site's CA.

    Raises:
        InvalidInput: not a token.
        Denied: wrong site, signature, issuer or name, or expired.
    """
    payload, signature, fields = _split(text)
    try:
        proof = DeviceProof.model_validate(fields)
    except ValidationError as exc:
        raise InvalidInput("not a device proof", field="token") from exc
    certificate = load_certificate(proof.certificate.encode())
    check_issued_by(certificate, ca, now_s=now_s)
    verify(certificate, payload, signature)
    if common_name(certificate) != parse_device_id(proof.device):
        raise Denied("the certificate names another device")
    if proof.site != site:
        raise Denied("the proof is for another site")
    if proof.expires_s < now_s:
        raise Denied("the proof has expired")
    return proof


def _split(text: str) -> tuple[bytes, str, Any]:
    if len(text) > _MOST_TOKEN_BYTES:
        raise InvalidInput("too long", field="token")
    head, dot, signature = text.partition(".")
    if not dot:
        raise InvalidInput("has no signature", field="token")
    payload = unb64url(head, field="token")
    try:
        return payload, signature, json.loads(payload)
    except ValueError as exc:
        raise InvalidInput("payload is not JSON", field="token") from exc
