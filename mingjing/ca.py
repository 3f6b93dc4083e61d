"""The site's own certificate authority: one P-256 root, certificates for programs and devices.

Everything lies in plain PEM files, keys 0600 in folders 0700. Issuing is idempotent: what is
there, fits the CA and is far from its end, stays as it is.
"""

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contracts.errors import Denied, InvalidInput, Unavailable
from contracts.ids import parse_device_id, parse_slug
from contracts.signing import check_issued_by, common_name, load_certificate
from contracts.timestamps import NS, to_datetime

CA_DAYS = 3650
LEAF_DAYS = 825
RENEW_DAYS = 30
"""A certificate nearer to its end than this is issued anew."""

_BACKDATE = timedelta(hours=1)
"""A device whose clock is a little slow must still accept a fresh certificate."""

LOCAL_NAMES = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Files of one certificate and its private key."""

    certificate: Path
    key: Path


class SiteCa:
    """Issues certificates of one site."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._key = key

    @classmethod
    def open(cls, folder: Path, *, site: str, now: int) -> "SiteCa":
        """Load ``ca.pem`` and ``ca.key`` from `folder`, or make them there.

        Args:
            folder: made with mode 0700 when missing.
            site: site id, part of the CA's name.
            now: wall time, nanoseconds UTC.

        Raises:
            InvalidInput: the files there are no CA.
            Unavailable: one of the two files is missing, or the folder cannot be written.
        """
        certificate_file, key_file = folder / "ca.pem", folder / "ca.key"
        if certificate_file.exists() and key_file.exists():
            return cls(load_certificate(certificate_file.read_bytes()), _read_key(key_file))
        if certificate_file.exists() or key_file.exists():
            missing = key_file if certificate_file.exists() else certificate_file
            raise Unavailable(
                f"{missing} is missing though its counterpart is there; put it back from a backup "
                f"(a new CA would lock every device of the site out)"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _self_signed(key, site=parse_slug(site, field="site"), now=now)
        _private_folder(folder)
        write_private(key_file, _key_pem(key))
        write_private(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
        return cls(certificate, key)

    def program(self, folder: Path, name: str, *, now: int, hosts: Sequence[str] = ()) -> Identity:
        """Certificate of a program: TLS server and client, SAN 127.0.0.1, localhost and `hosts`."""
        names = tuple(dict.fromkeys((*LOCAL_NAMES, *hosts)))
        return self._ensure(folder, parse_slug(name, field="program"), now=now, hosts=names)

    def device(self, folder: Path, device: str, *, now: int) -> Identity:
        """Certificate of a device: TLS client only, CN = device id.

        Raises:
            InvalidInput: not a device id, or the name of a program.
        """
        return self._ensure(folder, parse_device_id(device), now=now, hosts=())

    def _ensure(self, folder: Path, name: str, *, now: int, hosts: Sequence[str]) -> Identity:
        identity = Identity(certificate=folder / "cert.pem", key=folder / "key.pem")
        if self._still_fits(identity, name, now=now, hosts=hosts):
            return identity
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._issue(key.public_key(), name, now=now, hosts=hosts)
        _private_folder(folder)
        write_private(identity.key, _key_pem(key))
        write_private(identity.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return identity

    def _still_fits(self, identity: Identity, name: str, *, now: int, hosts: Sequence[str]) -> bool:
        """Whether the files hold our pair for this name and these hosts, with time left."""
        try:
            certificate = load_certificate(identity.certificate.read_bytes())
            key = _read_key(identity.key)
            check_issued_by(certificate, self.certificate, now_s=now // NS + RENEW_DAYS * 86_400)
            if common_name(certificate) != name:
                return False
        except (OSError, InvalidInput, Denied):
            return False
        return key.public_key() == certificate.public_key() and set(hosts) == _hosts(certificate)

    def _issue(
        self, key: ec.EllipticCurvePublicKey, name: str, *, now: int, hosts: Sequence[str]
    ) -> x509.Certificate:
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if hosts:
            usages.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
        builder = (
            _builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, now=now)
            .issuer_name(self.certificate.subject)
            .not_valid_after(to_datetime(now) + timedelta(days=LEAF_DAYS))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if hosts:
            alternatives = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _private_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def _self_signed(key: ec.EllipticCurvePrivateKey, *, site: str, now: int) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Mingjing"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Mingjing site CA {site}"[:64]),
        ]
    )
    return (
        _builder(name, key.public_key(), now=now)
        .issuer_name(name)
        .not_valid_after(to_datetime(now) + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, *, now: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(to_datetime(now) - _BACKDATE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return addresses | set(names.get_values_for_type(x509.DNSName))


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as exc:
        raise InvalidInput(f"{path} is not a PEM private key", field="key") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidInput(f"{path} is not an elliptic-curve key", field="key")
    return key
