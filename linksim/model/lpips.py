"""LPIPS v0.1 as pure functions on arrays: a metric in use, and a loss that gradients flow through in training.

    a, b [B,H,W,3] in [-1,1] --> scaling --> backbone --> taps f_1..f_L, each scaled to unit length over channels
    d(a, b) = sum_l mean_hw sum_c w_lc (f_l(a) - f_l(b))^2

Keras alone, both backends; channels last. The weights come in torchvision's layout (kernels OIHW, names without
"features.") from whoever reads the files.

Source: Zhang, Isola, Efros, Shechtman, Wang (2018), "The Unreasonable Effectiveness of Deep Features as a Perceptual
Metric", and the authors' weights of version 0.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from keras import ops

from linksim.errors import ComponentError

Backbone = Literal["alex", "squeeze"]

# The fixed normalisation in front of both backbones: ImageNet's mean and deviation, moved to inputs in [-1, 1].
_SHIFT = np.array([-0.030, -0.088, -0.188], np.float32)
_SCALE = np.array([0.458, 0.448, 0.450], np.float32)
# As the authors', but under the root: a gradient at an all-zero feature vector is then 0 and not NaN.
_TINY = 1e-20

TAP_CHANNELS: dict[str, tuple[int, ...]] = {
    "alex": (64, 192, 384, 256, 256),
    "squeeze": (64, 128, 256, 384, 384, 512, 512),
}
# The smallest height and width that every layer has an output for.
MIN_SIZE: dict[str, int] = {"alex": 31, "squeeze": 17}
_FIRES = (3, 4, 6, 7, 9, 10, 11, 12)
_KERNEL_SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "alex": {
        "0": (64, 3, 11, 11),
        "3": (192, 64, 5, 5),
        "6": (384, 192, 3, 3),
        "8": (256, 384, 3, 3),
        "10": (256, 256, 3, 3),
    },
    "squeeze": {"0": (64, 3, 3, 3)},
}
for _at, _in, _mid, _out in zip(
    _FIRES,
    (64, 128, 128, 256, 256, 384, 384, 512),
    (16, 16, 32, 32, 48, 48, 64, 64),
    (64, 64, 128, 128, 192, 192, 256, 256),
    strict=True,
):
    _KERNEL_SHAPES["squeeze"] |= {
        f"{_at}.squeeze": (_mid, _in, 1, 1),
        f"{_at}.expand1x1": (_out, _mid, 1, 1),
        f"{_at}.expand3x3": (_out, _mid, 3, 3),
    }


@dataclass(frozen=True)
class LpipsWeights:
    """Weights of one LPIPS network.

    Args:
      backbone: "alex" or "squeeze".
      kernels:  layer -> [h, w, in, out] float32.
      biases:   layer -> [out] float32.
      heads:    L arrays [C_l] float32, >= 0.
    """

    backbone: Backbone
    kernels: Mapping[str, np.ndarray]
    biases: Mapping[str, np.ndarray]
    heads: tuple[np.ndarray, ...]

    @classmethod
    def from_torch(
        cls,
        backbone: Backbone,
        features: Mapping[str, np.ndarray],
        heads: Mapping[str, np.ndarray],
    ) -> LpipsWeights:
        """From arrays as PyTorch names and shapes them.

        Args:
          features: "0.weight" or "features.0.weight" -> [out, in, h, w], and biases; other entries are ignored.
          heads:    "lin0.model.1.weight" -> [1, C, 1, 1].
        Raises: ComponentError: an array is missing or has another shape.
        """
        plain = {name.removeprefix("features."): array for name, array in features.items()}
        kernels, biases = {}, {}
        for layer, shape in _KERNEL_SHAPES[backbone].items():
            kernel = _take(plain, f"{layer}.weight", shape, backbone)
            kernels[layer] = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))
            biases[layer] = _take(plain, f"{layer}.bias", shape[:1], backbone)
        taps = tuple(
            _take(heads, f"lin{i}.model.1.weight", (1, channels, 1, 1), backbone).reshape(channels)
            for i, channels in enumerate(TAP_CHANNELS[backbone])
        )
        return cls(backbone, kernels, biases, taps)


def _take(
    arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], backbone: str
) -> np.ndarray:
    if name not in arrays:
        raise ComponentError(f"LPIPS {backbone}: the weights lack {name}")
    if arrays[name].shape != shape:
        raise ComponentError(
            f"LPIPS {backbone}: {name} has shape {arrays[name].shape}, not {shape}"
        )
    return np.asarray(arrays[name], np.float32)


def lpips_taps(weights: LpipsWeights, images: Any) -> list[Any]:
    """The backbone's taps, scaled to unit length over channels.

    Args:    images [B, H, W, 3] float32 in [-1, 1]; H, W at least MIN_SIZE.
    Returns: L tensors [B, H_l, W_l, C_l].
    """
    x = (images - _SHIFT) / _SCALE
    taps = _alex(weights, x) if weights.backbone == "alex" else _squeeze(weights, x)
    return [_unit_length(tap) for tap in taps]


def taps_distance(weights: LpipsWeights, a: list[Any], b: list[Any]) -> Any:
    """LPIPS from the taps of two batches. Args: as ``lpips_taps`` returns them. Returns: [B]."""
    total = 0.0
    for head, tap_a, tap_b in zip(weights.heads, a, b, strict=True):
        per_channel = ops.mean(ops.square(tap_a - tap_b), axis=(1, 2))
        total = total + ops.matmul(per_channel, head[:, None])[:, 0]
    return total


def lpips_distance(weights: LpipsWeights, a: Any, b: Any) -> Any:
    """LPIPS of two batches, differentiable in both.

    Args:    a, b [B, H, W, 3] float32 in [-1, 1].
    Returns: [B] float32, >= 0.
    """
    return taps_distance(weights, lpips_taps(weights, a), lpips_taps(weights, b))


def pooled_taps(weights: LpipsWeights, images: Any) -> Any:
    """Spatial means of the taps, each channel times the root of its head's weight.

    Args:    images [B, H, W, 3] float32 in [-1, 1].
    Returns: [B, sum C_l]: 1152 for alex.
    """
    taps = lpips_taps(weights, images)
    pooled = [
        ops.mean(tap, axis=(1, 2)) * np.sqrt(head)
        for tap, head in zip(taps, weights.heads, strict=True)
    ]
    return ops.concatenate(pooled, axis=-1)


def _unit_length(x: Any) -> Any:
    length = ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis=-1, keepdims=True), _TINY))
    return x / (length + 1e-10)


def _conv(weights: LpipsWeights, layer: str, x: Any, stride: int = 1, pad: int = 0) -> Any:
    if pad:
        x = ops.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    y = ops.conv(x, weights.kernels[layer], stride, padding="valid", data_format="channels_last")
    return ops.relu(y + weights.biases[layer])


def _pool(x: Any) -> Any:
    return ops.max_pool(x, 3, 2, padding="valid", data_format="channels_last")


def _pool_ceil(x: Any) -> Any:
    """3x3 max pooling of stride 2 whose last window may hang over the edge (PyTorch's ceil_mode); x >= 0, 2x2 at least.

    Where the last window ends at the edge, the row or column that is added starts none.
    """
    return _pool(ops.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0))))


def _alex(weights: LpipsWeights, x: Any) -> list[Any]:
    one = _conv(weights, "0", x, stride=4, pad=2)
    two = _conv(weights, "3", _pool(one), pad=2)
    three = _conv(weights, "6", _pool(two), pad=1)
    four = _conv(weights, "8", three, pad=1)
    return [one, two, three, four, _conv(weights, "10", four, pad=1)]


def _squeeze(weights: LpipsWeights, x: Any) -> list[Any]:
    def fire(at: int, x: Any) -> Any:
        x = _conv(weights, f"{at}.squeeze", x)
        wide = _conv(weights, f"{at}.expand3x3", x, pad=1)
        return ops.concatenate([_conv(weights, f"{at}.expand1x1", x), wide], axis=-1)

    one = _conv(weights, "0", x, stride=2)
    two = fire(4, fire(3, _pool_ceil(one)))
    three = fire(7, fire(6, _pool_ceil(two)))
    four = fire(9, _pool_ceil(three))
    five = fire(10, four)
    six = fire(11, five)
    return [one, two, three, four, five, six, fire(12, six)]
