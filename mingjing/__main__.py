"""``python -m mingjing`` is ``mingjing``."""

import sys

from mingjing.cli import main

if __name__ == "__main__":
    sys.exit(main())
