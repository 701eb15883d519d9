"""Sionna's LDPC and demapping blocks behind the same interface as the numba kernels.

They are the alternative back end and the oracle of the tests. Shapes are padded to a fixed batch, so XLA compiles each
code once.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np

BATCH = 64


@cache
def _tf() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow

    return tensorflow


@cache
def _encoder(k: int, n: int, bg: int) -> Any:
    _tf()
    from sionna.phy.fec.ldpc import LDPC5GEncoder

    return LDPC5GEncoder(k, n, bg=f"bg{bg}")


@cache
def _decoder(k: int, n: int, bg: int, num_iter: int, cn_update: str) -> Any:
    tf = _tf()
    from sionna.phy.fec.ldpc import LDPC5GDecoder

    decoder = LDPC5GDecoder(
        _encoder(k, n, bg), num_iter=num_iter, cn_update=cn_update, hard_out=True, return_infobits=True
    )

    @tf.function(jit_compile=True)
    def run(llr: Any) -> Any:
        return decoder(llr)

    return run


def _in_batches(function: Any, array: np.ndarray) -> np.ndarray:
    """Apply to chunks of BATCH rows, the last padded with zeros."""
    tf = _tf()
    pieces = []
    for start in range(0, len(array), BATCH):
        chunk = array[start : start + BATCH]
        padded = np.pad(chunk, ((0, BATCH - len(chunk)), (0, 0)))
        pieces.append(function(tf.constant(padded, tf.float32)).numpy()[: len(chunk)])
    return np.concatenate(pieces)


def encode(bits: np.ndarray, num_coded: int, bg: int) -> np.ndarray:
    """LDPC5GEncoder. Args: bits [N, k] uint8. Returns: [N, num_coded] uint8, the circular buffer without fillers."""
    coded = _in_batches(_encoder(bits.shape[1], num_coded, bg), bits.astype(np.float32))
    return coded.astype(np.uint8)


def decode(llr: np.ndarray, k: int, bg: int, num_iter: int, cn_update: str) -> np.ndarray:
    """LDPC5GDecoder, flooding. Args: llr [N, n] float32, ln p(1)/p(0). Returns: [N, k] uint8."""
    run = _decoder(k, llr.shape[1], bg, num_iter, cn_update)
    return _in_batches(run, llr).astype(np.uint8)


@cache
def _demapper(num_bits_per_symbol: int) -> Any:
    _tf()
    from sionna.phy.mapping import Demapper

    return Demapper("app", "qam", num_bits_per_symbol)


def demap(
    y: np.ndarray, h: np.ndarray, n0: np.ndarray, num_bits_per_symbol: int
) -> np.ndarray:
    """Demapper("app") after division by h. Shapes as in modem.demap."""
    tf = _tf()
    gain = np.maximum(np.abs(h) ** 2, 1e-20)
    equalised = (np.conj(h) * y / gain).astype(np.complex64)
    noise = np.maximum(n0 / gain, 1e-9).astype(np.float32)
    llr = _demapper(num_bits_per_symbol)(tf.constant(equalised), tf.constant(noise))
    return llr.numpy().astype(np.float32)
