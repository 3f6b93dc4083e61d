"""Envelopes and topics: what is signed, chained and refused."""

import json
from pathlib import Path

import pytest

from contracts.errors import Denied, ProtocolError
from contracts.signing import PemSigner
from contracts.wire import envelope, topics
from contracts.wire.envelope import Envelope, StampClock
from tests.certificates import issue

GOLDEN = Path(__file__).parents[2] / "golden" / "envelope-v1.json"


def sample(**changes):
    return Envelope(
        **{
            "id": "01a0c4e3-1c00-7000-8000-000000000001",
            "type": "punch",
            "site": "demo",
            "device": "zk-07",
            "boot": "b1",
            "seq": 1,
            "observed_ns": 1_790_000_000_000_000_000,
            "clock": StampClock(source="ntp", error_ms=3),
            "body": {"terminal_user": "1001", "name": "刘洋"},
            "prev": envelope.GENESIS,
            **changes,
        }
    )


def test_the_first_released_version_is_read_and_hashed_the_same_for_ever():
    text = GOLDEN.read_bytes()
    read = envelope.decode(text)
    assert read == sample(sig="c2ln")
    assert read.digest() == "1269ebb3cca05129cb3642f594695dac6d2205400f47ba4947a5fd9e6eef67e6"


def test_what_is_encoded_is_decoded():
    assert envelope.decode(sample(sig="x").encode()) == sample(sig="x")


def test_a_field_that_a_newer_sender_adds_is_passed_over():
    fields = json.loads(sample().encode())
    assert envelope.decode(json.dumps({**fields, "later": 1}).encode()) == sample()


@pytest.mark.parametrize("field", ["id", "seq", "device", "prev", "body", "observed_ns"])
def test_a_missing_field_is_named(field):
    fields = json.loads(sample().encode())
    del fields[field]
    with pytest.raises(ProtocolError) as caught:
        envelope.decode(json.dumps(fields).encode())
    assert caught.value.field == field


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b"{", b"[" * 100_000, b" " * 300_000])
def test_bytes_that_are_no_envelope_are_refused(raw):
    with pytest.raises(ProtocolError):
        envelope.decode(raw)


def test_a_signature_covers_every_field():
    ca = issue("site CA")
    device = issue("zk-07", by=ca)
    signed = sample().signed(PemSigner(device.key_pem))
    envelope.check_signature(signed, device.certificate)
    for change in (
        {"seq": 2},
        {"body": {}},
        {"prev": "1" * 64},
        {"device": "zk-08"},
        {"boot": "b"},
    ):
        with pytest.raises(Denied):
            envelope.check_signature(signed.model_copy(update=change), device.certificate)


def test_an_unsigned_envelope_is_denied():
    with pytest.raises(Denied, match="not signed"):
        envelope.check_signature(sample(), issue("zk-07").certificate)


def test_topics_and_subjects_are_one_mapping():
    assert topics.subject(topics.up("demo", "zk-07", "punch")) == "mj.v1.demo.zk-07.up.punch"
    parsed = topics.parse_device_topic("mj.v1.demo.zk-07.up.punch")
    assert (parsed.site, parsed.device, parsed.leaf, parsed.rest) == (
        "demo",
        "zk-07",
        "up",
        "punch",
    )
    assert parsed == topics.parse_device_topic(topics.up("demo", "zk-07", "punch"))


@pytest.mark.parametrize(
    "text",
    ["", "mj/v1", "mj/v2/demo/zk/up/x", "mj/v1/demo/zk/other", "mj/v1/demo/+/up/x", "mj/v1/#"],
)
def test_what_is_no_device_topic_is_refused(text):
    with pytest.raises(ProtocolError, match="topic"):
        topics.parse_device_topic(text)
