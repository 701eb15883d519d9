"""The control word: 6 bits (the index of the MCS) sent in band where the receiver cannot derive them.

First-order Reed-Muller code RM(1, 5), (32, 6, 16), repeated three
times, QPSK: 48 complex channel uses; maximum-likelihood decoding over its 64 words. At Es/N0 = -4 dB on AWGN
the union bound gives an error rate of 4e-4.

Where both ends know how long the frame is, its symbols stand evenly among the others (``among``), so that it meets as
many fades as they do; in frames whose length it tells it comes first.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from linksim.types import Received

NUM_BITS = 6
REPETITIONS = 3
NUM_USES = 32 * REPETITIONS // 2


@cache
def _codebook() -> np.ndarray:
    """[64, 32] uint8: codeword of index i; bit 0 is the all-ones row, bits 1-5 the coordinate functions."""
    index = np.arange(64)[:, None]
    position = np.arange(32)[None, :]
    word = (index >> 5) & 1
    for j in range(5):
        word = word ^ (((index >> j) & 1) & ((position >> j) & 1))
    return word.astype(np.uint8)


def modulate(index: np.ndarray) -> np.ndarray:
    """[B] int in 0..63 -> [B, 48] complex64, unit power."""
    index = np.asarray(index)
    if index.size and not (int(index.min()) >= 0 and int(index.max()) < 64):
        raise ValueError(f"a control word is 0..63, got {index.min()}..{index.max()}")
    bits = np.tile(_codebook()[index], (1, REPETITIONS)).astype(np.float32)
    axes = (1 - 2 * bits) / np.float32(np.sqrt(2))
    return (axes[:, 0::2] + 1j * axes[:, 1::2]).astype(np.complex64)


@cache
def _places(num_symbols: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a word stands in a frame of so many symbols, it included, and where the others do."""
    word = (np.arange(NUM_USES) * num_symbols + num_symbols // 2) // NUM_USES
    return word, np.setdiff1d(np.arange(num_symbols), word)


def among(index: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Frames with their words among their symbols.

    Args:    index [B] int in 0..63; x [B, S].
    Returns: [B, NUM_USES + S].
    """
    word, rest = _places(NUM_USES + x.shape[1])
    frame = np.empty((len(x), NUM_USES + x.shape[1]), np.complex64)
    frame[:, word], frame[:, rest] = modulate(index), x
    return frame


def apart(received: Received) -> tuple[np.ndarray, Received]:
    """What ``among`` put together: the most likely words [B] int64, and the other symbols."""
    word, rest = _places(received.y.shape[1])
    full = received.full()
    return demodulate(Received(*(a[:, word] for a in full))), Received(*(a[:, rest] for a in full))


def demodulate(received: Received) -> np.ndarray:
    """Most likely word of each frame.

    Args:    received: of 48 symbols.
    Returns: [B] int64.
    """
    y, h, n0 = received.full()
    with np.errstate(invalid="ignore", over="ignore"):
        matched = np.nan_to_num(np.conj(h) * y / np.maximum(n0, np.float32(1e-12)))
    soft = np.empty((len(y), 2 * NUM_USES), np.float64)
    soft[:, 0::2], soft[:, 1::2] = matched.real, matched.imag
    combined = soft.reshape(len(y), REPETITIONS, 32).sum(1)
    return np.argmax(combined @ (1.0 - 2.0 * _codebook().T), axis=1)
