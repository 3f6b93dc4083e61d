"""The site's broker: facts come in through durable consumers, orders go out with confirmation.

A message is acknowledged only after the transaction that stored it was committed; until then it
stays in JetStream and comes again. The broker may be away at any time: `session` then ends with
`Unavailable` and its supervisor opens another, for ever.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, StorageType, StreamConfig

from contracts.errors import Unavailable
from contracts.wire import topics

TakeFact = Callable[[str, str, bytes], Awaitable[str]]
"""Site, subject, bytes; returns when the fact is stored."""

_DURABLE = "central"
_CONNECT_S = 5
_PULL_S = 3.0
_ACK_WAIT_S = 30.0
_AGAIN_S = 1.0
_PUBLISH_S = 5.0
_STREAM_NAME_IN_USE = 10058
FAILURES = (nats.errors.Error, OSError, asyncio.TimeoutError)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOptions:
    """Where the broker is, as whom we come, whose facts we take.

    Attributes:
        url: ``tls://host:port``, or ``nats://`` for a broker without TLS (tests only).
        tls: shows central's certificate and trusts the site's CA; None without TLS.
        sites: the sites whose facts are taken.
    """

    url: str
    sites: Sequence[str]
    tls: ssl.SSLContext | None = None


class Broker:
    """One connection at a time; see the module."""

    def __init__(self, options: BrokerOptions) -> None:
        self._options = options
        self._client: Client | None = None
        self._last_error = ""

    @property
    def is_connected(self) -> bool:
        """Whether orders can be published now."""
        return self._client is not None and self._client.is_connected

    async def session(self, take: TakeFact) -> None:
        """Connect and take facts of every site until the connection ends.

        Raises:
            Unavailable: it ended, or could not be made; says why.
        """
        try:
            async with self._connected() as (client, lost), asyncio.TaskGroup() as group:
                _log.info("broker_connected", url=self._options.url)
                for site in self._options.sites:
                    group.create_task(self._consume(client, site, take), name=f"facts-{site}")
                await lost.wait()
                raise Unavailable(f"与消息中间件 {self._options.url} 的连接中断")
        except ExceptionGroup as exc:
            first = exc.exceptions[0]
            if isinstance(first, Unavailable | nats.errors.Error | OSError):
                raise Unavailable(_text(first)) from exc
            raise
        except FAILURES as exc:
            reason = self._last_error or _text(exc)
            raise Unavailable(f"连不上消息中间件 {self._options.url}：{reason}") from exc

    async def publish_order(
        self, site: str, kind: str, message_id: str, body: dict[str, Any]
    ) -> None:
        """Publish an order; returns when JetStream holds it durably.

        Raises:
            Unavailable: the broker is away or did not confirm.
        """
        client = self._client
        if client is None or not client.is_connected:
            raise Unavailable("消息中间件未连接")
        try:
            await client.jetstream().publish(
                topics.subject(topics.order(site, kind)),
                json.dumps(body, ensure_ascii=False).encode(),
                timeout=_PUBLISH_S,
                headers={"Nats-Msg-Id": message_id},
            )
        except FAILURES as exc:
            raise Unavailable(f"消息中间件没有确认：{_text(exc)}") from exc

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[Client, asyncio.Event]]:
        lost = asyncio.Event()
        self._last_error = ""

        async def on_closed() -> None:
            lost.set()

        async def on_error(exc: Exception) -> None:
            self._last_error = _text(exc)

        client = Client()
        try:
            # Reconnecting is the supervisor's: the library would keep subscriptions alive whose
            # pulls the broker has forgotten.
            await client.connect(
                self._options.url,
                name="central",
                tls=self._options.tls,
                allow_reconnect=False,
                # Without this the library would knock sixty times before it says a word.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=_CONNECT_S,
                ping_interval=5,
                max_outstanding_pings=2,
                error_cb=on_error,
                closed_cb=on_closed,
            )
            for site in self._options.sites:
                await _ensure_stream(client.jetstream(), *topics.fact_stream(site))
                await _ensure_stream(client.jetstream(), *topics.order_stream(site))
            self._client = client
            yield client, lost
        finally:
            self._client = None
            await client.close()

    async def _consume(self, client: Client, site: str, take: TakeFact) -> None:
        stream, subjects = topics.fact_stream(site)
        pulled = await client.jetstream().pull_subscribe(
            subjects[0],
            durable=_DURABLE,
            stream=stream,
            config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=_ACK_WAIT_S),
        )
        while client.is_connected:
            try:
                # One at a time: for more, the library's `fetch` would wait until its timeout for
                # a full batch and hold an event back for seconds.
                messages = await pulled.fetch(1, timeout=_PULL_S)
            except nats.errors.TimeoutError:
                continue
            for message in messages:
                await _hand_over(site, message, take)


async def _hand_over(site: str, message: Msg, take: TakeFact) -> None:
    try:
        outcome = await take(site, message.subject, message.data)
    except Unavailable as exc:
        _log.warning("fact_comes_again", site=site, subject=message.subject, reason=str(exc))
        await message.nak(delay=_AGAIN_S)
        await asyncio.sleep(_AGAIN_S)
        return
    if outcome == "rejected":
        _log.warning("fact_rejected", site=site, subject=message.subject)
    await message.ack()


async def _ensure_stream(js: JetStreamContext, name: str, subjects: list[str]) -> None:
    """Create a stream that is missing; one that is there stays as whoever came first made it."""
    try:
        await js.stream_info(name)
    except nats.js.errors.NotFoundError:
        config = StreamConfig(name=name, subjects=subjects, storage=StorageType.FILE)
        try:
            await js.add_stream(config)
        except nats.js.errors.BadRequestError as exc:
            if exc.err_code != _STREAM_NAME_IN_USE:
                raise  # somebody else was faster only in that one case


def _text(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__
