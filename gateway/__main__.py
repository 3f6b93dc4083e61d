"""Start one process of the gateway: ``python -m gateway [app|media|detector] --config FILE``.

``app`` starts and supervises the other two; they are started by hand only to look at them alone.
"""

import argparse
import importlib
import sys
from pathlib import Path

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


def main(arguments: list[str] | None = None) -> int:
    """Read the settings and run the chosen process until it ends."""
    parser = argparse.ArgumentParser(prog="gateway", description=__doc__)
    parser.add_argument("role", nargs="?", choices=sorted(_ROLES), default="app")
    parser.add_argument("--config", type=Path, required=True, help="gateway.toml")
    options = parser.parse_args(arguments)
    try:
        config = GatewayConfig.load(options.config)
    except MingjingError as exc:
        print(f"{options.config}: {exc}", file=sys.stderr)
        return _BAD_USAGE
    status: int = importlib.import_module(_ROLES[options.role]).main(config)
    return status


if __name__ == "__main__":
    sys.exit(main())
