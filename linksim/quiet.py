"""Imports TensorFlow, or what loads it, without its notices.

At import TensorFlow reports which CUDA plug-ins it could not register, on every machine without a GPU and before any
logging level is read. What goes wrong with it arrives as exceptions.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from typing import Any


def load(module: str) -> Any:
    """The module. What its first import prints to stderr is dropped, unless the import fails."""
    if module in sys.modules:
        return sys.modules[module]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryFile() as sink:
        sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(sink.fileno(), 2)
        try:
            return importlib.import_module(module)
        except BaseException:
            sink.seek(0)
            os.write(saved, sink.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
