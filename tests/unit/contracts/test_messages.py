"""Every message of a released version is read for ever, and what was in it is still written."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.wire.access import Punched, PunchFact
from contracts.wire.devices import ClockMeasured, DeviceDesc, DeviceState
from contracts.wire.envelope import Ack, Envelope, EventBody, Statement, WireModel
from contracts.wire.footage import FootageLinkFact, Timeline
from contracts.wire.orders import SiteOrder, StepOrder
from contracts.wire.presence import DeviceHealthFact, PresenceFact

GOLDEN = Path(__file__).parents[2] / "golden"
MESSAGES: dict[str, type[WireModel]] = {
    "ack-v1": Ack,
    "clock-measured-v1": ClockMeasured,
    "device-desc-v1": DeviceDesc,
    "device-state-v1": DeviceState,
    "envelope-v1": Envelope,
    "footage-link-fact-v1": FootageLinkFact,
    "health-fact-v1": DeviceHealthFact,
    "presence-fact-v1": PresenceFact,
    "punch-fact-v1": PunchFact,
    "punched-v1": Punched,
    "site-order-v1": SiteOrder,
    "step-order-v1": StepOrder,
    "timeline-v1": Timeline,
}
LABELS = {
    Punched: ("TYPE", "punch"),
    ClockMeasured: ("TYPE", "clock.measured"),
    PunchFact: ("KIND", "punch"),
    PresenceFact: ("KIND", "presence"),
    DeviceHealthFact: ("KIND", "health"),
    FootageLinkFact: ("KIND", "footage_link"),
    SiteOrder: ("KIND", "site"),
    StepOrder: ("KIND", "step"),
}


def text(name: str) -> str:
    return (GOLDEN / f"{name}.json").read_text()


def holds(whole: Any, part: Any) -> bool:
    """Whether everything in `part` is in `whole` with the same value; more may be there."""
    if isinstance(part, dict):
        return all(key in whole and holds(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(holds, whole, part))
    return bool(whole == part)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_released_message_is_read_and_written_as_it_was(name):
    read = MESSAGES[name].model_validate_json(text(name))
    assert holds(json.loads(read.model_dump_json()), json.loads(text(name)))
    assert MESSAGES[name].model_validate_json(read.model_dump_json()) == read


@pytest.mark.parametrize("name", MESSAGES)
def test_a_released_message_says_something_in_each_field_it_had(name):
    """A golden file of defaults would prove nothing of the fields."""
    fields = MESSAGES[name].model_fields
    defaulted = {
        k for k, v in json.loads(text(name)).items() if k in fields and v == fields[k].default
    }
    assert defaulted <= {"v", "suite"}


def test_every_golden_file_is_read_and_every_labelled_message_has_one():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(MESSAGES)
    labelled = {*EventBody.__subclasses__(), *Statement.__subclasses__()}
    assert labelled == set(LABELS)
    assert labelled <= set(MESSAGES.values())


@pytest.mark.parametrize("model", LABELS)
def test_the_label_is_a_constant_of_the_class_and_stands_in_the_json(model):
    key, label = LABELS[model]
    assert getattr(model, key) == model.label() == label
    (name,) = [name for name, message in MESSAGES.items() if message is model]
    fields = json.loads(text(name))
    assert fields[key] == label
    read = model.model_validate(fields)
    assert read.model_dump()[key] == json.loads(read.model_dump_json())[key] == label
    del fields[key]
    assert model.model_validate(fields) == read
    with pytest.raises(ValidationError, match="is not"):
        model.model_validate({**fields, key: "another"})
