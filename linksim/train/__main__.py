"""``python -m linksim.train CONFIG [--until STEP] [--threads N]``: train, or go on training."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Returns: the exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m linksim.train", description=__doc__)
    parser.add_argument("config", type=Path, help="training recipe (YAML)")
    parser.add_argument("--until", type=int, help="stop at this step")
    parser.add_argument("--threads", type=int, default=2, help="threads of a CPU backend")
    given = parser.parse_args(arguments)
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from linksim.errors import LinksimError
    from linksim.train.config import load_config
    from linksim.train.loop import prepare

    try:
        config = load_config(given.config)
        if os.environ["KERAS_BACKEND"] == "tensorflow":
            import tensorflow as tf

            tf.config.threading.set_intra_op_parallelism_threads(given.threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        prepare(config, given.config.parent).train(given.until)
    except LinksimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
