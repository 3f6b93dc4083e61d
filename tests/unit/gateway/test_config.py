"""Settings of the gateway: every mistake names its field."""

from pathlib import Path

import pytest

from contracts.errors import InvalidInput
from gateway.__main__ import main
from gateway.config import GatewayConfig

GOOD = """
site = "demo"
data = "gateway"
listen = "127.0.0.1:8460"
certificate = "programs/gateway/cert.pem"
key = "programs/gateway/key.pem"
ca = "ca/ca.pem"
central_certificate = "programs/central/cert.pem"
[broker]
url = "tls://127.0.0.1:4222"
[media]
volumes = ["footage", "/srv/disk2"]
ice_addresses = ["127.0.0.1"]
[detector]
interval_s = 1.5
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path):
    """A data folder can be moved whole."""
    config = GatewayConfig.load(write(tmp_path, GOOD))
    assert tmp_path / "gateway" == config.data
    assert tmp_path / "ca/ca.pem" == config.ca
    assert (tmp_path / "footage", Path("/srv/disk2")) == config.media.volumes
    assert ("127.0.0.1", 8460) == (config.host, config.port)
    assert config.detector.enabled


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('site = "demo"', 'site = "Demo Hall"', "site"),
        ('site = "demo"', "", "site"),
        ("127.0.0.1:8460", "8460", "listen"),
        ("127.0.0.1:8460", "127.0.0.1:99999", "listen"),
        ("tls://127", "http://127", "broker.url"),
        ('volumes = ["footage", "/srv/disk2"]', "volumes = []", "media.volumes"),
        ("interval_s = 1.5", "interval_s = 0", "detector.interval_s"),
        ("interval_s = 1.5", "intervall_s = 1", "detector.intervall_s"),
    ],
)
def test_mistakes_name_their_field(tmp_path: Path, old: str, new: str, field: str):
    """The message begins with the dotted name of the wrong field."""
    with pytest.raises(InvalidInput) as caught:
        GatewayConfig.load(write(tmp_path, GOOD.replace(old, new)))
    assert field == caught.value.field


def test_not_toml_and_no_file_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The program ends with status 2 and one line that names the file."""
    bad = write(tmp_path, "site = ")
    assert main(["--config", str(bad)]) == 2
    assert main(["--config", str(tmp_path / "none.toml")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert 2 == len(lines)
    assert all(line.startswith(str(tmp_path)) for line in lines)
