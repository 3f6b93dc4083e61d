"""Live pictures and the health of devices."""

from dataclasses import dataclass
from typing import Literal

from central.domain.permissions import may_watch
from central.domain.refusals import Text, denied, not_found
from central.domain.register import Device, User
from central.handlers.context import Context
from central.handlers.views import Names, read_names
from central.ports import LiveSession, Permit, Transaction
from contracts.ids import split_stream_id, stream_id
from contracts.wire.presence import DeviceHealthFact

Health = Literal["online", "degraded", "offline", "planned"]

_WORST_FIRST: tuple[Health, ...] = ("offline", "degraded", "planned", "online")
CAUSES: dict[str, str] = {
    "ok": "正常",
    "starting": "正在启动",
    "stopped": "已停止：请在采集端启动",
    "connection_lost": "连接中断：检查采集端电源和网络",
    "unreachable": "连不上设备：检查电源、网线和地址",
    "bad_credentials": "设备口令不对：在采集端更正口令",
    "unsupported_codec": "编码不支持：把设备设为 H.264",
    "no_key_frames": "没有关键帧：缩短设备的关键帧间隔",
    "no_media": "没有画面：检查设备的码流设置",
    "protocol_garbage": "设备的应答看不懂：核对型号和固件",
    "clock_wrong": "设备时钟不准：校时",
    "gateway_unreachable": "连不上网关：检查网络",
    "gateway_refused": "网关拒绝：核对设备证书",
    "spool_full": "断网缓存已满：尽快恢复网络",
    "disk_full": "磁盘已满：清理或扩容",
    "internal_error": "程序出错：查看采集端日志",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device with its latest health."""

    device: Device
    place_name: str
    health: Health
    fact: DeviceHealthFact | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamView:
    """A stream that may be watched."""

    stream: str
    device: DeviceView


async def list_devices(ctx: Context, user: User) -> list[DeviceView]:
    """Devices of the site, worst health first."""
    async with ctx.store.transaction() as tx:
        found = await _devices(tx, user.site, await read_names(tx, user.site))
    return sorted(found, key=lambda item: _WORST_FIRST.index(item.health))


async def list_streams(ctx: Context, user: User) -> list[StreamView]:
    """Streams this user may watch live: all, or those of the user's own counter."""
    async with ctx.store.transaction() as tx:
        names = await read_names(tx, user.site)
        found = await _devices(tx, user.site, names)
    return [
        StreamView(stream=stream_id(item.device.id, name), device=item)
        for item in found
        if item.device.device_class == "camera" and _may_watch(user, item.device)
        for name in item.device.streams
    ]


async def watch(ctx: Context, user: User, stream: str, offer: bytes) -> tuple[str, bytes]:
    """Start a live view; registered like every view of footage.

    Returns:
        Session id and SDP answer.
    """
    async with ctx.store.transaction() as tx:
        names = await read_names(tx, user.site)
    device_id, feed = split_stream_id(stream)
    device = names.devices.get(device_id)
    if device is None or feed not in device.streams:
        raise not_found(Text(zh=f"没有影像 {stream}", en=f"There is no stream {stream}"))
    if not _may_watch(user, device):
        raise denied(
            Text(
                zh=f"您只能看本窗口的实时影像，不能看{names.place(device.place) or device.name}",
                en="You may watch your own counter only",
            )
        )
    permit = Permit(use="live", site=user.site, user=user.username, streams=(stream,))
    answer, location = await ctx.gateways.watch(permit, stream, offer)
    session = LiveSession(
        id=ctx.new_id(), site=user.site, username=user.username, stream=stream, location=location
    )
    now = ctx.clock.now()
    async with ctx.store.transaction() as tx:
        await tx.retrievals.add_live(session, at_ns=now)
        await tx.journal.audit(
            at_ns=now, username=user.username, action="live_viewed", body={"stream": stream}
        )
    return session.id, answer


async def unwatch(ctx: Context, user: User, session_id: str) -> None:
    """End a live view of this user."""
    async with ctx.store.transaction() as tx:
        session = await tx.retrievals.take_live(session_id, user.username)
    if session is None:
        raise not_found(Text(zh="没有这个实时会话", en="There is no such live session"))
    permit = Permit(use="live", site=session.site, user=user.username, streams=(session.stream,))
    await ctx.gateways.unwatch(permit, session.location)


async def _devices(tx: Transaction, site: str, names: Names) -> list[DeviceView]:
    health = await tx.facts.health(site)
    return [_view(device, health.get(device.id), names) for device in names.devices.values()]


def _view(device: Device, fact: DeviceHealthFact | None, names: Names) -> DeviceView:
    if fact is None:
        detail = "尚未入网：在采集端登记此设备并启动"
        return DeviceView(
            device=device,
            place_name=names.place(device.place),
            health="planned",
            fact=None,
            detail=detail,
        )
    return DeviceView(
        device=device,
        place_name=names.place(device.place),
        health=fact.health,
        fact=fact,
        detail=fact.detail or CAUSES.get(fact.cause, fact.cause),
    )


def _may_watch(user: User, device: Device) -> bool:
    own = frozenset() if user.place is None else frozenset({user.place})
    return may_watch(user.role, place=device.place, own_places=own)
