import json
import tomllib
from pathlib import Path

import pytest

from central.adapters.site_files import read_site
from contracts.clock import SystemClock
from contracts.errors import InvalidInput, Unavailable
from mingjing.engines.nats import NatsOptions, config_text
from mingjing.provision import (
    CAMERA,
    PLACE,
    TERMINAL,
    Layout,
    Ports,
    SiteOptions,
    hold,
    parse_camera_url,
    provision,
)
from mingjing.simulators.zk_terminal import parse_arguments
from mingjing.site import terminal_arguments

NOW = SystemClock().now()


def made(tmp_path: Path, camera: str | None = None, ports: Ports | None = None) -> Layout:
    options = SiteOptions(
        data=tmp_path / "var",
        database="postgresql+asyncpg://mingjing@/mingjing?host=/s",
        ports=ports or Ports(),
        camera_url=camera,
    )
    return provision(options, now=NOW)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_second_run_changes_nothing(tmp_path: Path) -> None:
    """Keys, secrets and settings are the same after a second run with the same options."""
    made(tmp_path)
    before = contents(tmp_path)
    made(tmp_path)
    assert contents(tmp_path) == before


def test_other_ports_reach_every_program(tmp_path: Path) -> None:
    """Each program is told the same ports, and no key is made anew."""
    first = made(tmp_path)
    key = first.gateway_identity.key.read_bytes()
    layout = made(
        tmp_path, ports=Ports(central=1, gateway=2, broker=3, mqtt=4, camera=5, terminal=6)
    )
    agent = tomllib.loads(layout.agent.read_text())
    gateway = tomllib.loads(layout.gateway.read_text())
    central = tomllib.loads(layout.central.read_text())
    assert (agent["broker"]["port"], agent["gateway"]["url"]) == (4, "https://127.0.0.1:2")
    assert (gateway["listen"], gateway["broker"]["url"]) == ("127.0.0.1:2", "tls://127.0.0.1:3")
    assert (central["listen"], central["gateways"][0]["url"]) == (
        "127.0.0.1:1",
        agent["gateway"]["url"],
    )
    assert [d["port"] for d in agent["devices"] if "port" in d] == [6]
    assert layout.gateway_identity.key.read_bytes() == key


def test_register_belongs_to_the_user(tmp_path: Path) -> None:
    """site.toml is written once and never overwritten."""
    layout = made(tmp_path)
    layout.site.write_text('id = "demo"\n')
    made(tmp_path)
    assert layout.site.read_text() == 'id = "demo"\n'


def test_paths_in_the_settings_exist_and_are_relative(tmp_path: Path) -> None:
    """A data folder can be moved whole."""
    layout = made(tmp_path)
    agent = tomllib.loads(layout.agent.read_text())
    for device in agent["devices"]:
        for name in ("certificate", "key", "password_file", "comm_key_file"):
            if name in device:
                assert (layout.data / device[name]).exists()
    for settings in (layout.gateway, layout.central):
        table = tomllib.loads(settings.read_text())
        for name in ("certificate", "key", "ca"):
            assert not Path(table[name]).is_absolute()
            assert (layout.data / table[name]).exists()


def test_register_names_every_device_of_the_agent(tmp_path: Path) -> None:
    """What the agent serves is known to central, at a place that exists."""
    layout = made(tmp_path)
    site = tomllib.loads(layout.site.read_text())
    agent = tomllib.loads(layout.agent.read_text())
    assert [d["id"] for d in site["devices"]] == [d["id"] for d in agent["devices"]]
    assert {d["id"] for d in site["devices"]} == {CAMERA, TERMINAL}
    assert {d["place"] for d in site["devices"]} == {p["id"] for p in site["places"]}
    persons = {p["id"] for p in site["persons"]}
    assert {u.get("person") for u in site["users"]} - {None} == persons


def test_central_reads_the_register_of_a_new_site(tmp_path: Path) -> None:
    """Clerks may watch their counter, an inspection finds its two persons, all have a unit."""
    register = read_site(made(tmp_path).site)
    clerks = [user for user in register.users if user.role == "clerk"]
    assert {user.person: user.place for user in clerks} == {"liu-yang": PLACE, "sun-lei": PLACE}
    numbers = {person.id: person.terminal_users for person in register.persons}
    assert (numbers["liu-yang"], numbers["sun-lei"]) == (("1001",), ("1002",))
    assert all(person.unit for person in register.persons)


def test_terminal_simulator_gets_its_key_in_a_file(tmp_path: Path) -> None:
    """The key is not on the command line, and every finger of the register is enrolled."""
    layout = made(tmp_path)
    arguments = terminal_arguments(layout)
    key = layout.comm_key.read_text().strip()
    assert key not in arguments
    parsed = parse_arguments(arguments[2:])
    assert parsed.comm_key_file.read_text().strip() == key
    persons = read_site(layout.site).persons
    assert parsed.users.split(",") == [u for person in persons for u in person.terminal_users]


def test_own_camera_password_stands_in_one_private_file_only(tmp_path: Path) -> None:
    """The password of CAMERA=… is in no settings file."""
    layout = made(tmp_path, camera="rtsp://us%40er:pa%3Ass%2F@192.0.2.7:5554/ch/1?sub=0")
    device = tomllib.loads(layout.agent.read_text())["devices"][0]
    assert device["url"] == "rtsp://192.0.2.7:5554/ch/1?sub=0"
    assert device["username"] == "us@er"
    assert layout.camera_password.read_text() == "pa:ss/\n"
    assert layout.camera_password.stat().st_mode & 0o077 == 0
    holders = [name for name, text in contents(tmp_path).items() if b"pa:ss/" in text]
    assert holders == ["var/secrets/cam-07-front.password"]


def test_nothing_secret_is_readable_by_others(tmp_path: Path) -> None:
    """Keys, passwords and the settings that may hold a database password are private."""
    layout = made(tmp_path)
    secret = [layout.central, layout.comm_key, layout.camera_password, layout.gateway_identity.key]
    assert [path for path in secret if path.stat().st_mode & 0o077] == []
    assert layout.comm_key.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "text",
    ["http://secret@host/x", "rtsp://", "secret", "rtsp://user:secret@:554/", "rtsp://h:secret/"],
)
def test_wrong_camera_address_is_refused_without_repeating_it(text: str) -> None:
    """The message says what is wanted, and never shows what may be a password."""
    with pytest.raises(InvalidInput, match="camera") as caught:
        parse_camera_url(text)
    assert "secret" not in str(caught.value)


def test_ipv6_camera_keeps_its_brackets() -> None:
    """An IPv6 address stays an address."""
    assert parse_camera_url("rtsp://[2001:db8::7]:554/a").url == "rtsp://[2001:db8::7]:554/a"


def test_data_folder_has_one_holder(tmp_path: Path) -> None:
    """A second run on the same folder is told who holds it; afterwards it is free again."""
    with (
        hold(tmp_path / "var"),
        pytest.raises(Unavailable, match="in use by another"),
        hold(tmp_path / "var"),
    ):
        pass
    with hold(tmp_path / "var"):
        pass


def test_unwritable_folder_is_one_clear_line(tmp_path: Path) -> None:
    """A file where the folder should be is told with its path."""
    (tmp_path / "var").write_text("")
    with pytest.raises(Unavailable, match="cannot write"):
        made(tmp_path)


def test_broker_settings_are_closed(tmp_path: Path) -> None:
    """Both listeners demand certificates; there is no WebSocket and no user without a rule."""
    layout = made(tmp_path)
    options = NatsOptions(
        site="demo",
        folder=tmp_path,
        ca=layout.ca,
        identity=layout.broker_identity,
        devices=["cam-07-front"],
    )
    config = json.loads(config_text(options, monitor_port=8222))
    assert config["tls"]["verify_and_map"] is config["mqtt"]["tls"]["verify_and_map"] is True
    assert config["jetstream"]["sync_interval"] == "always"
    assert config["http"].startswith("127.0.0.1:")
    assert "websocket" not in config
    users = config["authorization"]["users"]
    assert [user["user"] for user in users] == ["CN=gateway", "CN=central", "CN=cam-07-front"]
    assert all(user["permissions"]["publish"]["allow"] for user in users)
