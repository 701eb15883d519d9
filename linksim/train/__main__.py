"""``python -m linksim.train``: ``linksim train`` where only a checkout and Keras are at hand."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Returns: the exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m linksim.train", description=__doc__)
    parser.add_argument("config", type=Path, help="training recipe (YAML)")
    parser.add_argument("--until", type=int, help="stop at this step")
    parser.add_argument("--threads", type=int, default=2, help="threads of a CPU backend")
    given = parser.parse_args(arguments)
    from linksim.errors import LinksimError
    from linksim.train.command import train

    try:
        train(given.config, given.until, given.threads)
    except LinksimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
