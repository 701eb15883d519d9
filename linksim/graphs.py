"""Functions of a network at work: compiled once per shape, batches shared among cores.

Under TensorFlow every function is a graph for any number of rows. Its operations run on one thread each, those that do
not wait for one another side by side (``linksim.quiet.load`` sets that), and batches are cut into parts of equal size
whatever the number of cores: so results do not depend on it, and on small pictures this is faster than cores that share
every operation (docs/performance.md).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from linksim import cores, quiet

PART = 16 * 128 * 128  # pixels of a part


def rows_of_part(pixels: int) -> int:
    """How many pictures of so many pixels each make a part."""
    return max(1, PART // pixels)


class Graphs:
    """A network and its compiled functions, by name and shapes.

    Args: make: makes the network, once, whichever thread needs it first.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._net: Any = None
        self._known: dict[Any, Callable[..., Any]] = {}
        self._lock = threading.RLock()

    @property
    def net(self) -> Any:
        """The network."""
        if self._net is None:
            with self._lock:
                if self._net is None:
                    quiet.load("keras")
                    self._net = self._make()
        return self._net

    def run(
        self, name: str, *arrays: Any, function: Callable[..., Any] | None = None
    ) -> list[np.ndarray]:
        """What a function of tensors returns, one or several, as arrays.

        Args: name: of a method of the network, or of ``function``, the same for the same one; arrays: [B, ...] or
              scalars, taken as float32.
        """
        keras = quiet.load("keras")
        function = function or getattr(self.net, name)
        given = [np.asarray(a, np.float32) for a in arrays]
        if keras.backend.backend() == "tensorflow":
            function = self._graph(name, function, given)
        result = function(*given)
        several = result if isinstance(result, list | tuple) else (result,)
        return [np.asarray(t) for t in several]

    def _graph(
        self, name: str, function: Callable[..., Any], given: Sequence[np.ndarray]
    ) -> Callable[..., Any]:
        import tensorflow as tf

        key = (name, *(a.shape[1:] for a in given))
        if key not in self._known:
            with self._lock:
                if key not in self._known:
                    shapes = [(None, *a.shape[1:]) if a.ndim else () for a in given]
                    graph = tf.function(
                        function, input_signature=[tf.TensorSpec(s, tf.float32) for s in shapes]
                    )
                    with quiet.muted():  # the graph optimiser's notices come with the first call
                        graph(*given)
                    self._known[key] = graph
        return self._known[key]

    def shared(
        self,
        name: str,
        rows: Sequence[np.ndarray],
        *whole: Any,
        function: Callable[..., Any] | None = None,
        size: int | None = None,
    ) -> list[np.ndarray]:
        """As ``run``, a batch's rows in parts that the cores share.

        Args:    rows: arrays [B, ...], B at least 1; whole: arguments behind them that every part sees as they are;
                 size: rows of a part; if not given, of pictures in the first array, as many as ``PART`` holds.
        Returns: arrays [B, ...].
        """
        count = size or rows_of_part(rows[0].shape[1] * rows[0].shape[2])
        parts = [[a[i : i + count] for a in rows] for i in range(0, len(rows[0]), count)]
        found = cores.each(lambda part: self.run(name, *part, *whole, function=function), parts)
        return [np.concatenate(pieces) for pieces in zip(*found, strict=True)]
