"""LPIPS v0.1 with the AlexNet and the SqueezeNet backbone (networks: linksim/model/lpips.py)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linksim import assets, cores, quiet
from linksim.metric.pair import check_images, check_pair

if TYPE_CHECKING:
    from linksim.model.lpips import Backbone, LpipsWeights

# Pixels of one call of the network: 8 images of 128x128. The cores share the calls.
_CHUNK = 8 * 128 * 128
# Pixels of a reference batch whose taps are kept: up to 2 kB a pixel, so some 130 MB a network.
_KEPT = 64 * 128 * 128


def locate_weights(backbone: Backbone) -> None:
    """Raises MissingAssetError unless the right weights are on this machine. Imports nothing heavy."""
    assets.verified(f"lpips-{backbone}-heads")
    assets.verified(f"lpips-{backbone}-backbone")


def weights_digest(backbone: Backbone) -> str:
    """Of the network's two files as they are here. Raises MissingAssetError."""
    return " ".join(assets.digest(f"lpips-{backbone}-{part}") for part in ("heads", "backbone"))


@cache
def load_weights(backbone: Backbone) -> LpipsWeights:
    """The weights of a network, from the files of linksim.assets, their SHA-256 checked.

    Raises: MissingAssetError; ComponentError: a file that cannot be read.
    """
    from linksim.metric.torch_file import read_tensors
    from linksim.model.lpips import LpipsWeights

    heads = read_tensors(assets.verified(f"lpips-{backbone}-heads"))
    features = read_backbone(assets.verified(f"lpips-{backbone}-backbone"))
    return LpipsWeights.from_torch(backbone, features, heads)


def read_backbone(path: str | Path) -> dict[str, np.ndarray]:
    """Feature weights in torchvision's layout, from an .npz or from a file that PyTorch saved.

    Args:    path: names with "features." (a whole classifier) or without (its features alone).
    Returns: name -> array.
    """
    from linksim.metric.torch_file import read_tensors
    from linksim.model.store import read_arrays

    path = Path(path)
    if path.suffix != ".npz":
        return read_tensors(path, prefix="features.") or read_tensors(path)
    return read_arrays(path)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a graph of the backend that Keras runs on; under TensorFlow one for pictures of all sizes."""
    keras = quiet.load("keras")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False, reduce_retracing=True)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


def chunks(batch: int, height: int, width: int) -> Iterator[tuple[slice, int]]:
    """Cut a batch so that a network meets few shapes: full chunks, and a rest padded to a power of two.

    Yields: (images of the chunk, size to pad it to).
    """
    full = max(1, _CHUNK // (height * width))
    full = 1 << (full.bit_length() - 1)
    for start in range(0, batch, full):
        stop = min(start + full, batch)
        yield slice(start, stop), 1 << (stop - start - 1).bit_length()


def padded(images: np.ndarray, size: int) -> np.ndarray:
    """[b, ...] -> [size, ...], zeros behind."""
    return np.pad(images, ((0, size - len(images)), *((0, 0),) * (images.ndim - 1)))


class _Network:
    """One compiled network. It keeps the taps of the reference batch, which comes back for every point."""

    def __init__(self, backbone: Backbone) -> None:
        ops = quiet.load("keras").ops
        from linksim.model.lpips import MIN_SIZE, lpips_taps, pooled_taps, taps_distance

        weights = load_weights(backbone)
        self.min_size = MIN_SIZE[backbone]
        self._reference: tuple[bytes, list[list[Any]]] = (b"", [])

        def unit_range(images: Any) -> Any:
            return ops.cast(images, "float32") / 127.5 - 1.0

        self._taps = compiled(lambda images: lpips_taps(weights, unit_range(images)))
        self._distance = compiled(
            lambda taps, images: taps_distance(
                weights, taps, lpips_taps(weights, unit_range(images))
            )
        )
        self._pooled = compiled(lambda images: pooled_taps(weights, unit_range(images)))

    def distance(self, reference: np.ndarray, image: np.ndarray) -> np.ndarray:
        found = np.full(len(image), np.nan)
        if min(image.shape[1:3]) < self.min_size:
            return found
        key = hashlib.blake2b(reference.tobytes() + str(reference.shape).encode()).digest()
        if key != self._reference[0]:
            self._reference = (key, [])
        kept = self._reference[1]
        room = _KEPT // (image.shape[1] * image.shape[2])

        def compared(numbered: tuple[int, tuple[slice, int]]) -> list[Any]:
            index, (part, size) = numbered
            known = index < len(kept)
            taps = kept[index] if known else self._taps(padded(reference[part], size))
            values = np.asarray(self._distance(taps, padded(image[part], size)))
            found[part] = values[: len(found[part])]
            return [] if known or part.stop > room else [taps]

        new = cores.each(compared, list(enumerate(chunks(*image.shape[:3]))))
        kept.extend(taps for one in new for taps in one)
        return found

    def pooled(self, images: np.ndarray) -> np.ndarray:
        def taken(chunk: tuple[slice, int]) -> np.ndarray:
            part, size = chunk
            pooled = np.asarray(self._pooled(padded(images[part], size)))
            return pooled[: part.stop - part.start]

        return np.concatenate(cores.each(taken, list(chunks(*images.shape[:3]))))


@cache
def network(backbone: Backbone) -> _Network:
    """The process's network of a backbone."""
    return _Network(backbone)


def lpips(backbone: Backbone, reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """LPIPS v0.1 of each image; NaN for images smaller than the network's smallest (alex 31 px, squeeze 17).

    Args:    both [B, H, W, 3] uint8.
    Returns: [B] float64, >= 0.
    """
    check_pair(reference, image)
    return network(backbone).distance(reference, image)


def tensor_distance(backbone: Backbone, x: Any, x_hat: Any) -> Any:
    """LPIPS v0.1 as a loss: of tensors, in keras.ops, with gradients.

    Args:    both [B, H, W, 3] float32 on the 0..255 scale.
    Returns: [B].
    Raises:  MissingAssetError: the weights are not on this machine.
    """
    from linksim.model.lpips import lpips_distance

    return lpips_distance(load_weights(backbone), x / 127.5 - 1.0, x_hat / 127.5 - 1.0)


def pooled_features(backbone: Backbone, images: np.ndarray) -> np.ndarray:
    """Spatially pooled taps (linksim.model.lpips.pooled_taps).

    Args:    images [B, H, W, 3] uint8.
    Returns: [B, D] float32, D the channels of all taps.
    Raises:  ValueError: images smaller than the network's smallest.
    """
    from linksim.model.lpips import TAP_CHANNELS

    check_images(images)
    net = network(backbone)
    if min(images.shape[1:3]) < net.min_size:
        raise ValueError(
            f"LPIPS {backbone} features need images of at least {net.min_size} px, got {list(images.shape[1:3])}"
        )
    if not len(images):
        return np.zeros((0, sum(TAP_CHANNELS[backbone])), np.float32)
    return net.pooled(images)


@dataclass(frozen=True)
class LpipsAlex:
    """LPIPS v0.1, AlexNet backbone, original weights.

    Raises: MissingAssetError: when made without its weights on this machine.
    """

    unit = ""
    higher_is_better = False
    averaging = "mean of images"

    def __post_init__(self) -> None:
        locate_weights("alex")

    def __call__(self, reference: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Args: both [B, H, W, 3] uint8. Returns: [B] float64; NaN below 31 px."""
        return lpips("alex", reference, image)


@dataclass(frozen=True)
class LpipsSqueeze:
    """LPIPS v0.1, SqueezeNet 1.1 backbone, original weights.

    Raises: MissingAssetError: when made without its weights on this machine.
    """

    unit = ""
    higher_is_better = False
    averaging = "mean of images"

    def __post_init__(self) -> None:
        locate_weights("squeeze")

    def __call__(self, reference: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Args: both [B, H, W, 3] uint8. Returns: [B] float64; NaN below 17 px."""
        return lpips("squeeze", reference, image)

    def tensors(self, x: Any, x_hat: Any) -> Any:
        """The same as a loss, see ``tensor_distance``."""
        return tensor_distance("squeeze", x, x_hat)
