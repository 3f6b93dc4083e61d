"""Every mistake in agent.toml is answered with its line and what to do."""

import re
from pathlib import Path

import pytest

from contracts.errors import InvalidInput
from edge_agent.config import AgentConfig, find_line
from tests.certificates import issue

TEXT = """\
site = "demo"
data = "agent"

[broker]
host = "127.0.0.1"
port = 8883
ca = "ca/ca.pem"

[[devices]]
id = "zk-06"
class = "fingerprint_terminal"
driver = "zk_terminal"
profile = "zk-4370"
certificate = "devices/zk-06/cert.pem"
key = "devices/zk-06/key.pem"
host = "127.0.0.1"

[[devices]]
id = "zk-07"
class = "fingerprint_terminal"
driver = "zk_terminal"
profile = "zkteco-f19"
certificate = "devices/zk-07/cert.pem"
key = "devices/zk-07/key.pem"
host = "127.0.0.1"
port = 4371
comm_key_file = "secrets/zk-07"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("site")
    (base / "ca").mkdir()
    (base / "ca" / "ca.pem").write_bytes(issue("ca").pem)
    for device in ("zk-06", "zk-07"):
        issued = issue(device)
        place = base / "devices" / device
        place.mkdir(parents=True)
        (place / "cert.pem").write_bytes(issued.pem)
        (place / "key.pem").write_bytes(issued.key_pem)
    return base


def load(folder: Path, text: str) -> AgentConfig:
    path = folder / "agent.toml"
    path.write_text(text, encoding="utf-8")
    return AgentConfig.load(path)


def test_reads_everything_and_resolves_paths_against_the_file(folder):
    config = load(folder, TEXT)
    assert (config.site, config.data) == ("demo", folder / "agent")
    assert config.broker.ca == folder / "ca" / "ca.pem"
    first, second = config.devices
    assert first.common.id == "zk-06"
    assert first.streams == ()
    assert first.options.port == 4370
    assert first.options.comm_key_file is None
    assert second.options.port == 4371
    assert second.options.comm_key_file == folder / "secrets" / "zk-07"
    assert second.profile.quirks["event_width"] == 32
    assert second.common.key == folder / "devices" / "zk-07" / "key.pem"


MISTAKES = [
    ("port = 8883", "prot = 8883", r"第 6 行 broker\.prot.*没有这个配置项"),
    ("port = 8883", "port = 0", r"第 6 行 broker\.port"),
    ('host = "127.0.0.1"\nport = 8883', "port = 8883", r"第 4 行 broker\.host.*缺少"),
    ('site = "demo"', 'site = "Demo Hall"', r"第 1 行 site.*is not an id"),
    ('site = "demo"', 'stie = "demo"', r"site.*缺少|stie.*没有"),
    ("port = 4371", "prot = 4371", r"第 26 行 devices\[1\]\.prot.*没有这个配置项"),
    ("port = 4371", 'port = "many"', r"第 26 行 devices\[1\]\.port"),
    ('driver = "zk_terminal"\nprofile = "zkteco-f19"', 'driver = "zk"\nprofile = "zkteco-f19"',
     r"第 21 行 devices\[1\]\.driver.*没有名为 'zk'.*zk_terminal"),
    ("zkteco-f19", "zkteco-f20", r"第 22 行 devices\[1\]\.profile.*zk-4370"),
    ('id = "zk-07"', 'id = "zk-06"', r"第 19 行 devices\[1\]\.id|证书属于"),
    ('id = "zk-07"', 'id = "gateway"', r"第 19 行 devices\[1\]\.device|reserved"),
    ("devices/zk-07/cert.pem", "devices/zk-09/cert.pem", r"第 23 行 .*certificate.*读不到"),
    ("ca/ca.pem", "ca/nothing.pem", r"第 7 行 broker\.ca.*读不到"),
    ("ca/ca.pem", "devices/zk-06/key.pem", r"第 7 行 broker\.ca.*not a PEM certificate"),
    ("devices/zk-07/cert.pem", "devices/zk-06/cert.pem", r"第 23 行 .*证书属于设备 'zk-06'"),
    ('class = "fingerprint_terminal"\ndriver = "zk_terminal"\nprofile = "zk-4370"',
     'class = "toaster"\ndriver = "zk_terminal"\nprofile = "zk-4370"',
     r"第 11 行 devices\[0\]\.class"),
    ("[broker]", "[broker", r"TOML.*line 4"),
    ("[broker]", "[brocker]", r"broker"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "expected"), MISTAKES)
def test_a_mistake_is_answered_with_its_line(folder, right, wrong, expected):
    assert right in TEXT
    with pytest.raises(InvalidInput) as told:
        load(folder, TEXT.replace(right, wrong))
    assert re.search(expected, str(told.value)), str(told.value)
    assert "agent.toml" in str(told.value)


def test_a_device_listed_twice_is_told(folder):
    device = TEXT[TEXT.index("[[devices]]") : TEXT.rindex("[[devices]]")]
    with pytest.raises(InvalidInput, match=r"第 30 行 devices\[2\]\.id.*重复"):
        load(folder, TEXT + "\n" + device)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InvalidInput, match=r"nowhere\.toml.*读不到"):
        AgentConfig.load(tmp_path / "nowhere.toml")


def test_a_file_without_devices_is_told(folder):
    with pytest.raises(InvalidInput, match="devices"):
        load(folder, TEXT[: TEXT.index("[[devices]]")])


def test_lines_are_found_by_table_and_number():
    assert find_line(TEXT, ("broker", "port")) == 6
    assert find_line(TEXT, ("devices", 0, "id")) == 10
    assert find_line(TEXT, ("devices", 1, "id")) == 19
    assert find_line(TEXT, ("devices", 1, "nothing")) == 18
    assert find_line(TEXT, ("data",)) == 2
    assert find_line("", ("data",)) == 1
