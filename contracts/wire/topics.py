"""The only place where a topic is built or parsed.

Devices speak MQTT (``/``); programs speak NATS (``.``) about the same subjects::

    mj/v1/{site}/{device}/state        retained, last will
    mj/v1/{site}/{device}/desc         retained
    mj/v1/{site}/{device}/up/{class}   QoS 1
    mj/v1/{site}/{device}/ack          gateway -> device
    mj/v1/{site}/{device}/cmd/{id}     QoS 1, never retained;  .../res the answer
    mj/v1/{site}/gateway/fact/{kind}   gateway -> central
    mj/v1/{site}/central/order/{kind}  central -> gateway
"""

from dataclasses import dataclass
from typing import Literal

from contracts.errors import InvalidInput, ProtocolError
from contracts.ids import SiteId, parse_site_id, parse_slug

PREFIX = "mj/v1"

DeviceLeaf = Literal["state", "desc", "up", "ack", "cmd"]
_LEAVES = frozenset({"state", "desc", "up", "ack", "cmd"})
_HEAD_PARTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTopic:
    """A parsed device topic; `rest` is the class of an `up` or the id (and ``res``) of a `cmd`."""

    site: SiteId
    device: str
    leaf: DeviceLeaf
    rest: str = ""


def state(site: str, device: str) -> str:
    """Liveness of a device, retained, with a will."""
    return f"{PREFIX}/{site}/{device}/state"


def desc(site: str, device: str) -> str:
    """What a device is, retained."""
    return f"{PREFIX}/{site}/{device}/desc"


def up(site: str, device: str, event_class: str) -> str:
    """Events of a device, by class."""
    return f"{PREFIX}/{site}/{device}/up/{event_class}"


def ack(site: str, device: str) -> str:
    """What the gateway has stored of a device's events."""
    return f"{PREFIX}/{site}/{device}/ack"


def command(site: str, device: str, command_id: str) -> str:
    """A command to a device."""
    return f"{PREFIX}/{site}/{device}/cmd/{command_id}"


def commands(site: str, device: str) -> str:
    """Filter for every command to one device."""
    return f"{PREFIX}/{site}/{device}/cmd/+"


def fact(site: str, kind: str) -> str:
    """A fact that the site's gateway states to central."""
    return f"{PREFIX}/{site}/gateway/fact/{kind}"


def order(site: str, kind: str) -> str:
    """What central tells the site's gateway."""
    return f"{PREFIX}/{site}/central/order/{kind}"


def subject(topic: str) -> str:
    """The NATS subject of an MQTT topic or filter; ids hold no dots, so the mapping is exact."""
    return topic.replace("/", ".").replace("+", "*").replace("#", ">")


def subtree(site: str, device: str) -> str:
    """NATS subject filter of everything below one device."""
    return f"mj.v1.{site}.{device}.>"


def up_stream(site: str) -> tuple[str, list[str]]:
    """JetStream stream of device events: name and subjects."""
    return f"UP_{site}", [f"mj.v1.{site}.*.up.>"]


def state_stream(site: str) -> tuple[str, list[str]]:
    """JetStream stream that keeps the last state and description of each device."""
    return f"STATE_{site}", [f"mj.v1.{site}.*.state", f"mj.v1.{site}.*.desc"]


def fact_stream(site: str) -> tuple[str, list[str]]:
    """JetStream stream of the gateway's facts for central."""
    return f"FACTS_{site}", [f"mj.v1.{site}.gateway.fact.>"]


def order_stream(site: str) -> tuple[str, list[str]]:
    """JetStream stream of central's orders for the gateway."""
    return f"ORDERS_{site}", [f"mj.v1.{site}.central.order.>"]


def parse_device_topic(text: str) -> DeviceTopic:
    """Parse an MQTT topic or NATS subject of a device.

    Raises:
        ProtocolError: not one of the forms above.
    """
    parts = text.replace(".", "/").split("/")
    if len(parts) <= _HEAD_PARTS or parts[:2] != ["mj", "v1"] or parts[4] not in _LEAVES:
        raise ProtocolError(f"{text!r} is not a device topic", field="topic")
    try:
        site = parse_site_id(parts[2], field="topic.site")
        device = parse_slug(parts[3], field="topic.device")
    except InvalidInput as exc:
        raise ProtocolError(str(exc)) from exc
    return DeviceTopic(
        site=site,
        device=device,
        leaf=parts[4],  # type: ignore[arg-type]  # checked against _LEAVES above
        rest="/".join(parts[5:]),
    )
