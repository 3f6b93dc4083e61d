import socket
from pathlib import Path

from contracts.clock import ManualClock, SystemClock
from mingjing.ca import LEAF_DAYS, SiteCa
from mingjing.doctor import Finding, examine
from mingjing.engines.ports import holder, is_free, next_free
from mingjing.provision import Ports


def about(findings: list[Finding], what: str) -> list[Finding]:
    return [finding for finding in findings if finding.what.startswith(what)]


def test_expired_certificate_and_open_key_are_found(tmp_path: Path) -> None:
    """Both are errors that name the file."""
    now = SystemClock().now()
    ca = SiteCa.open(tmp_path / "ca", site="demo", now=now)
    identity = ca.device(tmp_path / "devices" / "zk-07", "zk-07", now=now)
    identity.key.chmod(0o644)
    later = ManualClock(now)
    later.advance((LEAF_DAYS + 1) * 86_400)
    findings = examine(tmp_path, clock=later)
    wrong = [f.where for f in about(findings, "证书") if f.level == "error"]
    assert [str(identity.certificate) in where for where in wrong] == [True]
    key = about(findings, "私钥")
    assert [(f.level, f.remedy) for f in key] == [("error", f"chmod 600 {identity.key}")]


def test_machine_without_a_site_is_examined_too(tmp_path: Path) -> None:
    """A folder that does not exist yet is no error."""
    findings = examine(tmp_path / "none")
    assert about(findings, "postgres")[0].where.startswith("postgres (PostgreSQL) 18")
    assert about(findings, "nats-server")[0].level == "ok"
    assert not (tmp_path / "none").exists()
    assert len(about(findings, "端口")) == len(Ports.__dataclass_fields__)


def test_taken_port_is_seen_with_its_holder_and_passed_over() -> None:
    """A listening socket is found by number and by process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free("127.0.0.1", port)
        assert f"(pid {__import__('os').getpid()})" in holder(port)
        assert next_free("127.0.0.1", port) > port
    assert is_free("127.0.0.1", port)
