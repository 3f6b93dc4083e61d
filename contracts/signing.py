"""Signatures of devices and programs: ES256 over canonical bytes, checked against the site's CA.

The suite is a field wherever a signature is stored, so that SM2 can be added without a new format.
"""

import base64
import binascii
from typing import Literal, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contracts.errors import Denied, InvalidInput

Suite = Literal["es256"]
_ES256 = ec.ECDSA(hashes.SHA256())


class Signer(Protocol):
    """Signs bytes with the private key of one device or program."""

    suite: Suite

    def sign(self, message: bytes) -> str:
        """Signature in unpadded base64url."""
        ...


class PemSigner:
    """A signer over a P-256 private key held in memory."""

    suite: Suite = "es256"

    def __init__(self, key_pem: bytes) -> None:
        """Load an unencrypted PEM private key.

        Raises:
            InvalidInput: not a P-256 private key.
        """
        try:
            key = serialization.load_pem_private_key(key_pem, password=None)
        except ValueError as exc:
            raise InvalidInput("not a PEM private key", field="key") from exc
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise InvalidInput("not an elliptic-curve key", field="key")
        self._key = key

    def sign(self, message: bytes) -> str:
        """Signature in unpadded base64url."""
        return b64url(self._key.sign(message, _ES256))


def load_certificate(pem: bytes) -> x509.Certificate:
    """Read one PEM certificate.

    Raises:
        InvalidInput: not a certificate.
    """
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as exc:
        raise InvalidInput("not a PEM certificate", field="certificate") from exc


def common_name(certificate: x509.Certificate) -> str:
    """The subject's CN: the device id, or the program's name."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise InvalidInput("needs exactly one common name", field="certificate.subject")
    return str(names[0].value)


def check_issued_by(certificate: x509.Certificate, ca: x509.Certificate, *, now_s: int) -> None:
    """Check issuer signature and validity period.

    Raises:
        Denied: issued by somebody else, expired, or not yet valid.
    """
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature) as exc:
        raise Denied("the certificate is not from this site's CA") from exc
    begins = int(certificate.not_valid_before_utc.timestamp())
    ends = int(certificate.not_valid_after_utc.timestamp())
    if not begins <= now_s <= ends:
        raise Denied("the certificate is outside its validity period")


def verify(certificate: x509.Certificate, message: bytes, signature: str) -> None:
    """Check an ES256 signature made by `Signer.sign`.

    Raises:
        Denied: the signature does not fit message and key.
    """
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Denied("the certificate holds no elliptic-curve key")
    try:
        key.verify(unb64url(signature), message, _ES256)
    except InvalidSignature as exc:
        raise Denied("the signature does not fit") from exc


def b64url(raw: bytes) -> str:
    """Unpadded base64url (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64url(text: str, *, field: str = "") -> bytes:
    """Decode unpadded base64url.

    Raises:
        InvalidInput: not base64url.
    """
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidInput("not base64url", field=field) from exc
