"""A good place to start from: principal axes of image patches for the linear skeleton of g_a and g_s.

Latents that a network gets in addition (``linksim.model.ntc.fitted``) start from axes of what it cannot show without
them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from linksim.model.ntc import STRIDE, NtcNet

BATCH = 50  # pictures shown at once


def principal_axes(images: np.ndarray, block: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The leading principal axes of patches.

    Args:
      images: [N, H, W, 3] uint8.
      block:  side of a patch [pixels].
      count:  C, axes wanted.
    Returns: axes [C, 3 block^2] orthonormal rows, in the order of ``layers.space_to_depth``; deviation [C] of the
      coefficients on the 0..1 scale.
    """
    return _leading(_patches(images, block), count)


def _patches(images: np.ndarray, block: int) -> np.ndarray:
    """Images [N, H, W, 3] on the 0..255 scale -> [patches, 3 block^2] float64 on the 0..1 scale, without their mean."""
    n, height, width, _ = images.shape
    rows, columns = height // block, width // block
    patches = images.reshape(n, rows, block, columns, block, 3).transpose(0, 1, 3, 2, 4, 5)
    flat = patches.reshape(n * rows * columns, -1).astype(np.float64) / 255.0
    return flat - flat.mean(0)


def _leading(flat: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Axes and deviations of patches [n, 3 block^2] without a mean, see ``principal_axes``."""
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


def add_axes(net: NtcNet, images: np.ndarray) -> None:
    """Give latents that have no axis in g_s those along which pictures are shown worst at the best quality, orthogonal
    to the axes that are there. In place; nothing where every latent has one.

    Args:
      net:    with zeros where axes are wanted, as ``linksim.model.ntc.fitted`` leaves them.
      images: [N, H, W, 3] uint8.
    """
    analysis, synthesis = (np.array(part.linear.matrix.numpy()) for part in (net.g_a, net.g_s))
    old = synthesis.any(1)
    if old.all():
        return
    x = images.astype(np.float32)
    shown = [
        np.asarray(net(part, np.ones(len(part), np.float32))[0])
        for part in np.array_split(x, -(-len(x) // BATCH))
    ]
    missed = _patches(x - np.concatenate(shown), STRIDE)
    known, _ = np.linalg.qr(synthesis[old].T.astype(np.float64))
    missed -= (missed @ known) @ known.T
    found, _ = _leading(missed, int(np.sum(~old)))
    size = np.zeros(len(old))
    size[~old] = np.log(np.std(_patches(x, STRIDE) @ found.T, 0) + 1e-6)
    analysis[:, ~old], synthesis[~old] = found.T, found
    for part, matrix in ((net.g_a, analysis), (net.g_s, synthesis)):
        part.linear.matrix.assign(matrix)
        _add(part.linear.log_scale, size)
    _add(net.gain.table, size)
    _add(net.ungain.table, -size)


def _add(table: Any, row: np.ndarray) -> None:
    table.assign(np.asarray(table.numpy() + row, np.float32))
