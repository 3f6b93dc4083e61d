"""How a camera fares: judged from what its media does, explained in one line for the operator."""

from dataclasses import dataclass, field

from contracts.errors import ProtocolError, Unavailable
from contracts.timestamps import NS
from contracts.wire.devices import Health, HealthCause
from edge_agent.core.rtsp_session import RequestRefused

NO_MEDIA_S = 5
NO_KEY_FRAME_S = 10
GIVE_UP_WITHOUT_KEY_S = 40
WRONG_CLOCK_MS = 30_000
MOST_MALFORMED = 200

UNSUPPORTED_TRANSPORT = 461
_BAD_CREDENTIALS = frozenset({401, 403})
_NO_SUCH_STREAM = 404
_BUSY = frozenset({453, 503})
_REDIRECTIONS = range(300, 400)


class CameraFailure(Unavailable):
    """The session with the camera ended; carries what to tell the operator.

    Attributes:
        cause: for the device's health.
        detail: one line in zh-CN: what, where, what to do.
        wants_other_transport: the camera refused the transport, not us.
    """

    def __init__(
        self, cause: HealthCause, detail: str, *, wants_other_transport: bool = False
    ) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail
        self.wants_other_transport = wants_other_transport


@dataclass(slots=True, kw_only=True)
class MediaProgress:
    """What was seen of the media in one session; times are monotonic nanoseconds.

    Attributes:
        where: host and port, for the operator.
        media_ns: last video packet, or the start.
        key_ns: last key frame, or the start.
        is_up: access units are being handed over.
        malformed: video packets and units that broke their format.
        emitted: video access units handed over.
        newest_picture: highest media time seen of the video.
        is_reordered: pictures came in another order than they are shown: B-frames.
        offset_ms: the camera's clock minus ours, None when it did not tell.
        remarks: what is left out though the camera offers it, zh-CN.
    """

    where: str
    media_ns: int
    key_ns: int
    is_up: bool = False
    malformed: int = 0
    emitted: int = 0
    newest_picture: int = -1
    is_reordered: bool = False
    offset_ms: int | None = None
    remarks: list[str] = field(default_factory=list)


def judge(progress: MediaProgress, now_ns: int) -> tuple[Health, HealthCause, str]:
    """Return health, cause and detail of a camera that is playing.

    Raises:
        CameraFailure: the session is hopeless and must be made anew.
    """
    where = progress.where
    if progress.malformed > MOST_MALFORMED + progress.emitted:
        raise CameraFailure(
            "protocol_garbage",
            f"摄像机 {where} 的画面数据不符合协议（{progress.malformed} 个坏包），请检查网络与固件",
        )
    if now_ns - progress.media_ns > NO_MEDIA_S * NS:
        raise CameraFailure(
            "no_media",
            f"摄像机 {where} 已连接，但 {NO_MEDIA_S} 秒没有画面数据，"
            "请检查摄像机是否死机、网络是否拥塞",
        )
    without_key_ns = now_ns - progress.key_ns
    if without_key_ns > NO_KEY_FRAME_S * NS:
        detail = (
            f"摄像机 {where} 超过 {NO_KEY_FRAME_S} 秒没有关键帧，"
            "请把 I 帧间隔设为 2 秒并关闭智能编码（H.264+）"
        )
        if not progress.is_up and without_key_ns > GIVE_UP_WITHOUT_KEY_S * NS:
            raise CameraFailure("no_key_frames", detail)
        return ("degraded" if progress.is_up else "offline"), "no_key_frames", detail
    if not progress.is_up:
        return "offline", "starting", f"摄像机 {where} 已连接，等待关键帧"
    if progress.remarks:
        return "degraded", "unsupported_codec", progress.remarks[0]
    if progress.offset_ms is not None and abs(progress.offset_ms) > WRONG_CLOCK_MS:
        seconds = progress.offset_ms / 1000
        detail = f"摄像机 {where} 的时钟相差 {seconds:+.0f} 秒，请为它配置 NTP 校时"
        return "degraded", "clock_wrong", detail
    return "online", "ok", ""


def explain(exc: Exception, where: str, *, was_up: bool) -> CameraFailure:
    """Turn what ended a session into a cause and a line for the operator.

    The texts of foreign errors are cut; none of them carries credentials.
    """
    if isinstance(exc, CameraFailure):
        return exc
    if isinstance(exc, RequestRefused):
        return _refusal(exc, where)
    if isinstance(exc, ProtocolError):
        return CameraFailure(
            "protocol_garbage",
            f"摄像机 {where} 发来的数据不符合协议（{exc}），请检查地址是否正确、固件是否需要升级",
        )
    if isinstance(exc, TimeoutError):
        return CameraFailure("unreachable", f"连接摄像机 {where} 超时，请检查电源、网线与地址")
    text = str(getattr(exc, "strerror", None) or exc) or type(exc).__name__
    reason = text.splitlines()[0][:120]
    if was_up:
        return CameraFailure(
            "connection_lost",
            f"与摄像机 {where} 的连接中断（{reason}），正在自动重连；如持续请检查网线",
        )
    return CameraFailure(
        "unreachable", f"无法连接摄像机 {where}（{reason}），请检查电源、网线、地址与端口"
    )


def _refusal(exc: RequestRefused, where: str) -> CameraFailure:
    status = exc.status
    if status in _BAD_CREDENTIALS:
        return CameraFailure(
            "bad_credentials", f"摄像机 {where} 拒绝了用户名或口令，请核对配置中的用户名与口令文件"
        )
    if status == _NO_SUCH_STREAM:
        detail = f"摄像机 {where} 没有这个码流，请检查地址中的路径"
    elif status in _BUSY:
        detail = f"摄像机 {where} 忙（{status}），可能连接数已满，请减少其他观看者"
    elif status in _REDIRECTIONS:
        detail = f"摄像机 {where} 要求转到别处，为安全起见未跟随，请把地址改为最终地址"
    else:
        detail = f"摄像机 {where} 对 {exc.method} 回答 {status}，请检查码流地址与摄像机设置"
    return CameraFailure(
        "unreachable", detail, wants_other_transport=status == UNSUPPORTED_TRANSPORT
    )
