"""Command line of central: ``python -m central serve|openapi|packs``."""

import json
import sys

from central.api.application import build_api


def main() -> int:
    """Run a command."""
    print(json.dumps(build_api().openapi(), ensure_ascii=False, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
