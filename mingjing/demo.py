"""``mingjing demo``: a whole site on this machine, a sample case, and the link to replay it."""

import asyncio
import json
import os
import platform
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from contracts.clock import SystemClock
from contracts.errors import Unavailable
from contracts.timestamps import NS, to_iso
from mingjing import provision
from mingjing.central_client import signed_in
from mingjing.footage_check import FootageCheck, check_footage
from mingjing.preparation import build_pages, fetch_models
from mingjing.provision import Ports
from mingjing.sample_case import SampleCase, run_sample_case, wait_for_devices
from mingjing.site import RunningSite, RunOptions, running_site

STEP_SECONDS = 8.0
"""How long a step of the sample case lasts; long enough to be looked at."""

_MOST_CLOCK_ERROR_MS = 500
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What the user chose on the command line."""

    data: Path
    camera_url: str | None = None
    port: int | None = None
    once: bool = False
    as_json: bool = False


def run_demo(options: DemoOptions) -> int:
    """Run the demonstration; returns the exit status.

    The camera's address may also come in the environment variable ``CAMERA``, where no process
    list shows its password.
    """
    from_environment = os.environ.pop("CAMERA", "") or None
    chosen = replace(options, camera_url=options.camera_url or from_environment)
    if chosen.camera_url is not None:
        provision.parse_camera_url(chosen.camera_url)
    try:
        asyncio.run(_Demo(chosen).run())
    except asyncio.CancelledError:
        return 0 if not chosen.once else _INTERRUPTED
    return 0


class _Demo:
    """One demonstration, from the first line of progress to the last."""

    def __init__(self, options: DemoOptions) -> None:
        self._options = options
        self._clock = SystemClock()
        self._began = self._clock.monotonic_ns()

    async def run(self) -> None:
        _stop_on_signals()
        await asyncio.to_thread(build_pages, self._say)
        await asyncio.to_thread(fetch_models, self._say)
        async with running_site(self._run_options(), self._say) as site:
            started_s = self._seconds()
            sample, footage = await self._show_a_case(site)
            self._report(site, sample, footage, started_s)
            if self._options.once:
                return
            await asyncio.Event().wait()

    async def _show_a_case(self, site: RunningSite) -> tuple[SampleCase, FootageCheck]:
        async with signed_in(site, provision.INSPECTOR) as inspector:
            await wait_for_devices(inspector, self._say)
            async with signed_in(site, provision.CLERK) as clerk:
                sample = await run_sample_case(site, clerk, self._say, step_seconds=STEP_SECONDS)
            self._say("监察员取回录像并解码 / the inspector fetches the footage and decodes it")
            footage = await check_footage(inspector, sample.case.no, sample.step)
        if (
            footage.clock_error_ms is not None
            and abs(footage.clock_error_ms) > _MOST_CLOCK_ERROR_MS
        ):
            raise Unavailable(
                f"画面里的时钟与录像时间差 {footage.clock_error_ms} ms / the clock in the picture "
                f"and the recording's time differ by {footage.clock_error_ms} ms"
            )
        return sample, footage

    def _run_options(self) -> RunOptions:
        options = self._options
        ports = Ports() if options.port is None else Ports(central=options.port)
        return RunOptions(
            data=options.data,
            camera_url=options.camera_url,
            ports=ports,
            port_is_fixed=options.port is not None,
        )

    def _report(
        self, site: RunningSite, sample: SampleCase, footage: FootageCheck, started_s: float
    ) -> None:
        measured = _measured(sample, footage)
        measured["seconds_to_started"] = round(started_s, 1)
        measured["seconds_to_checked"] = round(self._seconds(), 1)
        link = step_link(site, sample)
        if self._options.as_json:
            print(json.dumps({**self._frame(), **measured, "link": link}, ensure_ascii=False))
        else:
            print(_summary(site, sample, footage, link), flush=True)

    def _frame(self) -> dict[str, Any]:
        return {
            "demo": "one-counter",
            "machine": f"{platform.machine()}, {os.cpu_count()} CPU, {platform.system()}",
            "date": to_iso(self._clock.now()),
            "camera": "simulator" if self._options.camera_url is None else "own",
        }

    def _seconds(self) -> float:
        return (self._clock.monotonic_ns() - self._began) / NS

    def _say(self, text: str) -> None:
        target = sys.stderr if self._options.as_json else sys.stdout
        print(f"[{self._seconds():6.1f} s] {text}", file=target, flush=True)


def step_link(site: RunningSite, sample: SampleCase) -> str:
    """Address that opens the step at the second it began."""
    step = sample.step
    return f"{site.address}/cases/{sample.case.no}?step={step.seq}&t={step.started_ms}"


def _measured(sample: SampleCase, footage: FootageCheck) -> dict[str, Any]:
    link = sample.step.link
    return {
        "case": sample.case.no,
        "step": sample.step.seq,
        "step_to_link_s": round(sample.step_to_link_s, 2),
        "step_to_final_link_s": round(sample.step_to_final_link_s, 2),
        "covered_permille": link.covered_permille if link else None,
        "stream": footage.stream,
        "seconds_to_first_frame": footage.seconds_to_first_frame,
        "segments": footage.segments,
        "bytes_fetched": footage.bytes_fetched,
        "frames_decoded": footage.frames_decoded,
        "picture": f"{footage.width}x{footage.height}",
        "clock_error_ms": footage.clock_error_ms,
    }


def _summary(site: RunningSite, sample: SampleCase, footage: FootageCheck, link: str) -> str:
    covered = sample.step.link.covered_permille / 10 if sample.step.link else 0
    found = f"覆盖 / covered {covered:g} %, 已解码 / decoded {footage.frames_decoded} 帧 / frames"
    rows = [
        "",
        f"网址 / address      {site.address}",
        "登录 / logins",
        *_login_rows(site),
        "",
        f"环节 / step         {sample.case.no} {sample.step.name}",
        f"录像 / footage      {found}",
        f"回放 / replay       {link}",
        f"                    (用 {provision.INSPECTOR} 登录 / sign in as {provision.INSPECTOR})",
        "",
        "按 Ctrl-C 停止 / Ctrl-C stops everything",
    ]
    return "\n".join(rows)


def _login_rows(site: RunningSite) -> list[str]:
    roles = {
        provision.INSPECTOR: "监察员 inspector",
        provision.CLERK: "窗口人员 clerk",
        provision.SECOND_CLERK: "窗口人员 second clerk",
        provision.UNIT_HEAD: "科室负责人 unit head",
        "admin": "管理员 administrator (首次登录须改密码 / asks for a new one at first sign-in)",
    }
    rows = []
    for username, role in roles.items():
        password = site.passwords.get(username, "(已改 / changed)")
        rows.append(f"  {username:<12} {password:<24} {role}")
    return rows


def _stop_on_signals() -> None:
    task = asyncio.current_task()
    if task is None:
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
