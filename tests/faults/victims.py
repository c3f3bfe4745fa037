"""Children that wait, stopped, until a test lets them go on and strace kills them: one for each line of the input."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any


def serve(act: Callable[[dict[str, Any]], None]) -> None:
    """Does `act`, which stops its process first, with each line as JSON, in a child; prints its pid, then its end."""
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        child = os.fork()
        if not child:
            try:
                act(order)
            finally:
                os._exit(0)
        os.waitpid(child, os.WUNTRACED)  # it has stopped
        print(child, flush=True)
        os.waitpid(child, 0)
        print("ended", flush=True)
