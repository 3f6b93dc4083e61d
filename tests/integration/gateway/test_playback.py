"""Playback over HTTP: rights, ranges, tags, playlists, and a real player."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from contracts.clock import ManualClock
from contracts.signing import PemSigner
from contracts.timestamps import NS, WallTime
from contracts.tokens import Grant, GrantUse, issue
from gateway.adapters.footage.reader import FootageVolume
from gateway.api.auth import GrantChecker
from gateway.api.playback import playback_router
from gateway.core.parts import Interrupted
from gateway.core.segmenter import SegmenterOptions
from tests.certificates import issue as issue_certificate
from tests.h264_units import FRAME_NS, START, clip
from tests.integration.gateway.recording import STREAM, Feed, media_files, volume
from tests.waiting import until

pytestmark = pytest.mark.integration

CLOCK = ManualClock(START + 3600 * NS)
CENTRAL = issue_certificate("central")
OTHER = issue_certificate("other")


def _bearer(*, low=START, high=START + 60 * NS, by=CENTRAL, **changes) -> dict[str, str]:
    use: GrantUse = changes.pop("use", "replay")
    grant = Grant(
        use=use,
        site=changes.pop("site", "demo"),
        user="chen-gang",
        streams=changes.pop("streams", (STREAM,)),
        not_before_ns=low,
        not_after_ns=high,
        expires_s=changes.pop("expires_s", CLOCK.now() // NS + 60),
    )
    return {"Authorization": f"Bearer {issue(grant, PemSigner(by.key_pem))}"}


@dataclass
class Site:
    """An application over a volume with 6 s, a hole of 4 s, and 4 s; files of 4 s."""

    app: FastAPI
    folder: Path
    client: httpx.AsyncClient

    async def get(self, path: str, headers: dict[str, str] | None = None, **params: int):
        sent = _bearer() if headers is None else headers
        return await self.client.get(f"/v1/{path}", headers=sent, params=params)

    async def index(self, low: int = START, high: int = START + 60 * NS, headers=None):
        return await self.get(f"hls/{STREAM}/index.m3u8", headers, from_ns=low, to_ns=high)

    async def file(self, number: int, headers: dict[str, str]):
        return await self.get(f"hls/{STREAM}/files/{number}.mp4", headers)


@pytest.fixture
async def site(tmp_path) -> AsyncIterator[Site]:
    async with volume(tmp_path) as store:
        feed = Feed(store, options=SegmenterOptions(file_ns=4 * NS))
        feed.expect(START - NS)
        feed.session("s1")
        await feed.push(clip().unit(n) for n in range(150))
        feed.interrupt(Interrupted(at=WallTime(START), cause="camera_unreachable"))
        feed.session("s2")
        await feed.push(clip().unit(n) for n in range(250, 350))
        feed.stop()
    app = FastAPI()
    checker = GrantChecker(site="demo", central=CENTRAL.certificate, clock=CLOCK)
    app.include_router(playback_router(FootageVolume(tmp_path), checker))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield Site(app, tmp_path, client)


PATHS = [
    f"timeline/{STREAM}",
    f"hls/{STREAM}/index.m3u8",
    f"hls/{STREAM}/files/1.mp4",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 401),
        ({"Authorization": "Bearer nonsense"}, 401),
        (_bearer(by=OTHER), 401),
        (_bearer(expires_s=CLOCK.now() // NS - 1), 401),
        (_bearer(use="live"), 403),
        (_bearer(site="elsewhere"), 403),
        (_bearer(streams=("cam-08-front.main",)), 403),
        (_bearer(low=START + 3000 * NS, high=START + 3001 * NS), 403),
    ],
)
async def test_only_a_fitting_grant_opens_a_route(site, path, headers, code):
    answer = await site.get(path, headers, from_ns=START, to_ns=START + NS)
    assert answer.status_code == code


async def test_the_timeline_says_what_is_there_and_what_is_missing(site):
    answer = await site.get(f"timeline/{STREAM}", from_ns=START, to_ns=START + 60 * NS)
    body = answer.json()
    assert [(s["from_ns"] - START) // FRAME_NS for s in body["recorded"]] == [0, 250]
    assert [(g["cause"], g["to_ns"]) for g in body["gaps"]] == [
        ("camera_unreachable", START + 10 * NS),
        ("gateway_stopped", None),
    ]


@pytest.mark.parametrize(
    ("low", "high"), [(START + NS, START), (START, START), (START, START + 90_000 * NS)]
)
async def test_an_interval_that_makes_no_sense_is_refused(site, low, high):
    assert (await site.index(low, high, _bearer(high=1 << 62))).status_code == 422


async def test_a_playlist_begins_at_the_key_frame_before_and_marks_the_hole(site):
    answer = await site.index(START + 3 * NS, START + 13 * NS)
    assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
    dates = re.findall(r"DATE-TIME:2026-09-21T14:13:(\S+)Z", answer.text)
    assert dates == ["22.000", "24.000", "30.000", "32.000"]
    assert answer.text.count("#EXT-X-DISCONTINUITY") == 1
    assert answer.text.count("#EXT-X-MAP") == 1
    assert re.findall(r"files/(\d+)\.mp4$", answer.text, re.MULTILINE) == ["1", "2", "3", "3"]


async def test_each_range_of_a_playlist_is_a_whole_segment(site):
    text = (await site.index()).text
    for length, offset, uri in re.findall(r"BYTERANGE:(\d+)@(\d+)\n(\S+)", text):
        low, high = int(offset), int(offset) + int(length) - 1
        answer = await site.get(f"hls/{STREAM}/{uri}", _bearer() | {"Range": f"bytes={low}-{high}"})
        assert answer.status_code == 206
        assert answer.content[4:8] == b"prft"
        assert len(answer.content) == int(length)


async def test_without_footage_there_is_no_playlist(site):
    low = START + 30 * NS
    assert (await site.index(low, low + NS)).status_code == 404
    assert (await site.file(99, _bearer())).status_code == 404
    assert (await site.file(0, _bearer())).status_code == 422
    assert (await site.file(1 << 80, _bearer())).status_code == 422


async def test_a_file_is_served_whole_or_in_ranges_bit_for_bit(site):
    octets = media_files(site.folder)[0].read_bytes()
    whole = await site.file(1, _bearer())
    assert (whole.status_code, whole.content) == (200, octets)
    assert whole.headers["accept-ranges"] == "bytes"
    for text, cut in [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=5-", slice(5, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=10-99999999", slice(10, None)),
    ]:
        answer = await site.file(1, _bearer() | {"Range": text})
        assert (answer.status_code, answer.content) == (206, octets[cut])
        low, high, _ = cut.indices(len(octets))
        assert answer.headers["content-range"] == f"bytes {low}-{high - 1}/{len(octets)}"


@pytest.mark.parametrize("text", ["bytes=99999999-", "bytes=-0"])
async def test_a_range_outside_the_file_is_416(site, text):
    answer = await site.file(1, _bearer() | {"Range": text})
    size = media_files(site.folder)[0].stat().st_size
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")


@pytest.mark.parametrize("text", ["bytes=0-1,4-5", "octets=0-1", "bytes=-", "bytes=9-3", "x"])
async def test_a_range_we_do_not_speak_is_ignored(site, text):
    assert (await site.file(1, _bearer() | {"Range": text})).status_code == 200


async def test_the_tag_is_strong_and_conditions_are_kept(site):
    first = await site.file(1, _bearer())
    tag = first.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
    assert (await site.file(2, _bearer())).headers["etag"] != tag
    same = await site.file(1, _bearer() | {"If-None-Match": tag})
    assert (same.status_code, same.content) == (304, b"")
    ranged = {"Range": "bytes=0-9"}
    assert (await site.file(1, _bearer() | ranged | {"If-Range": tag})).status_code == 206
    assert (await site.file(1, _bearer() | ranged | {"If-Range": '"old"'})).status_code == 200


async def test_head_tells_the_length_without_octets(site):
    answer = await site.client.head(f"/v1/hls/{STREAM}/files/1.mp4", headers=_bearer())
    size = media_files(site.folder)[0].stat().st_size
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(size))


async def test_a_grant_opens_its_seconds_and_no_others(site):
    grant = _bearer(low=START + 2 * NS, high=START + 3 * NS)
    text = (await site.index(START + 2 * NS, START + 3 * NS, grant)).text
    ((length, offset),) = re.findall(r"BYTERANGE:(\d+)@(\d+)", text)
    low, high = int(offset), int(offset) + int(length) - 1
    head = int(re.search(r'BYTERANGE="(\d+)@0"', text)[1])
    for wanted, code in [
        ((0, head - 1), 206),
        ((low, high), 206),
        ((low + 5, high - 5), 206),
        ((low - 1, high), 403),
        ((0, high), 403),
        ((head, head), 403),
    ]:
        answer = await site.file(1, grant | {"Range": "bytes={}-{}".format(*wanted)})
        assert answer.status_code == code, wanted
    before = _bearer(high=START + NS) | {"Range": f"bytes=0-{low - 1}"}
    assert (await site.file(1, before)).status_code == 206
    assert (await site.file(1, before | {"Range": f"bytes=0-{low}"})).status_code == 403
    assert (await site.file(1, grant)).status_code == 403
    assert (await site.file(2, grant | {"Range": "bytes=0-9"})).status_code == 403
    assert (await site.index(START, START + 3 * NS, grant)).status_code == 403


async def test_a_file_that_is_gone_is_said_plainly(site):
    media_files(site.folder)[0].unlink()
    answer = await site.file(1, _bearer())
    assert answer.status_code == 503
    assert "无法打开" in answer.json()["detail"]


async def test_a_growing_file_is_served_as_far_as_it_is_committed(tmp_path):
    reader = FootageVolume(tmp_path)
    async with volume(tmp_path) as store:
        feed = Feed(store)
        await feed.push(clip().unit(n) for n in range(60))
        await store.flush()
        first = reader.file(STREAM, 1)
        await feed.push(clip().unit(n) for n in range(60, 120))
        await store.flush()
        second = reader.file(STREAM, 1)
        feed.stop()
    assert first.version != second.version
    assert (
        b"".join(reader.read(first, 0, first.size))
        == media_files(tmp_path)[0].read_bytes()[: first.size]
    )
    assert second.parts[: len(first.parts)] == first.parts


async def test_a_real_player_plays_over_the_hole(site):
    """ffmpeg over HTTP decodes every frame of both spans without an error.

    It does warn that times of the second run begin anew, which is what the discontinuity says.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(site.app, log_level="error", lifespan="off"))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json"]
        command += ["-headers", f"Authorization: {_bearer()['Authorization']}\r\n"]
        url = f"http://127.0.0.1:{port}/v1/hls/{STREAM}/index.m3u8"
        process = await asyncio.create_subprocess_exec(
            *command,
            f"{url}?from_ns={START}&to_ns={START + 60 * NS}",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        server.should_exit = True
    assert err.decode() == ""
    (stream,) = json.loads(out)["streams"]
    assert int(stream["nb_read_frames"]) == 250
