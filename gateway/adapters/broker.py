"""The site's NATS: inboxes from JetStream, facts to JetStream, acknowledgements to devices.

Inboxes are pulled, one batch at a time, so that order is kept and what is not handled stays in the
broker. `up` and `orders` are durable consumers: a restart goes on where the last one stopped.
`state` is read anew after every connection, last message per subject first, because what counts is
how things are now.

The pull is spoken directly (``$JS.API.CONSUMER.MSG.NEXT``): the client library's `fetch` waits for
a full batch until its timeout and would hold an event back for seconds.
"""

import asyncio
import json
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    StorageType,
    StreamConfig,
)

from contracts.backoff import Backoff
from contracts.clock import Clock
from contracts.errors import Unavailable
from contracts.timestamps import WallTime, from_datetime
from contracts.wire import topics
from contracts.wire.envelope import Ack
from gateway.core.facts import Fact
from gateway.ports import BatchHandler, Inbox, Message

_BATCH = 64
_PULL_S = 3.0
_ACK_WAIT_S = 30.0
_PUBLISH_S = 5.0
_FORGET_READER_S = 60.0
_BACKOFF = Backoff(first_s=0.25, most_s=3.0)
_AGAIN_S = 1.0
_UP_KEPT_S = 14 * 86_400
"""Devices keep what is not acknowledged; this bounds what the broker keeps of what is."""
_STREAM_NAME_IN_USE = 10058

_log = structlog.get_logger()

_FAILURES = (nats.errors.Error, OSError, asyncio.TimeoutError)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOptions:
    """Where the broker is and as whom we come.

    Attributes:
        url: ``tls://host:port``, or ``nats://`` for a broker without TLS (tests only).
        reader: name of our place in the inboxes. A new state database needs a new one, so that
            it reads from the beginning and not from where a lost one stopped.
        tls: shows the gateway's certificate and trusts the site's CA; None without TLS.
    """

    url: str
    site: str
    reader: str = "gateway"
    tls: ssl.SSLContext | None = None


class NatsBroker:
    """The port `Broker` over nats-py. `run` keeps it connected."""

    def __init__(
        self, options: BrokerOptions, *, clock: Clock, random: Callable[[], float]
    ) -> None:
        """Nothing is connected before `run`. `random` draws the jitter of retries."""
        self._options = options
        self._clock = clock
        self._random = random
        self._client: Client | None = None
        self._ready = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the broker answers now."""
        return self._client is not None and self._client.is_connected and self._ready.is_set()

    async def run(self) -> None:
        """Connect, make sure the streams exist, and stay connected, for ever.

        The broker may be away at the start and for any time later; that is logged once.
        """
        attempt = 0
        while True:
            lost = asyncio.Event()
            client = await self._connect(lost, quiet=attempt > 0)
            if client is None:
                await self._clock.sleep(_BACKOFF.delay(attempt, random=self._random()))
                attempt += 1
                continue
            attempt = 0
            self._client = client
            self._ready.set()
            _log.info("broker_connected", url=self._options.url)
            try:
                await lost.wait()
            finally:
                self._ready.clear()
                await client.close()
            _log.warning("broker_lost", url=self._options.url)

    async def consume(self, inbox: Inbox, handle: BatchHandler) -> None:
        """Hand over an inbox in order, batch by batch, for ever."""
        failures = 0
        while True:
            await self._ready.wait()
            try:
                await self._pull(inbox, handle)
            except _FAILURES as exc:
                _do_not_swallow_the_end(exc)
                if failures == 0:
                    _log.warning("inbox_waits", inbox=inbox, reason=_text(exc))
                await self._clock.sleep(_BACKOFF.delay(failures, random=self._random()))
                failures += 1
            else:
                failures = 0

    async def description(self, device: str) -> bytes | None:
        """The last description a device published."""
        client = self._connected_client()
        stream, _ = topics.state_stream(self._options.site)
        subject = topics.subject(topics.desc(self._options.site, device))
        try:
            found = await client.jetstream().get_last_msg(stream, subject)
        except nats.js.errors.NotFoundError:
            return None
        except _FAILURES as exc:
            raise Unavailable(f"消息中间件没有应答 (broker): {_text(exc)}") from exc
        return found.data

    async def acknowledge(self, device: str, ack: Ack) -> None:
        """Tell a device what is stored; lost silently when the broker is away (it asks again)."""
        if not self.connected:
            return
        subject = topics.subject(topics.ack(self._options.site, device))
        try:
            await self._connected_client().publish(subject, ack.model_dump_json().encode())
        except _FAILURES as exc:
            _log.debug("ack_not_sent", device=device, reason=_text(exc))

    async def publish_fact(self, fact: Fact) -> None:
        """State a fact to central; returns when the broker holds it durably."""
        client = self._connected_client()
        subject = topics.subject(topics.fact(self._options.site, fact.kind))
        try:
            await client.jetstream().publish(
                subject, fact.payload, timeout=_PUBLISH_S, headers={"Nats-Msg-Id": fact.id}
            )
        except _FAILURES as exc:
            raise Unavailable(f"消息中间件没有确认 (fact not confirmed): {_text(exc)}") from exc

    async def _connect(self, lost: asyncio.Event, *, quiet: bool) -> Client | None:
        async def on_closed() -> None:
            lost.set()

        last_error = ""

        async def on_error(exc: Exception) -> None:
            nonlocal last_error
            last_error = _text(exc)
            _log.debug("broker_error", reason=_text(exc))

        client = Client()
        try:
            # Reconnecting is ours: the library would replay what it buffered, and its subscriptions
            # would outlive the pulls that the broker has forgotten.
            await client.connect(
                self._options.url,
                name="gateway",
                tls=self._options.tls,
                allow_reconnect=False,
                # Without this the library would knock sixty times before it says a word.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=5,
                ping_interval=5,
                max_outstanding_pings=2,
                error_cb=on_error,
                closed_cb=on_closed,
            )
            await self._ensure_streams(client)
        except _FAILURES as exc:
            if not quiet:
                # The library ends with "no servers"; what it was told on the way says why.
                reason = last_error or _text(exc)
                _log.warning("broker_unreachable", url=self._options.url, reason=reason)
            await client.close()
            return None
        return client

    async def _ensure_streams(self, client: Client) -> None:
        """Create what is missing; what is there stays as whoever came first made it."""
        site = self._options.site
        for (name, subjects), most, kept_s in (
            (topics.up_stream(site), -1, _UP_KEPT_S),
            (topics.state_stream(site), 1, 0),
            (topics.fact_stream(site), -1, 0),
            (topics.order_stream(site), -1, 0),
        ):
            config = StreamConfig(
                name=name,
                subjects=subjects,
                storage=StorageType.FILE,
                max_msgs_per_subject=most,
                max_age=kept_s,
            )
            try:
                await client.jetstream().stream_info(name)
            except nats.js.errors.NotFoundError:
                try:
                    await client.jetstream().add_stream(config)
                except nats.js.errors.BadRequestError as exc:
                    if exc.err_code != _STREAM_NAME_IN_USE:
                        raise  # somebody else was faster only in that one case

    async def _pull(self, inbox: Inbox, handle: BatchHandler) -> None:
        """Read an inbox over the present connection until it ends."""
        client = self._connected_client()
        stream, consumer = await self._consumer(client, inbox)
        reply = client.new_inbox()
        pulled = await client.subscribe(reply)
        try:
            while client.is_connected:
                await client.publish(
                    f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}",
                    json.dumps({"batch": _BATCH, "expires": int(_PULL_S * 1e9)}).encode(),
                    reply=reply,
                )
                await self._answers(pulled, handle)
        finally:
            if client.is_connected:
                await pulled.unsubscribe()

    async def _answers(self, pulled: Subscription, handle: BatchHandler) -> None:
        """Handle what one pull brings: whatever has arrived makes a batch."""
        wanted, over = _BATCH, False
        while wanted > 0 and not over:
            try:
                batch = [await pulled.next_msg(timeout=_PULL_S + 1)]
                while pulled.pending_msgs and len(batch) < wanted:
                    batch.append(await pulled.next_msg(timeout=1))
            except nats.errors.TimeoutError:
                return
            over = any(_is_status(m) for m in batch)
            batch = [m for m in batch if not _is_status(m)]
            wanted -= len(batch)
            if batch:
                await _hand_over(batch, handle)

    async def _consumer(self, client: Client, inbox: Inbox) -> tuple[str, str]:
        """Find or make the consumer of an inbox: names of stream and consumer."""
        site = self._options.site
        js = client.jetstream()
        if inbox == "state":
            stream, _ = topics.state_stream(site)
            made = await js.add_consumer(
                stream,
                ConsumerConfig(
                    deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
                    # "Last per subject" is refused without a filter, even one that takes all.
                    filter_subject=topics.subtree(site, "*"),
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=_ACK_WAIT_S,
                    inactive_threshold=_FORGET_READER_S,
                ),
            )
            return stream, made.name
        stream, _ = topics.up_stream(site) if inbox == "up" else topics.order_stream(site)
        made = await js.add_consumer(
            stream,
            ConsumerConfig(
                durable_name=self._options.reader,
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=_ACK_WAIT_S,
            ),
        )
        return stream, made.name

    def _connected_client(self) -> Client:
        if self._client is None or not self.connected:
            raise Unavailable("消息中间件未连接 (the broker is not connected)")
        return self._client


async def _hand_over(batch: Sequence[Msg], handle: BatchHandler) -> None:
    try:
        await handle([_message(m) for m in batch])
    except Unavailable as exc:
        _log.warning("batch_comes_again", messages=len(batch), reason=str(exc))
        for message in batch:
            await message.nak(delay=_AGAIN_S)
        return
    for message in batch:
        await message.ack()


def _message(message: Msg) -> Message:
    stored_at: WallTime = from_datetime(message.metadata.timestamp)
    return Message(subject=message.subject, payload=message.data, stored_at=stored_at)


def _do_not_swallow_the_end(exc: BaseException) -> None:
    """The library turns a cancellation into an error of its own when the connection closes too."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from exc


def _is_status(message: Msg) -> bool:
    return bool(message.headers) and "Status" in (message.headers or {})


def _text(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__
