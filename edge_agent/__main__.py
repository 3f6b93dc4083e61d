"""``python -m edge_agent --config agent.toml``."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import structlog
import uvloop

from contracts.errors import MingjingError
from edge_agent.app import run_agent
from edge_agent.config import AgentConfig


def main() -> int:
    """Run the agent; 0 after an orderly stop, 2 when it cannot start."""
    parser = argparse.ArgumentParser(
        prog="edge_agent", description="边缘代理：接设备，发事件与音视频 / edge agent"
    )
    parser.add_argument("--config", type=Path, required=True, help="agent.toml")
    parser.add_argument("--check", action="store_true", help="只核对配置 / only check the settings")
    arguments = parser.parse_args()
    _log_to_stderr()
    try:
        config = AgentConfig.load(arguments.config)
        if not arguments.check:
            uvloop.run(_run(config))
    except MingjingError as exc:
        print(exc, file=sys.stderr)
        return 2
    return 0


async def _run(config: AgentConfig) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await run_agent(config, stopping)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    pretty = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer()
            if pretty
            else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    sys.exit(main())
