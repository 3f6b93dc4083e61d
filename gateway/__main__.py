"""Start one process of the gateway: ``python -m gateway [app|media|detector] --config FILE``.

``app`` starts and supervises the other two; they are started by hand only to look at them alone.
"""

import argparse
import ctypes
import importlib
import logging
import os
import signal
import sys
from pathlib import Path

import structlog

from contracts.errors import MingjingError
from gateway.config import GatewayConfig

# Each module has `main(config) -> exit status`. Imported by name when chosen, so that the detector
# never loads the media stack nor the media process an inference engine.
_ROLES = {
    "app": "gateway.app",
    "media": "gateway.media_process",
    "detector": "gateway.detector_process",
}
_BAD_USAGE = 2
_PR_SET_PDEATHSIG = 1
"""prctl(2): the kernel tells us when our parent is gone, even after ``kill -9``."""


def main(arguments: list[str] | None = None) -> int:
    """Read the settings and run the chosen process until it ends."""
    parser = argparse.ArgumentParser(prog="gateway", description=__doc__)
    parser.add_argument("role", nargs="?", choices=sorted(_ROLES), default="app")
    parser.add_argument("--config", type=Path, required=True, help="gateway.toml")
    parser.add_argument("--parent", type=int, default=0, help="end when this process ends")
    options = parser.parse_args(arguments)
    if options.parent and not _end_with(options.parent):
        return 0
    try:
        config = GatewayConfig.load(options.config)
    except MingjingError as exc:
        print(f"{options.config}: {exc}", file=sys.stderr)
        return _BAD_USAGE
    # Only now: a program that ends here has changed nothing for whoever called it in process.
    _log_to_stderr(role=options.role)
    status: int = importlib.import_module(_ROLES[options.role]).main(config)
    return status


def _end_with(parent: int) -> bool:
    """Be told to end (SIGTERM) when the parent ends; False when it is gone already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == parent


class _ToStructlog(logging.Handler):
    """What libraries log, in the same form as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        log = structlog.get_logger()
        log.log(record.levelno, record.getMessage(), library=record.name)


def _log_to_stderr(*, role: str) -> None:
    """JSON lines; readable ones on a terminal. Standard output belongs to the detector's lines."""
    on_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer()
            if on_terminal
            else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()])
    structlog.contextvars.bind_contextvars(process=f"gateway.{role}")


if __name__ == "__main__":
    sys.exit(main())
