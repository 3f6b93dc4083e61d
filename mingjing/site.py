"""A whole site on one machine, every part a child process of its own.

`running_site` starts the parts in the order in which they need one another, waits until each
serves, starts a part again that dies, and stops all of them in the reverse order.
"""

import asyncio
import json
import random
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from contracts.clock import SystemClock
from contracts.errors import Unavailable
from mingjing import provision
from mingjing.ca import write_private
from mingjing.engines.nats import NatsOptions, NatsServer
from mingjing.engines.ports import is_free, listens
from mingjing.engines.postgres import PostgresOptions, PostgresServer
from mingjing.engines.process import (
    ChildProcess,
    HealthCheck,
    LineConsumer,
    ProcessSpec,
    keep_running,
)
from mingjing.portrait import fetch_portrait, media_cache
from mingjing.provision import Layout, Ports, SiteOptions, choose_ports

_READY_S = 60.0
_LOCAL = "127.0.0.1"
_MOST_STARTS = 3
"""Two sites that start at the same moment may choose the same free ports; one then chooses anew."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What to run.

    Attributes:
        camera_url: the user's own camera; None starts the simulator.
        ports: where to begin looking for free ports.
        port_is_fixed: the pages must be served on exactly `ports.central`.
        database: another PostgreSQL than the embedded one, as a SQLAlchemy URL.
        camera_arguments: more arguments for the camera's simulator (tests).
    """

    data: Path
    camera_url: str | None = None
    ports: Ports = field(default_factory=Ports)
    port_is_fixed: bool = False
    database: str | None = None
    camera_arguments: tuple[str, ...] = ()


class RunningSite:
    """The parts of a running site.

    Attributes:
        layout: files and ports.
        children: every part by name: nats, postgres, central, gateway, camera, terminal, agent.
        passwords: what is known of the users' passwords, by user name; kept in a private file.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.children: dict[str, ChildProcess] = {}
        self._logins = layout.data / "secrets" / "logins.json"
        self.passwords: dict[str, str] = _read_logins(self._logins)

    @property
    def address(self) -> str:
        """Where the pages are."""
        return f"http://{_LOCAL}:{self.layout.ports.central}"

    def remember(self, username: str, password: str) -> None:
        """Keep a password in the private file, so that the next run can sign in."""
        self.passwords[username] = password
        write_private(self._logins, json.dumps(self.passwords, indent=1).encode())

    def take_line(self, line: str) -> bool:
        """Pick one-time passwords out of central's output; they stay out of the log."""
        if not line.startswith("{"):
            return False
        try:
            message = json.loads(line)
        except ValueError:
            return False
        if not isinstance(message, dict) or message.get("event") != "one_time_password":
            return False
        self.remember(str(message["username"]), str(message["password"]))
        return True

    @asynccontextmanager
    async def without(self, name: str) -> AsyncIterator[None]:
        """Kill a part and keep it away for as long as the block lasts, as in a drill.

        Args:
            name: key of `children`.
        """
        child = self.children[name]
        child.is_wanted.clear()
        try:
            child.kill()
            await child.ended()
            yield
        finally:
            child.is_wanted.set()

    def punch(self, user: str, direction: str = "in") -> None:
        """Lay a finger on the simulated terminal."""
        order = {"punch": {"user": user, "direction": direction}}
        self.children["terminal"].say(json.dumps(order))


@asynccontextmanager
async def running_site(options: RunOptions, say: Say) -> AsyncIterator[RunningSite]:
    """Run a site for as long as the block lasts.

    Args:
        options: what to run.
        say: gets one line of progress for people at a time.

    Raises:
        Unavailable: a part did not start; the message names it and quotes its log.
    """
    with provision.hold(options.data.absolute()):
        site = await _started(options, say)
        try:
            async with _kept_running(site):
                yield site
        finally:
            say("正在停止 / stopping")
            await _stop(site)


async def _started(options: RunOptions, say: Say) -> RunningSite:
    """Start every part; on other ports when somebody took one before its program could."""
    for _ in range(_MOST_STARTS - 1):
        ports = choose_ports(options.ports, central_is_fixed=options.port_is_fixed)
        try:
            return await _start_site(options, ports, say)
        except Unavailable:
            # All of ours have stopped: whatever is taken now, others took.
            taken = [port for port in asdict(ports).values() if not is_free(_LOCAL, port)]
            if not taken:
                raise
        say(f"端口刚被别的程序占用, 重选 / taken meanwhile, choosing anew: {taken}")
    ports = choose_ports(options.ports, central_is_fixed=options.port_is_fixed)
    return await _start_site(options, ports, say)


async def _start_site(options: RunOptions, ports: Ports, say: Say) -> RunningSite:
    """Start every part on these ports; when one fails, none is left running."""
    data = options.data.absolute()
    postgres = None if options.database else PostgresServer(_postgres(data))
    layout = provision.provision(
        SiteOptions(
            data=data,
            database=options.database or (postgres.url if postgres else ""),
            ports=ports,
            camera_url=options.camera_url,
        ),
        now=SystemClock().now(),
    )
    site = RunningSite(layout)
    try:
        await _start_engines(site, postgres, say)
        await _start_programs(site, options, say)
    except BaseException:
        say("正在停止 / stopping")
        await _stop(site)
        raise
    return site


@asynccontextmanager
async def _kept_running(site: RunningSite) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            watches = [
                group.create_task(keep_running(child, stopping=stopping, random=random.random))
                for child in site.children.values()
            ]
            try:
                yield
            finally:
                stopping.set()
                for watch in watches:
                    watch.cancel()
    except BaseExceptionGroup as failed:
        # What went wrong is one thing; the group is only how TaskGroup reports it.
        raise failed.exceptions[0] from failed


def _postgres(data: Path) -> PostgresOptions:
    return PostgresOptions(folder=data / "postgres", log=data / "log" / "postgres.log")


async def _stop(site: RunningSite) -> None:
    for child in reversed(site.children.values()):
        await child.stop()


async def _start_engines(site: RunningSite, postgres: PostgresServer | None, say: Say) -> None:
    layout = site.layout
    nats = NatsServer(
        NatsOptions(
            site=provision.SITE,
            folder=layout.data / "nats",
            ca=layout.ca,
            identity=layout.broker_identity,
            devices=(provision.CAMERA, provision.TERMINAL),
            port=layout.ports.broker,
            mqtt_port=layout.ports.mqtt,
            log=layout.logs / "nats.log",
        )
    )
    site.children["nats"] = nats.child
    say(f"消息服务 / broker: NATS {layout.ports.broker}, MQTT {layout.ports.mqtt}")
    await nats.start()
    if postgres is not None:
        site.children["postgres"] = postgres.child
        say("数据库 / database: PostgreSQL")
        await postgres.start()


async def _start_programs(site: RunningSite, options: RunOptions, say: Say) -> None:
    layout = site.layout
    say(f"中心 / central: {site.address}")
    central = _program(site, "central", ["-m", "central", "serve", "--config", str(layout.central)])
    health = _healthy(f"{site.address}/healthz")
    await _start(central, _listens(central, layout.ports.central, then=health))
    say(f"网关 / gateway: https://{_LOCAL}:{layout.ports.gateway}")
    gateway = _program(site, "gateway", ["-m", "gateway", "--config", str(layout.gateway)])
    await _start(
        gateway,
        _healthy(f"https://{_LOCAL}:{layout.ports.gateway}/healthz", ca=layout.ca),
    )
    if options.camera_url is None:
        say(f"模拟摄像机 / simulated camera: rtsp://{_LOCAL}:{layout.ports.camera}/main")
        portrait = await asyncio.to_thread(fetch_portrait, media_cache())
        arguments = _camera(layout, portrait)
        camera = _program(site, "camera", [*arguments, *options.camera_arguments])
        await _start(camera, _listens(camera, layout.ports.camera))
    say(f"模拟指纹机 / simulated terminal: {_LOCAL}:{layout.ports.terminal}")
    terminal = _program(site, "terminal", terminal_arguments(layout), takes_orders=True)
    await _start(terminal, _listens(terminal, layout.ports.terminal))
    say("边缘代理 / edge agent")
    agent = _program(site, "agent", ["-m", "edge_agent", "--config", str(layout.agent)])
    await agent.start()
    # It serves nothing that could be asked; a mistake in its settings ends it at once, and the
    # first thing that it does when there is none is to make its folder.
    await agent.wait_ready(_exists(layout.data / "agent"), seconds=_READY_S)


def _program(
    site: RunningSite, name: str, arguments: list[str], *, takes_orders: bool = False
) -> ChildProcess:
    """A child that runs a module of ours; central's one-time passwords are kept from its log."""
    reader: LineConsumer | None = site.take_line if name == "central" else None
    spec = ProcessSpec(
        name=name,
        argv=[sys.executable, "-u", *arguments],
        log=site.layout.logs / f"{name}.log",
        takes_orders=takes_orders,
        stop_timeout_s=15.0,
    )
    child = ChildProcess(spec, on_line=reader)
    site.children[name] = child
    return child


def _camera(layout: Layout, portrait: Path) -> list[str]:
    return [
        "-m", "mingjing.simulators.camera",
        "--port", str(layout.ports.camera),
        "--portrait", str(portrait),
        "--username", provision.SIMULATOR_USER,
        "--password-file", str(layout.camera_password),
    ]  # fmt: skip


def terminal_arguments(layout: Layout) -> list[str]:
    """How the terminal's simulator is started. Everybody can read a command line: no secrets."""
    return [
        "-m", "mingjing.simulators.zk_terminal",
        "--port", str(layout.ports.terminal),
        "--comm-key-file", str(layout.comm_key),
        "--users", f"{provision.CLERK_TERMINAL_USER},{provision.SECOND_CLERK_TERMINAL_USER}",
    ]  # fmt: skip


async def _start(child: ChildProcess, check: HealthCheck) -> None:
    await child.start()
    await child.wait_ready(check, seconds=_READY_S)


def _healthy(url: str, *, ca: Path | None = None) -> HealthCheck:
    verify = ssl.create_default_context(cafile=ca) if ca else False

    async def check() -> bool:
        try:
            async with httpx.AsyncClient(verify=verify, trust_env=False) as client:
                return (await client.get(url)).is_success
        except httpx.HTTPError:
            return False

    return check


def _exists(path: Path) -> HealthCheck:
    async def check() -> bool:
        return await asyncio.to_thread(path.exists)

    return check


def _listens(child: ChildProcess, port: int, *, then: HealthCheck | None = None) -> HealthCheck:
    """The child itself has the port, and what is asked `then` holds too."""

    async def check() -> bool:
        pid = child.pid
        if pid is None or not await asyncio.to_thread(listens, pid, port):
            return False
        return then is None or await then()

    return check


def _read_logins(path: Path) -> dict[str, str]:
    try:
        logins = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): str(password) for name, password in logins.items()}
