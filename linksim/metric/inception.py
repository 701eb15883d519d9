"""Features of the Inception graph of 2015-12-05, the one that FID is defined by, run as it is by TensorFlow.

    images [B,H,W,3] 0..255 -> (the graph:) ResizeBilinear to 299x299 -> (x - 128) / 128 -> ... -> pool_3 -> [B, 2048]

The graph was frozen for one JPEG at a time. It is entered behind its JPEG decoder, at the node ``ExpandDims``, which
here gets a whole batch; its resize (bilinear, without antialiasing) is part of the definition and stays.

Source: Heusel et al. (2017), and the file ``classify_image_graph_def.pb`` of TensorFlow's image recognition tutorial.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from linksim import assets, cores, quiet
from linksim.errors import ComponentError
from linksim.metric.pair import check_images

EXTRACTOR = "inception-2015-12-05"
DIMENSIONS = 2048
ENTRY, EXIT = "ExpandDims", "pool_3"
_CHUNK = (
    8  # images of one call, which the cores share: activations at 299x299 take some 25 MB an image
)


def load_graph(path: str | Path) -> Callable[[np.ndarray], np.ndarray]:
    """A feature extractor from a frozen graph with the nodes ``ExpandDims`` and ``pool_3``.

    Args:    path: a serialised GraphDef.
    Returns: [B, H, W, 3] uint8 -> [B, 2048] float32.
    Raises:  ComponentError: not such a graph.
    """
    tf = quiet.load("tensorflow")

    path = Path(path)
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's own kinds
        raise ComponentError(f"{path.name} is not a TensorFlow graph ({error})") from error
    names = {node.name for node in graph.node}
    if missing := [name for name in (ENTRY, EXIT) if name not in names]:
        raise ComponentError(f"{path.name} has no node {' and no node '.join(missing)}")
    graph = tf.compat.v1.graph_util.extract_sub_graph(graph, [EXIT])
    for node in graph.node:
        node.attr.pop("_output_shapes", None)  # they promise a batch of one

    def enter(images: Any) -> Any:
        (pooled,) = tf.graph_util.import_graph_def(
            graph, input_map={f"{ENTRY}:0": images}, return_elements=[f"{EXIT}:0"], name=""
        )
        return pooled

    try:
        run = tf.compat.v1.wrap_function(enter, [tf.TensorSpec([None, None, None, 3], tf.float32)])
    except Exception as error:
        raise ComponentError(f"{path.name} cannot be run by TensorFlow: {error}") from error

    def extract(images: np.ndarray) -> np.ndarray:
        check_images(images)

        def features(start: int) -> np.ndarray:
            chunk = images[start : start + _CHUNK]
            pooled = run(tf.constant(chunk, tf.float32)).numpy().reshape(len(chunk), -1)
            if pooled.shape[1] != DIMENSIONS:
                raise ComponentError(
                    f"{path.name}: {EXIT} has {pooled.shape[1]} values an image, not {DIMENSIONS}"
                )
            return pooled

        parts = cores.each(features, range(0, len(images), _CHUNK))
        return np.concatenate([np.zeros((0, DIMENSIONS), np.float32), *parts])

    return extract


@cache
def _extractor() -> Callable[[np.ndarray], np.ndarray]:
    return load_graph(assets.verified(EXTRACTOR))


def inception_features(images: np.ndarray) -> np.ndarray:
    """Features of the graph in linksim.assets.

    Args:    images [B, H, W, 3] uint8.
    Returns: [B, 2048] float32.
    Raises:  MissingAssetError.
    """
    return _extractor()(images)
