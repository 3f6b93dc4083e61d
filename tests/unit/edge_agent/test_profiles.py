import json
import tomllib
from importlib.resources import files

import jsonschema
import pytest

import firmware_configs
from contracts.clock import ManualClock
from contracts.errors import InvalidInput
from edge_agent.config import find_driver
from edge_agent.drivers.zk_terminal import ZkTerminal, ZkTerminalOptions
from edge_agent.ports import DriverParts
from edge_agent.profiles import load_profile, parse_profile, profile_files
from tests.fakes.device_sinks import FakeEventSink, FakeHealth

SCHEMA = json.loads((files(firmware_configs) / "schema.json").read_text(encoding="utf-8"))
PROFILES = profile_files()


def parts(profile):
    return DriverParts(
        site="demo",
        device="zk-07",
        profile=profile,
        media={},
        events=FakeEventSink(),
        health=FakeHealth(),
        clock=ManualClock(),
        random=lambda: 0.5,
    )


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_fits_the_schema_and_names_a_driver(name):
    text = PROFILES[name].read_text(encoding="utf-8")
    jsonschema.validate(tomllib.loads(text), SCHEMA)
    profile = parse_profile(name, text)
    assert find_driver(profile.driver)
    assert load_profile(name, driver=profile.driver) == profile


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in PROFILES
        if parse_profile(n, PROFILES[n].read_text("utf-8")).driver == "zk_terminal"
    ],
)
def test_the_terminal_driver_takes_every_fingerprint_profile(name):
    profile = load_profile(name, driver="zk_terminal")
    ZkTerminal(ZkTerminalOptions(host="127.0.0.1"), parts(profile))


def test_the_generic_and_two_models_are_there():
    assert {"zk-4370", "zkteco-f19", "zkteco-k14"} <= set(PROFILES)


def test_an_unknown_quirk_is_refused_with_its_name():
    profile = parse_profile("x", 'driver = "zk_terminal"\n[quirks]\nevent_widht = 32\n')
    with pytest.raises(InvalidInput, match=r"x\.toml: quirks\.event_widht"):
        ZkTerminal(ZkTerminalOptions(host="127.0.0.1"), parts(profile))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"driver": "zk_terminal", "quirks": {"event_widht": 32}}, SCHEMA)


def test_a_profile_of_another_driver_is_refused():
    with pytest.raises(InvalidInput, match="rtsp_camera"):
        load_profile("zk-4370", driver="rtsp_camera")


def test_an_unknown_profile_names_the_known_ones():
    with pytest.raises(InvalidInput, match="zk-4370"):
        load_profile("zk-4371", driver="zk_terminal")


@pytest.mark.parametrize("text", ["driver = ", "maker = 'x'", 'driver = "a"\nquirk = 1'])
def test_a_wrong_profile_names_its_file(text):
    with pytest.raises(InvalidInput, match=r"^x\.toml"):
        parse_profile("x", text)
