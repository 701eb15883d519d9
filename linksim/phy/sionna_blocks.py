"""Sionna's LDPC and demapping blocks behind the same interface as the numba kernels.

They are the alternative back end and the oracle of the tests. Shapes are padded to a fixed batch, so XLA compiles each
code once.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from linksim import cores, quiet

BATCH = 64  # code words
TOGETHER = 1 << 16  # symbols


@cache
def _tf() -> Any:
    return quiet.load("tensorflow")


@cache
def _code(k: int, bg: int) -> Any:
    """Sionna's encoder of the code with K' = k bits. The number of coded bits only has to be one that it accepts."""
    _tf()
    from sionna.phy.fec.ldpc import LDPC5GEncoder

    return LDPC5GEncoder(k, 2 * k, bg=f"bg{bg}")


@cache
def _encoder(k: int, bg: int) -> Any:
    tf, code = _tf(), _code(k, bg)

    @tf.function
    def run(bits: Any) -> Any:
        filled = tf.pad(bits, ((0, 0), (0, code.k_ldpc - k)))
        # The whole mother word: the public call cuts it to n, and takes no n above 5 k or the full buffer.
        return code._encode_fast(filled)[:, 2 * code.z :, 0]

    return run


@cache
def _decoder(k: int, bg: int, num_iter: int, cn_update: str, extent: int) -> Any:
    tf, code = _tf(), _code(k, bg)
    from sionna.phy.fec.ldpc import LDPCBPDecoder

    # Parity bits that were not sent, and the checks that they alone close, contribute nothing: leave them out.
    columns = max(2 * code.z + extent, code.k_ldpc + 4 * code.z)
    pcm = code.pcm[: columns - code.k_ldpc, :columns]
    decoder = LDPCBPDecoder(pcm, num_iter=num_iter, cn_update=cn_update, hard_out=True)

    @tf.function(jit_compile=True)
    def run(llr: Any) -> Any:
        word = tf.pad(llr[:, : columns - 2 * code.z], ((0, 0), (2 * code.z, 0)))
        return decoder(word)[:, :k]

    return run


def _in_batches(function: Any, array: np.ndarray) -> np.ndarray:
    """Apply to chunks of BATCH rows, the last padded with zeros; the cores share them."""
    tf = _tf()

    def piece(start: int) -> np.ndarray:
        chunk = array[start : start + BATCH]
        padded = np.pad(chunk, ((0, BATCH - len(chunk)), (0, 0)))
        return function(tf.constant(padded, tf.float32)).numpy()[: len(chunk)]

    return np.concatenate(cores.each(piece, range(0, len(array), BATCH)))


def encode_mother(bits: np.ndarray, bg: int) -> np.ndarray:
    """LDPC5GEncoder without its rate matching.

    Args:    bits [N, K'] uint8, without fillers; bg: 1 or 2.
    Returns: [N, N_cb] uint8, the circular buffer, fillers as zeros.
    """
    return _in_batches(_encoder(bits.shape[1], bg), bits).astype(np.uint8)


def decode_mother(
    llr: np.ndarray, k: int, bg: int, num_iter: int, cn_update: str, extent: int
) -> np.ndarray:
    """LDPCBPDecoder, flooding, as LDPC5GDecoder prunes it.

    Args:
      llr:    [N, N_cb] float32, ln p(1)/p(0), 0 where nothing was sent, large negative at fillers.
      k:      K'; bg: 1 or 2.
      extent: buffer positions from here on were not sent.
    Returns: [N, K'] uint8.
    """
    run = _decoder(k, bg, num_iter, cn_update, extent)
    return _in_batches(run, llr).astype(np.uint8)


@cache
def _demapper(num_bits_per_symbol: int) -> Any:
    _tf()
    from sionna.phy.mapping import Demapper

    return Demapper("app", "qam", num_bits_per_symbol)


def demap(y: np.ndarray, h: np.ndarray, n0: np.ndarray, num_bits_per_symbol: int) -> np.ndarray:
    """Demapper("app") after division by h. Shapes as in modem.demap."""
    tf = _tf()
    if not y.size:
        return np.zeros((len(y), y.shape[1] * num_bits_per_symbol), np.float32)
    gain = np.maximum(np.abs(h) ** 2, 1e-20)
    equalised = (np.conj(h) * y / gain).astype(np.complex64)
    noise = np.broadcast_to(np.maximum(n0 / gain, 1e-9).astype(np.float32), equalised.shape)
    demapper, rows = _demapper(num_bits_per_symbol), max(1, TOGETHER // equalised.shape[1])

    def piece(start: int) -> np.ndarray:
        part = slice(start, start + rows)
        return demapper(tf.constant(equalised[part]), tf.constant(noise[part])).numpy()

    starts = range(0, len(equalised), rows)
    return np.concatenate(cores.each(piece, starts)).astype(np.float32)
