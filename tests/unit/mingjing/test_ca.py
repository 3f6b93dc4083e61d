import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from contracts.clock import SystemClock
from contracts.errors import InvalidInput, Unavailable
from contracts.signing import PemSigner, check_issued_by, common_name, load_certificate, verify
from contracts.timestamps import NS
from mingjing.ca import LEAF_DAYS, SiteCa

NOW = SystemClock().now()
DAY = 86_400 * NS


def open_ca(tmp_path: Path, now: int = NOW) -> SiteCa:
    return SiteCa.open(tmp_path / "ca", site="demo", now=now)


def usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_ca_is_made_once(tmp_path: Path) -> None:
    """Opening a second time gives the same CA."""
    first = open_ca(tmp_path)
    assert open_ca(tmp_path).certificate == first.certificate


def test_secrets_are_closed_to_others(tmp_path: Path) -> None:
    """Keys are 0600 and their folders 0700."""
    identity = open_ca(tmp_path).device(tmp_path / "devices" / "cam", "cam", now=NOW)
    for key in (tmp_path / "ca" / "ca.key", identity.key):
        assert key.stat().st_mode & 0o777 == 0o600
        assert key.parent.stat().st_mode & 0o777 == 0o700


def test_device_certificate_is_for_clients_only_and_signs(tmp_path: Path) -> None:
    """CN is the device id, there is no name to serve under, and the key fits the certificate."""
    ca = open_ca(tmp_path)
    identity = ca.device(tmp_path / "d", "cam-07-front", now=NOW)
    certificate = load_certificate(identity.certificate.read_bytes())
    assert common_name(certificate) == "cam-07-front"
    assert usages(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    check_issued_by(certificate, ca.certificate, now_s=NOW // NS)
    verify(certificate, b"event", PemSigner(identity.key.read_bytes()).sign(b"event"))


def test_program_certificate_serves_under_its_names(tmp_path: Path) -> None:
    """Server and client use; local names always, further hosts when given."""
    identity = open_ca(tmp_path).program(
        tmp_path / "p", "gateway", now=NOW, hosts=["gw.hall", "10.1.2.3"]
    )
    certificate = load_certificate(identity.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "gw.hall"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "10.1.2.3"]
    assert usages(certificate) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


def test_openssl_accepts_the_chain_strictly(tmp_path: Path) -> None:
    """The files load into a TLS context that checks X.509 strictly."""
    identity = open_ca(tmp_path).program(tmp_path / "p", "gateway", now=NOW)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(identity.certificate, identity.key)
    client = ssl.create_default_context(cafile=tmp_path / "ca" / "ca.pem")
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    near, far = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(near, far, server_hostname="localhost")
    theirs = server.wrap_bio(far, near, server_side=True)
    for _ in range(6):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ours.getpeercert()["subject"] == ((("commonName", "gateway"),),)


def test_issuing_again_changes_nothing(tmp_path: Path) -> None:
    """What fits stays."""
    ca = open_ca(tmp_path)
    before = ca.device(tmp_path / "d", "zk-07", now=NOW).certificate.read_bytes()
    assert ca.device(tmp_path / "d", "zk-07", now=NOW + DAY).certificate.read_bytes() == before


@pytest.mark.parametrize("days", [LEAF_DAYS - 29, LEAF_DAYS + 1])
def test_certificate_near_its_end_is_renewed(tmp_path: Path, days: int) -> None:
    """Less than 30 days before its end a certificate is issued anew."""
    ca = open_ca(tmp_path)
    before = ca.device(tmp_path / "d", "zk-07", now=NOW).certificate.read_bytes()
    assert (
        ca.device(tmp_path / "d", "zk-07", now=NOW + days * DAY).certificate.read_bytes() != before
    )


def test_certificate_is_renewed_when_it_does_not_fit(tmp_path: Path) -> None:
    """Other hosts, another CA, a stranger's key or rubbish: issued anew."""
    ca = open_ca(tmp_path)
    identity = ca.program(tmp_path / "p", "central", now=NOW)
    pem = identity.certificate.read_bytes()
    ca.program(tmp_path / "p", "central", now=NOW, hosts=["central.hall"])
    assert (other := identity.certificate.read_bytes()) != pem
    stranger = open_ca(tmp_path / "elsewhere")
    stranger.program(tmp_path / "p", "central", now=NOW, hosts=["central.hall"])
    assert (third := identity.certificate.read_bytes()) != other
    identity.key.write_bytes(ca.device(tmp_path / "x", "x", now=NOW).key.read_bytes())
    stranger.program(tmp_path / "p", "central", now=NOW, hosts=["central.hall"])
    assert (fourth := identity.certificate.read_bytes()) != third
    identity.certificate.write_text("rubbish")
    stranger.program(tmp_path / "p", "central", now=NOW, hosts=["central.hall"])
    assert identity.certificate.read_bytes() not in {fourth, b"rubbish"}


def test_half_a_ca_is_never_replaced(tmp_path: Path) -> None:
    """A lost key must not silently lock every device out."""
    open_ca(tmp_path)
    (tmp_path / "ca" / "ca.key").unlink()
    with pytest.raises(Unavailable, match=r"ca\.key is missing"):
        open_ca(tmp_path)


@pytest.mark.parametrize("name", ["gateway", "central", "Cam 7", "a.b", "a/b", "+", ""])
def test_device_names_that_could_confuse_the_broker_are_refused(tmp_path: Path, name: str) -> None:
    """No program's name, no dots, slashes or wildcards."""
    with pytest.raises(InvalidInput):
        open_ca(tmp_path).device(tmp_path / "d", name, now=NOW)
