"""One JSON object a line in, one out; see README.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

Asked = dict[str, Any]
Answer = dict[str, Any]


def speak(verbs: dict[str, Callable[[Asked], Answer]]) -> None:
    """Answer until there are no more questions."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = verbs[asked["verb"]](asked)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
