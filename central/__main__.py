"""Command line of central: ``python -m central serve|openapi|packs``."""

import argparse
import json
import logging
import socket
import sys
from pathlib import Path

import structlog
import uvicorn

from central.adapters.flow_packs import BadPack, read_file
from central.api.application import build_api
from central.app import create_app
from central.config import CentralConfig
from contracts.errors import InvalidInput, Unavailable

_MOST_WS_BYTES = 64 * 1024
_WRONG = 2
_FAILED = 1


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 when all is well, 1 when the address cannot be had, 2 when a file is wrong; the message
        says which line or field.
    """
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except BadPack as exc:
        print(exc, file=sys.stderr)
    except InvalidInput as exc:
        print(f"central: {exc}", file=sys.stderr)
    except Unavailable as exc:
        print(f"central: {exc}", file=sys.stderr)
        return _FAILED
    return _WRONG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m central", description="明镜中心：办件、时限、回放 / cases, clocks, replay"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="运行中心 / run central")
    serve.add_argument(
        "--config", type=Path, default=Path("central.toml"), help="设置文件 / settings"
    )
    serve.set_defaults(run=_serve)
    openapi = commands.add_parser("openapi", help="输出接口描述 / print the OpenAPI description")
    openapi.set_defaults(run=_openapi)
    packs = commands.add_parser("packs", help="事项包 / flow packs")
    check = packs.add_subparsers(required=True, metavar="ACTION").add_parser(
        "check", help="检查事项包，错误给出行和项 / check a flow pack"
    )
    check.add_argument("file", type=Path)
    check.set_defaults(run=_check_pack)
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    config = CentralConfig.load(arguments.config)
    app = create_app(config)
    with _listen(config) as listening:
        # Only now: a program that ends before has changed nothing for whoever called it.
        _set_up_logging()
        settings = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            ws_max_size=_MOST_WS_BYTES,
            timeout_graceful_shutdown=5,
            ssl_certfile=str(config.certificate) if config.https else None,
            ssl_keyfile=str(config.key) if config.https else None,
        )
        server = uvicorn.Server(settings)
        server.run(sockets=[listening])
    return 0 if server.started else _FAILED


def _listen(config: CentralConfig) -> socket.socket:
    """Take the address before anything else is begun.

    Raises:
        Unavailable: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((config.host, config.port))
    except OSError as exc:
        listening.close()
        raise Unavailable(
            f"listen = {config.host}:{config.port}: 无法监听 ({exc.strerror})，"
            "请停止占用端口的程序或改 listen / "
            "cannot listen; stop what holds the port, or change it"
        ) from exc
    return listening


def _openapi(_: argparse.Namespace) -> int:
    print(json.dumps(build_api().openapi(), ensure_ascii=False, indent=1))
    return 0


def _check_pack(arguments: argparse.Namespace) -> int:
    pack = read_file(arguments.file).pack
    print(f"{arguments.file}：{pack.name} {pack.version}，{len(pack.steps)} 个环节，没有错误")
    return 0


def _set_up_logging() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    pretty = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            structlog.dev.ConsoleRenderer()
            if pretty
            else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    sys.exit(main())
