"""TensorFlow without its notices.

At import TensorFlow reports which CUDA plug-ins it could not register, on every machine without a GPU and before any
logging level is read; its graph optimiser reports what it gave up on. What goes wrong arrives as exceptions.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from linksim import cores


@contextmanager
def muted() -> Iterator[None]:
    """Drops what is written to stderr, by compiled code too, unless the block raises."""
    with tempfile.TemporaryFile() as sink:
        sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except BaseException:
            sink.seek(0)
            os.write(saved, sink.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def load(module: str) -> Any:
    """The module, its first import muted. TensorFlow gets a thread for each operation and, for those that do not wait
    for one another, as many as there are cores; ``linksim.graphs`` says why. What the environment says stays."""
    if module in sys.modules:
        return sys.modules[module]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(cores.available()))
    with muted():
        return importlib.import_module(module)
