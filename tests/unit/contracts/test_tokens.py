"""Grants and device proofs: who signed, for what, until when."""

import pytest

from contracts import tokens
from contracts.errors import Denied, InvalidInput
from contracts.signing import PemSigner, check_issued_by
from contracts.tokens import DeviceProof, Grant
from tests.certificates import issue

NOW = 1_790_000_000


@pytest.fixture(scope="module")
def ca():
    return issue("site CA")


@pytest.fixture(scope="module")
def central(ca):
    return issue("central", by=ca)


@pytest.fixture(scope="module")
def camera(ca):
    return issue("cam-07", by=ca)


def grant(**changes):
    return Grant(
        **{
            "use": "replay",
            "site": "demo",
            "user": "zhou-zheng",
            "case": "c1",
            "streams": ("cam-07.main",),
            "not_before_ns": 1,
            "not_after_ns": 2,
            "expires_s": NOW + 60,
            **changes,
        }
    )


def proof(camera, **changes):
    return DeviceProof(
        **{
            "site": "demo",
            "device": "cam-07",
            "certificate": camera.pem.decode(),
            "expires_s": NOW + 60,
            **changes,
        }
    )


def test_a_grant_is_read_as_it_was_issued(central):
    text = tokens.issue(grant(), PemSigner(central.key_pem))
    assert tokens.read_grant(text, central=central.certificate, now_s=NOW) == grant()


def test_a_grant_of_another_signer_is_denied(ca, central):
    text = tokens.issue(grant(), PemSigner(issue("central", by=ca).key_pem))
    with pytest.raises(Denied):
        tokens.read_grant(text, central=central.certificate, now_s=NOW)


def test_an_expired_grant_is_denied(central):
    text = tokens.issue(grant(expires_s=NOW - 1), PemSigner(central.key_pem))
    with pytest.raises(Denied, match="expired"):
        tokens.read_grant(text, central=central.certificate, now_s=NOW)


def test_a_grant_with_one_changed_character_is_denied(central):
    text = tokens.issue(grant(), PemSigner(central.key_pem))
    for position in (0, 5, len(text) // 2, len(text) - 3):
        other = "A" if text[position] != "A" else "B"
        changed = text[:position] + other + text[position + 1 :]
        with pytest.raises((Denied, InvalidInput)):
            tokens.read_grant(changed, central=central.certificate, now_s=NOW)


@pytest.mark.parametrize("text", ["", ".", "abc", "a.b", "é.é", "x" * 10_000])
def test_garbage_is_no_token(central, text):
    with pytest.raises((Denied, InvalidInput)):
        tokens.read_grant(text, central=central.certificate, now_s=NOW)


def test_a_device_proof_is_no_grant(camera, central):
    text = tokens.issue(proof(camera), PemSigner(central.key_pem))
    with pytest.raises(InvalidInput, match="not a grant"):
        tokens.read_grant(text, central=central.certificate, now_s=NOW)


def test_a_device_proves_itself_with_a_certificate_of_the_site(ca, camera):
    text = tokens.issue(proof(camera), PemSigner(camera.key_pem))
    read = tokens.read_device_proof(text, ca=ca.certificate, site="demo", now_s=NOW)
    assert read.device == "cam-07"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"device": "cam-08"}, "another device"),
        ({"site": "other"}, "another site"),
        ({"expires_s": NOW - 1}, "expired"),
    ],
)
def test_a_proof_for_something_else_is_denied(ca, camera, changes, why):
    text = tokens.issue(proof(camera, **changes), PemSigner(camera.key_pem))
    with pytest.raises(Denied, match=why):
        tokens.read_device_proof(text, ca=ca.certificate, site="demo", now_s=NOW)


def test_a_proof_with_a_certificate_of_a_foreign_ca_is_denied(ca):
    stranger = issue("cam-07", by=issue("site CA"))
    text = tokens.issue(proof(stranger), PemSigner(stranger.key_pem))
    with pytest.raises(Denied, match="this site's CA"):
        tokens.read_device_proof(text, ca=ca.certificate, site="demo", now_s=NOW)


def test_a_proof_signed_with_another_key_is_denied(ca, camera):
    text = tokens.issue(proof(camera), PemSigner(issue("cam-07", by=ca).key_pem))
    with pytest.raises(Denied, match="does not fit"):
        tokens.read_device_proof(text, ca=ca.certificate, site="demo", now_s=NOW)


def test_a_certificate_outside_its_period_is_denied(ca):
    short = issue("cam-07", by=ca, days=1)
    with pytest.raises(Denied, match="validity"):
        check_issued_by(short.certificate, ca.certificate, now_s=NOW)
