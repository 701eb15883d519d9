"""What the benchmarks that print one JSON value have in common."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from linksim.errors import LinksimError


def answer(measure: Callable[[], Any], *also: type[Exception]) -> int:
    """Print what ``measure`` returns, as JSON on stdout.

    Args:    also: errors besides LinksimError that are the user's: one line on stderr, without a traceback.
    Returns: the exit status: 0 done, 2 bad input.
    """
    told: tuple[type[Exception], ...] = (LinksimError, *also)
    try:
        found = measure()
    except told as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found, indent=1))
    return 0
