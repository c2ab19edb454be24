"""``python -m geartrain`` is ``gearmand``, for machines without scripts on PATH."""

from __future__ import annotations

import sys

from geartrain.cli.gearmand import main

if __name__ == "__main__":
    sys.exit(main())
