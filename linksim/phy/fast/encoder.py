"""5G LDPC encoder, 38.212 clause 5.3.2: one pass over the base graph's edges.

The first four parity columns follow from the sum of the four core rows, which leaves one of them shifted (the core is
double diagonal); every further parity column is the check sum of its own row.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from linksim.phy.fast.basegraph import base_graph


@njit(cache=True, nogil=True, boundscheck=False)
def _add_shifted(out, source, shift, z):  # out ^= source rotated left by shift
    head = source[shift:z]
    for i in range(z - shift):
        out[i] ^= head[i]
    tail = out[z - shift : z]
    for i in range(shift):
        tail[i] ^= source[i]


@njit(cache=True, nogil=True, boundscheck=False)
def _encode(words, info, z, row_start, column, shift):
    """words [N, columns * z] uint8 with the information bits in front; the parity bits are filled in."""
    rows = len(row_start) - 1
    check = np.zeros((4, z), np.uint8)
    for n in range(words.shape[0]):
        word = words[n].reshape((-1, z))
        check[:] = 0
        for r in range(4):
            for e in range(row_start[r], row_start[r + 1]):
                if column[e] < info:
                    _add_shifted(check[r], word[column[e]], shift[e], z)
        # Sum of the core rows: the dual diagonal cancels, column ``info`` is left with its odd shift.
        total = np.zeros(z, np.uint8)
        for r in range(4):
            for i in range(z):
                total[i] ^= check[r, i]
        seen = np.zeros(z, np.uint8)
        for r in range(4):
            for e in range(row_start[r], row_start[r + 1]):
                if column[e] == info:
                    seen[shift[e]] ^= 1
        odd = 0
        for i in range(z):
            if seen[i]:
                odd = i
        first = word[info]
        for i in range(z):
            first[(i + odd) % z] = total[i]
        # Then row by row, each core row having one parity column not yet known.
        known = np.zeros(4, np.uint8)
        known[0] = 1
        done = np.zeros(4, np.uint8)
        for _ in range(3):
            for r in range(4):
                if done[r]:
                    continue
                missing = -1
                count = 0
                for e in range(row_start[r], row_start[r + 1]):
                    c = column[e] - info
                    if 0 <= c < 4 and not known[c]:
                        missing = e
                        count += 1
                if count != 1:
                    continue
                target = word[column[missing]]
                value = check[r].copy()
                for e in range(row_start[r], row_start[r + 1]):
                    c = column[e] - info
                    if 0 <= c < 4 and known[c]:
                        _add_shifted(value, word[column[e]], shift[e], z)
                for i in range(z):
                    target[(i + shift[missing]) % z] = value[i]
                known[column[missing] - info] = 1
                done[r] = 1
        for r in range(4, rows):
            parity = word[info + r]
            parity[:] = 0
            for e in range(row_start[r], row_start[r + 1]):
                if column[e] != info + r:
                    _add_shifted(parity, word[column[e]], shift[e], z)


def encode_mother(bits: np.ndarray, bg: int, z: int) -> np.ndarray:
    """Encode code blocks to the content of the circular buffer.

    Args:    bits [N, K] uint8, K = 22 z (base graph 1) or 10 z (2), filler bits as zeros.
    Returns: [N, 66 z] or [N, 50 z] uint8: the code word without its first 2 z bits.
    """
    graph = base_graph(bg, z)
    if bits.ndim != 2 or bits.shape[1] != graph.num_info_columns * z:
        raise ValueError(f"bits must be [N, {graph.num_info_columns * z}], got {bits.shape}")
    words = np.zeros((len(bits), graph.num_columns * z), np.uint8)
    words[:, : bits.shape[1]] = bits
    _encode(words, graph.num_info_columns, z, graph.row_start, graph.column, graph.shift)
    return words[:, 2 * z :]
