"""A good place to start from: principal axes of image patches for the linear skeleton of g_a and g_s."""

from __future__ import annotations

from typing import Any

import numpy as np

from linksim.model.ntc import STRIDE, NtcNet


def principal_axes(images: np.ndarray, block: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The leading principal axes of patches.

    Args:
      images: [N, H, W, 3] uint8.
      block:  side of a patch [pixels].
      count:  C, axes wanted.
    Returns: axes [C, 3 block^2] orthonormal rows, in the order of ``layers.space_to_depth``; deviation [C] of the
      coefficients on the 0..1 scale.
    """
    n, height, width, _ = images.shape
    rows, columns = height // block, width // block
    patches = images.reshape(n, rows, block, columns, block, 3).transpose(0, 1, 3, 2, 4, 5)
    flat = patches.reshape(n * rows * columns, -1).astype(np.float64) / 255.0 - 0.5
    flat -= flat.mean(0)
    values, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    order = np.argsort(values)[::-1][:count]
    axes = vectors[:, order].T
    axes *= np.where(axes.sum(1, keepdims=True) < 0, -1.0, 1.0)  # eigh leaves the signs open
    return axes, np.sqrt(np.maximum(values[order], 1e-12))


def start_from_patches(net: NtcNet, images: np.ndarray) -> None:
    """Set the linear transforms to the principal axes of ``images`` and the gains to match. In place."""
    axes, deviation = principal_axes(images, STRIDE, net.cfg.latent)
    for part, matrix in ((net.g_a, axes.T), (net.g_s, axes)):
        part.linear.matrix.assign(matrix.astype(np.float32))
        part.linear.log_scale.assign(np.log(deviation).astype(np.float32))
    for table, sign in ((net.gain.table, 1.0), (net.ungain.table, -1.0)):
        _add(table, sign * np.log(deviation))


def _add(table: Any, row: np.ndarray) -> None:
    table.assign(np.asarray(table.numpy() + row[None], np.float32))
