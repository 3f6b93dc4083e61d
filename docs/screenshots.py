# ruff: noqa: INP001 - a script of its own, no part of a package
"""Take the README's pictures from a running ``mingjing demo``: ``make screenshots``.

The demonstration must run with the same data folder; its logins are read from there. It is used,
not only looked at: the register gets an entry, and the clerk one more case.
"""

import argparse
import asyncio
import io
import json
import sys
import tomllib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
from av.filter import Graph
from playwright.async_api import Browser, Page, async_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
]
INSPECTOR = "zhou-zheng"
CLERK = "liu-yang"
SIZE = (1440, 900)
LIST_SIZE = (1440, 360)
CONSOLE_SIZE = (1440, 680)
MOST_BYTES = 300_000
REASON = "为说明文档截取本环节的画面"
APPLICANT = "某某便利店"
MATERIAL_STATES = ("checked", "checked", "checked", "checked", "doubtful")
DOUBT = "2 人中 1 人已过期"


class CannotTakeError(Exception):
    """The demonstration does not show what is to be pictured; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Whose pages are pictured.

    Attributes:
        browser: a running browser.
        address: where the pages are.
        logins: passwords by user name.
        into_the_step_ms: how long after the step's start the replay is pictured.
    """

    browser: Browser
    address: str
    logins: dict[str, str]
    into_the_step_ms: int

    async def page(self, username: str, size: tuple[int, int] = SIZE) -> Page:
        """A page on which the user is signed in."""
        width, height = size
        context = await self.browser.new_context(
            base_url=self.address,
            viewport={"width": width, "height": height},
            locale="zh-CN",
            timezone_id="Asia/Shanghai",
        )
        password = self.logins.get(username)
        if password is None:
            raise CannotTakeError(f"secrets/logins.json does not know {username}: use a fresh demo")
        answer = await context.request.post(
            "/api/login",
            data={"username": username, "password": password},
            headers={"X-Mingjing": "1"},
        )
        if not answer.ok:
            raise CannotTakeError(f"{username} cannot sign in: HTTP {answer.status}")
        return await context.new_page()


async def replay(camera: Camera) -> None:
    """The newest case whose footage is bound, opened with a reason."""
    page = await camera.page(INSPECTOR)
    no, seq, started_ms = await _bound_step(page)
    at = started_ms + camera.into_the_step_ms
    await page.goto(f"/cases/{quote(no)}?step={seq}&t={at}")
    dialog = page.get_by_test_id("reason-dialog")
    await dialog.get_by_text("日常抽查").click()
    await dialog.get_by_role("textbox").fill(REASON)
    await page.get_by_test_id("reason-confirm").click()
    await page.locator("[data-testid=camera-tile][data-state=picture]").first.wait_for()
    await dialog.wait_for(state="hidden")
    await _picture_of(page)
    await _save(page, "replay.png")


async def monitor(camera: Camera) -> None:
    """The operator's console with a live picture."""
    page = await camera.page(INSPECTOR, CONSOLE_SIZE)
    await page.goto("/monitor")
    await _picture_of(page)
    await _save(page, "monitor.png")


async def counter(camera: Camera) -> None:
    """The clerk's page of a case just received: one step runs, and what is missing is said."""
    page = await camera.page(CLERK)
    item = (await (await page.request.get("/api/items")).json())[0]["code"]
    place = (await (await page.request.get("/api/places")).json())[0]["id"]
    case = await _send(page, "POST", "/api/cases", item=item, applicant=APPLICANT, place=place)
    path = f"/api/cases/{quote(case['no'])}"
    case = await _send(page, "POST", f"{path}/steps/{case['steps'][0]['seq']}/start", place=place)
    for material, state in zip(case["materials"], MATERIAL_STATES, strict=False):
        case = await _send(
            page,
            "PUT",
            f"{path}/materials/{quote(material['code'])}",
            state=state,
            note=DOUBT if state == "doubtful" else "",
            revision=case["revision"],
        )
    await page.goto(f"/counter/cases/{quote(case['no'])}")
    await page.get_by_test_id("guard").first.wait_for()
    await _save(page, "counter.png")


async def _send(page: Page, method: str, path: str, **body: Any) -> dict[str, Any]:
    answer = await page.request.fetch(path, method=method, data=body, headers={"X-Mingjing": "1"})
    if not answer.ok:
        raise CannotTakeError(f"{method} {path}: HTTP {answer.status} {await answer.text()}")
    return await answer.json()


async def devices(camera: Camera) -> None:
    """The devices with their health."""
    page = await camera.page(INSPECTOR, LIST_SIZE)
    await page.goto("/devices")
    await page.locator("tr[data-device]").first.wait_for()
    await _save(page, "devices.png")


async def _bound_step(page: Page) -> tuple[str, int, int]:
    """Case, step and the step's start in ms; a step with a gap before one without."""
    found = []
    answer = await page.request.get("/api/cases")
    for row in (await answer.json())["items"]:
        case = await (await page.request.get(f"/api/cases/{quote(row['no'])}")).json()
        found += [(case["no"], s) for s in case["steps"] if s["link"] and s["link"]["final"]]
    if not found:
        raise CannotTakeError("no step with footage yet: wait until the demo has printed its link")
    no, step = min(found, key=lambda case_step: case_step[1]["link"]["covered_permille"])
    return no, step["seq"], step["started_ms"]


async def _picture_of(page: Page) -> None:
    """Wait until the first tile shows a frame."""
    await page.locator("[data-testid=camera-tile] video").first.wait_for()
    await page.wait_for_function(
        "() => document.querySelector('[data-testid=camera-tile] video')?.readyState >= 2"
    )


async def _save(page: Page, name: str) -> None:
    await page.wait_for_load_state("networkidle")
    path = IMAGES / name
    path.write_bytes(_in_256_colours(await page.screenshot(animations="disabled")))
    size = path.stat().st_size
    sys.stdout.write(f"{path.relative_to(ROOT)}  {size // 1000} kB\n")
    if size > MOST_BYTES:
        raise CannotTakeError(f"{name} has {size} bytes, at most {MOST_BYTES} are allowed")
    await page.context.close()


def _in_256_colours(png: bytes) -> bytes:
    """The same picture with a palette: a third of the size, and hardly to be told from it."""
    with av.open(io.BytesIO(png)) as source:
        frame = next(source.decode(video=0))
    graph = Graph()
    picture = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
    )
    split, palette = graph.add("split"), graph.add("palettegen", "reserve_transparent=0")
    use, sink = graph.add("paletteuse", "dither=none"), graph.add("buffersink")
    picture.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    picture.push(frame)
    picture.push(None)
    codec = av.CodecContext.create("png", "w")
    paletted = sink.pull()
    codec.width, codec.height, codec.pix_fmt = frame.width, frame.height, "pal8"
    codec.time_base = Fraction(1, 25)
    codec.options = {"compression_level": "9", "pred": "none"}
    return b"".join(bytes(packet) for packet in [*codec.encode(paletted), *codec.encode(None)])


async def take_all(data: Path, address: str, *, into_the_step_ms: int) -> None:
    """Take every picture, one after the other."""
    try:
        logins = json.loads((data / "secrets" / "logins.json").read_text())
    except FileNotFoundError as exc:
        raise CannotTakeError(f"no demonstration has run in {data}: begin with make demo") from exc
    IMAGES.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        camera = Camera(
            browser=browser,
            address=address,
            logins=logins,
            into_the_step_ms=into_the_step_ms,
        )
        for take in (replay, monitor, counter, devices):
            await take(camera)
        await browser.close()


def _address(data: Path) -> str:
    """Where central listens, from the data folder's own configuration."""
    try:
        text = (data / "central.toml").read_text()
    except FileNotFoundError as exc:
        raise CannotTakeError(f"no demonstration has run in {data}: begin with make demo") from exc
    return f"http://{tomllib.loads(text)['listen']}"


def main() -> int:
    """Parse the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("var"), help="data folder of the demo")
    parser.add_argument(
        "--into", type=float, default=3.0, help="seconds after the step's start for the replay"
    )
    chosen = parser.parse_args()
    try:
        into_ms = round(chosen.into * 1000)
        asyncio.run(take_all(chosen.data, _address(chosen.data), into_the_step_ms=into_ms))
    except CannotTakeError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
