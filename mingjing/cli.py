"""The command line: ``mingjing COMMAND``. A command imports what it runs only when asked for.

Exit status: 0 done; 1 it failed, one line says why and what to do; 2 wrong usage, or a command
that is not there yet; 130 interrupted.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from contracts.errors import MingjingError, Unavailable

if TYPE_CHECKING:
    from gateway.services.footage_check import CheckLevel

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no public name

DATA = Path("var")
NOT_YET = 2
_INTERRUPTED = 130

Command = Callable[[argparse.Namespace], int]

_PROGRAMS = (
    (
        "agent",
        "edge_agent",
        "边缘代理: 接设备, 发事件与音视频 / edge agent: devices in, events and media out",
    ),
    ("gateway", "gateway", "站点网关: 录制, 判断, 关联 / a site's gateway: record, decide, link"),
    ("central", "central", "中心: 办件, 时限, 回放 / central: cases, clocks, replay"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    options = build_parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except MingjingError as exc:
        print(f"mingjing: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """Every command with its help, zh-CN first."""
    parser = argparse.ArgumentParser(
        prog="mingjing",
        description="明镜: 政务服务大厅与公共资源交易中心的电子监察\n"
        "Electronic supervision of government service halls and public-resource trading centres",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("mingjing"))
    commands = parser.add_subparsers(title="命令 / commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    for name, package, text in _PROGRAMS:
        _add_program(commands, name, package, text)
    _add_bench(commands)
    _add_doctor(commands)
    _add_models(commands)
    _add_check(commands)
    _add_verify(commands)
    return parser


def _add(commands: "Subparsers", name: str, text: str, more: str = "") -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=text,
        description=f"{text}\n\n{more}".strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        default=DATA,
        metavar="DIR",
        help="数据目录, 默认 ./var / data folder, default ./var",
    )


def _add_demo(commands: "Subparsers") -> None:
    parser = _add(
        commands,
        "demo",
        "整套系统在本机运行, 并办一件样例 / the whole site on one machine, with a sample case",
        "一个窗口, 一台摄像机, 一台指纹机; 打印网址, 登录名和可回放的环节链接; 按 Ctrl-C 停止。\n"
        "One counter, one camera, one fingerprint terminal; prints the address, the logins and a\n"
        "link to a step that can be replayed; Ctrl-C stops everything it started.",
    )
    _add_data(parser)
    parser.add_argument(
        "--camera",
        metavar="URL",
        help="自己的摄像机 rtsp://user:pass@host/path / your own camera, not the simulator",
    )
    parser.add_argument(
        "--port",
        type=int,
        metavar="N",
        help="网页端口, 必须空闲; 不给则从 8440 起找空闲的 / port of the pages; must be free; "
        "without it the first free one from 8440",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="取回并核对环节录像后即退出 / end after the step's footage was fetched and checked",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="最后打印一个 JSON 对象, 进度走标准错误 / print one JSON object; progress on stderr",
    )
    parser.set_defaults(command=_demo)


def _demo(options: argparse.Namespace) -> int:
    from mingjing.demo import DemoOptions, run_demo

    return run_demo(
        DemoOptions(
            data=options.data,
            camera_url=options.camera,
            port=options.port,
            once=options.once,
            as_json=options.json,
        )
    )


def _add_program(commands: "Subparsers", name: str, package: str, text: str) -> None:
    parser = _add(commands, name, text, f"运行 python -m {package} / runs python -m {package}")
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        metavar="FILE",
        help=f"{name}.toml",
    )
    parser.set_defaults(command=_run_program, package=package)


def _run_program(options: argparse.Namespace) -> NoReturn:
    config: Path = options.config
    if not config.is_file():
        raise Unavailable(f"没有这个配置文件 / no such file: {config}")
    # The program takes this process over, so that signals and exit status are its own.
    arguments = [sys.executable, "-m", options.package, *program_arguments(options.package, config)]
    sys.stdout.flush()
    os.execv(sys.executable, arguments)  # noqa: S606 - our own interpreter and module


def program_arguments(package: str, config: Path) -> list[str]:
    """Arguments after ``python -m PACKAGE`` that serve with a settings file."""
    role = ["serve"] if package == "central" else []
    return [*role, "--config", str(config)]


def _add_bench(commands: "Subparsers") -> None:
    parser = _add(
        commands,
        "bench",
        "测量本机, 与对照软件同场比较 / measure this machine, side by side with a peer",
        "record  录制若干路摄像机, 对照 ffmpeg -c copy / record cameras, against ffmpeg -c copy",
    )
    parser.add_argument("bench", choices=["record"], help="测什么 / what to measure")
    parser.add_argument("--cameras", type=int, default=4, metavar="N")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="T")
    parser.add_argument("--json", action="store_true", help="一个 JSON 对象 / one JSON object")
    parser.set_defaults(command=_bench)


def _bench(options: argparse.Namespace) -> int:
    from mingjing.bench.record import RecordOptions, run

    return run(
        RecordOptions(cameras=options.cameras, seconds=options.seconds, as_json=options.json)
    )


def _add_doctor(commands: "Subparsers") -> None:
    parser = _add(
        commands,
        "doctor",
        "体检: 端口, 磁盘, 版本, 证书, 时钟 / check ports, disk, versions, certificates, clock",
        "每行说明是什么, 在哪里, 怎么办; 有错误时退出码为 1。\n"
        "Each line says what, where and what to do; exit status 1 when something is wrong.",
    )
    _add_data(parser)
    parser.add_argument("--json", action="store_true", help="JSON 列表 / a JSON list")
    parser.set_defaults(command=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from mingjing.doctor import examine

    findings = examine(options.data)
    if options.json:
        print(json.dumps([finding.as_dict() for finding in findings], ensure_ascii=False))
    else:
        for finding in findings:
            print(finding.line())
    return 1 if any(finding.level == "error" for finding in findings) else 0


def _add_models(commands: "Subparsers") -> None:
    parser = _add(
        commands,
        "models",
        "识别模型: 取得与核对 / inference models: fetch and verify",
        "fetch  取来, 核对, 试运行 / get, verify and try them\n"
        "list   有哪些, 是否就绪 / which there are, and whether they are ready",
    )
    parser.add_argument("action", choices=["fetch", "list"])
    parser.add_argument(
        "--from",
        dest="from_folder",
        type=Path,
        metavar="DIR",
        help="从带来的目录取, 不用网络 / take the files from a folder carried in, no network",
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="模型目录 / folder of the models")
    parser.set_defaults(command=_models)


def _models(options: argparse.Namespace) -> int:
    from models.fetch import default_cache, fetch, states

    cache = options.cache or default_cache()
    if options.action == "fetch":
        fetch(cache, options.from_folder, say=print)
        return 0
    found = states(cache)
    for model in found:
        print(f"{model.name} {model.version}: {model.state}  {model.task}  {model.licence}")
    return 0 if all(model.state == "ready" for model in found) else 1


def _add_check(commands: "Subparsers") -> None:
    parser = _add(
        commands,
        "check",
        "核对配置, 流程包和录像 / check settings, flow packs and footage",
        "文件: 出错时指出文件, 字段和改法。数据目录或录像卷: 盘上的录像与索引是否一致。\n"
        "有错误时退出码为 1。\n"
        "A file: an error names the file, the field and the remedy. A data folder or a footage\n"
        "volume: whether disk and index agree. Exit status 1 when something is wrong.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument(
        "--level",
        choices=["presence", "size", "hash"],
        default="size",
        help="录像核对到哪一步: 有无, 长度, 内容 (全部读一遍), 默认 size / how deep footage is "
        "checked: files, lengths, or every octet; default size",
    )
    parser.set_defaults(command=_check)


def _check(options: argparse.Namespace) -> int:
    from mingjing.checking import check_file

    status = 0
    for path in options.paths:
        try:
            if path.is_dir():
                status |= _check_footage(path, options.level)
            else:
                print(f"{path}: {check_file(path)}")
        except MingjingError as exc:
            print(f"{path}: {exc}", file=sys.stderr)
            status = 1
    return status


def _check_footage(folder: Path, level: "CheckLevel") -> int:
    from mingjing.checking import check_volume, finding_line, volumes_of

    status = 0
    for volume in volumes_of(folder):
        findings = check_volume(volume, level=level)
        for finding in findings:
            print(finding_line(volume, finding), file=sys.stderr)
        if findings:
            status = 1
        else:
            print(f"{volume}: 录像 / footage ({level}): 正确 / correct")
    return status


def _add_verify(commands: "Subparsers") -> None:
    parser = _add(
        commands,
        "verify",
        "离线验证证据包 (尚未提供) / verify an evidence package offline (not there yet)",
    )
    parser.add_argument("package", nargs="?", type=Path, metavar="PACKAGE")
    parser.set_defaults(command=lambda _: not_there_yet("verify"))


def not_there_yet(what: str) -> int:
    """Say plainly that a command is planned and does nothing yet."""
    print(
        f"mingjing {what}: 尚未提供, 什么也没有做 / not there yet; nothing was done",
        file=sys.stderr,
    )
    return NOT_YET
