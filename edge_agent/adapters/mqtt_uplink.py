"""One device's MQTT session with the site's broker.

Publishes what the device is and how it fares, and the spool's envelopes in order. A PUBACK is no
receipt: with MQTT 3.1.1 even a denied publish is acknowledged by the broker. Only the gateway's
`Ack` empties the spool; what it does not answer in time is published again from the oldest on, and
an alarm is raised when it stays silent.
"""

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import aiomqtt
import structlog
from pydantic import ValidationError

from contracts.backoff import Backoff
from contracts.clock import Clock
from contracts.errors import InvalidInput, MingjingError, Unavailable
from contracts.timestamps import NS
from contracts.wire import topics
from contracts.wire.devices import DeviceDesc, DeviceState
from contracts.wire.envelope import Ack
from edge_agent.ports import HealthReporter, Spool, StatusSource

_FAREWELL_S = 2.0
_MOST_ACK_BYTES = 4096
_MOST_HEARD = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkOptions:
    """Where the broker is and who the device is.

    Attributes:
        ca: PEM of the site's CA.
        certificate: PEM of the device; its common name is the client id.
        key: PEM of its private key.
        window: envelopes that may await the gateway at a time.
        resend_s: without a receipt for this long, everything in the window is sent again.
        alarm_s: without a receipt for this long, the device is reported as degraded.
        heartbeat_s: the state is published at least this often.
    """

    site: str
    device: str
    boot: str
    host: str
    port: int
    ca: Path
    certificate: Path
    key: Path
    window: int = 100
    resend_s: float = 5.0
    alarm_s: float = 30.0
    heartbeat_s: float = 10.0
    keepalive_s: int = 15


class MqttUplink:
    """Fulfils the port `Uplink`."""

    def __init__(
        self,
        options: UplinkOptions,
        spool: Spool,
        *,
        status: StatusSource,
        health: HealthReporter,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._options = options
        self._spool = spool
        self._status = status
        self._health = health
        self._clock = clock
        self._random = random
        self._log = structlog.get_logger().bind(device=options.device)
        self._backoff = Backoff()
        self._flight: deque[int] = deque()
        self._sent = 0
        self._owed_since_ns: int | None = None
        self._resend_at_ns = 0
        self._wake = asyncio.Event()
        self._ack: Ack | None = None
        self._told_desc: DeviceDesc | None = None
        self._heard = asyncio.Event()
        self._told = ""
        self._is_connected = False

    async def run(self) -> None:
        """Publish until cancelled; reconnects with jittered delays."""
        attempt = 0
        while True:
            self._is_connected = False
            try:
                await self._session()
            except* (aiomqtt.MqttError, MingjingError, OSError) as group:
                self._tell_lost(_first(group))
            attempt = 0 if self._is_connected else attempt + 1
            await self._clock.sleep(self._backoff.delay(attempt, random=self._random()))

    async def _session(self) -> None:
        tls = await asyncio.to_thread(self._tls)
        client = aiomqtt.Client(
            self._options.host,
            self._options.port,
            identifier=self._options.device,
            protocol=aiomqtt.ProtocolVersion.V311,
            tls_context=tls,
            keepalive=self._options.keepalive_s,
            will=self._will(),
            max_queued_incoming_messages=_MOST_HEARD,
        )
        async with client:
            self._is_connected = True
            self._told = ""
            self._log.info("uplink_connected", host=self._options.host, port=self._options.port)
            self._health.report("online", "ok")
            await client.subscribe(topics.ack(self._options.site, self._options.device), qos=1)
            self._told_desc = None
            await self._publish_desc(client)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._tell_state(client), name="state")
                    group.create_task(self._hear_acks(client), name="acks")
                    group.create_task(self._apply_acks(), name="receipts")
                    group.create_task(self._watch_spool(), name="spool")
                    group.create_task(self._send_events(client), name="events")
            except asyncio.CancelledError:
                await self._farewell(client)
                raise

    def _tls(self) -> ssl.SSLContext:
        options = self._options
        try:
            context = ssl.create_default_context(cafile=options.ca)
            context.load_cert_chain(options.certificate, options.key)
        except (OSError, ssl.SSLError) as exc:
            raise Unavailable(f"证书不可用（{options.certificate}）：{exc}") from exc
        return context

    def _will(self) -> aiomqtt.Will:
        gone = DeviceState(
            health="offline",
            cause="connection_lost",
            detail="与采集代理的连接中断：请检查代理主机的电源和网络",
            boot=self._options.boot,
            at_ns=self._clock.now(),
        )
        return aiomqtt.Will(self._state_topic(), gone.model_dump_json(), qos=1, retain=True)

    def _state_topic(self) -> str:
        return topics.state(self._options.site, self._options.device)

    async def _publish_state(self, client: aiomqtt.Client, state: DeviceState) -> None:
        level = await self._spool.level()
        told = state.model_copy(update={"spool_pending": level.pending})
        await client.publish(self._state_topic(), told.model_dump_json(), qos=1, retain=True)

    async def _publish_desc(self, client: aiomqtt.Client) -> None:
        """Retained, and before any event: the gateway checks signatures against it."""
        desc = self._status.desc()
        if desc == self._told_desc:
            return
        topic = topics.desc(self._options.site, self._options.device)
        await client.publish(topic, desc.model_dump_json(), qos=1, retain=True)
        self._told_desc = desc

    async def _tell_state(self, client: aiomqtt.Client) -> NoReturn:
        version = 0
        while True:
            await self._publish_desc(client)
            await self._publish_state(client, self._status.state())
            _honour_cancellation()
            try:
                async with asyncio.timeout(self._options.heartbeat_s):
                    version = await self._status.wait_changed(version)
            except TimeoutError:
                continue  # the heartbeat is due

    async def _farewell(self, client: aiomqtt.Client) -> None:
        """Say that we stop on purpose, so that nobody takes it for a broken line."""
        stopped = self._status.state().model_copy(
            update={
                "health": "offline",
                "cause": "stopped",
                "detail": "采集代理已停止：需要时请重新启动",
                "at_ns": self._clock.now(),
            }
        )
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await self._publish_state(client, stopped)
        except (TimeoutError, aiomqtt.MqttError, MingjingError) as exc:
            self._log.info("farewell_failed", error=str(exc))

    async def _hear_acks(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            if len(payload) > _MOST_ACK_BYTES:
                continue
            try:
                ack = Ack.model_validate(json.loads(payload))
            except (ValidationError, ValueError):
                self._log.warning("unreadable_ack", bytes=len(payload))
                continue
            self._ack = ack  # each says all that those before it said
            self._heard.set()

    async def _apply_acks(self) -> NoReturn:
        while True:
            await self._heard.wait()
            self._heard.clear()
            if self._ack is not None:
                await self._take(self._ack)

    async def _take(self, ack: Ack) -> None:
        if ack.rejected is not None and self._owed_since_ns is not None:
            # A refusal is an answer: its reason is not to be replaced by the alarm about silence.
            self._owed_since_ns = self._clock.monotonic_ns()
        try:
            await self._spool.acknowledge(ack.seq)
        except InvalidInput as exc:
            self._disagree(ack, exc)
            return
        if self._flight and self._flight[0] <= ack.seq:
            while self._flight and self._flight[0] <= ack.seq:
                self._flight.popleft()
            self._expect_receipt()
        if not self._flight:
            self._owed_since_ns = None
        self._sent = max(self._sent, ack.seq)
        if ack.rejected is None:
            self._alarm("", "")
            self._health.report("online", "ok")
        else:
            detail = f"网关拒收第 {ack.seq + 1} 条事件：{ack.rejected}"
            self._alarm("rejected", detail)
            self._health.report("degraded", "gateway_refused", detail)
        self._wake.set()

    def _disagree(self, ack: Ack, mine: InvalidInput) -> None:
        """The gateway has stored more than was made here; when it says why, that is what counts."""
        if ack.rejected is None:
            self._alarm("internal", str(mine))
            self._health.report("degraded", "internal_error", str(mine))
        else:
            detail = f"网关拒收：{ack.rejected}（{mine}）"
            self._alarm("rejected", detail)
            self._health.report("degraded", "gateway_refused", detail)

    async def _watch_spool(self) -> NoReturn:
        seq = 0
        while True:
            seq = await self._spool.wait_beyond(seq)
            self._wake.set()

    async def _send_events(self, client: aiomqtt.Client) -> NoReturn:
        self._flight.clear()
        self._owed_since_ns = None
        self._sent = 0
        while True:
            self._wake.clear()
            if await self._fill_window(client):
                continue
            try:
                async with asyncio.timeout(self._patience_s()):
                    await self._wake.wait()
            except TimeoutError:
                self._send_again()

    async def _fill_window(self, client: aiomqtt.Client) -> bool:
        """Publish what fits; false when there was nothing to do."""
        room = self._options.window - len(self._flight)
        rows = await self._spool.pending(after=self._sent, limit=room) if room > 0 else ()
        for seq, event_class, raw in rows:
            if self._owed_since_ns is None:
                self._expect_receipt()
            self._flight.append(seq)
            self._sent = seq
            topic = topics.up(self._options.site, self._options.device, event_class)
            await client.publish(topic, raw, qos=1)
            _honour_cancellation()
        return bool(rows)

    def _expect_receipt(self) -> None:
        now = self._clock.monotonic_ns()
        self._owed_since_ns = now
        self._resend_at_ns = now + int(self._options.resend_s * NS)

    def _patience_s(self) -> float | None:
        """How long to wait for a receipt; None when none is owed."""
        if not self._flight:
            return None
        return max(0.0, (self._resend_at_ns - self._clock.monotonic_ns()) / NS)

    def _send_again(self) -> None:
        """The gateway owes a receipt: begin again at the oldest envelope it has not confirmed."""
        if not self._flight or self._owed_since_ns is None:
            return
        now = self._clock.monotonic_ns()
        silent_s = (now - self._owed_since_ns) // NS
        if silent_s >= self._options.alarm_s:
            detail = (
                f"{len(self._flight)} 条事件已送到消息服务器，"
                f"但网关 {silent_s} 秒没有确认：请检查网关程序"
            )
            self._alarm("silent", detail)
            self._health.report("degraded", "gateway_unreachable", detail)
        self._sent = self._flight[0] - 1
        self._flight.clear()
        self._resend_at_ns = now + int(self._options.resend_s * NS)

    def _alarm(self, kind: str, detail: str) -> None:
        """Log a change once."""
        if kind == self._told:
            return
        self._told = kind
        if kind:
            self._log.warning("uplink_alarm", kind=kind, detail=detail)
        else:
            self._log.info("uplink_alarm_over")

    def _tell_lost(self, exc: BaseException) -> None:
        if self._told != "lost":
            self._told = "lost"
            self._log.warning(
                "uplink_lost",
                error=str(exc) or type(exc).__name__,
                host=self._options.host,
                port=self._options.port,
            )
        self._health.report("degraded", "gateway_unreachable", f"连不上消息服务器：{exc}")


def _honour_cancellation() -> None:
    """Notice a cancellation of a child task that was swallowed.

    Python 3.11's `asyncio.wait_for`, which the MQTT client uses, returns normally when its result
    and a cancellation come in the same turn of the loop; the task would then never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
