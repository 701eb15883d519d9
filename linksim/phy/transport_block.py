"""Transport blocks of 5G's shared channel: sizes, segmentation and rate matching as pure arithmetic.

Sources: 3GPP TS 38.214, clause 5.1.3.2 (size); TS 38.212, clauses 5.2.2 (segmentation), 5.4.2 (rate matching and bit
interleaving), 7.2.1 to 7.2.2 (CRC and base graph). One layer, no limited buffer.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from linksim.errors import BudgetError
from linksim.phy.crc import POLYNOMIALS, CrcName

# fmt: off
_SIZES = (  # table 5.1.3.2-1
    24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128, 136, 144, 152, 160, 168, 176, 184, 192, 208, 224, 240,
    256, 272, 288, 304, 320, 336, 352, 368, 384, 408, 432, 456, 480, 504, 528, 552, 576, 608, 640, 672, 704, 736, 768,
    808, 848, 888, 928, 984, 1032, 1064, 1128, 1160, 1192, 1224, 1256, 1288, 1320, 1352, 1416, 1480, 1544, 1608, 1672,
    1736, 1800, 1864, 1928, 2024, 2088, 2152, 2216, 2280, 2408, 2472, 2536, 2600, 2664, 2728, 2792, 2856, 2976, 3104,
    3240, 3368, 3496, 3624, 3752, 3824,
)
# fmt: on
_LIFTING = sorted(a << j for a in (2, 3, 5, 7, 9, 11, 13, 15) for j in range(8) if a << j <= 384)

MAX_CODE_RATE = 0.95  # a receiver may skip blocks above (38.214, clause 5.1.3)


def transport_block_size(num_symbols: int, num_bits_per_symbol: int, target_rate: float) -> int:
    """TBS [bits] of a block of ``num_symbols`` resource elements (38.214, clause 5.1.3.2, steps 2 to 4).

    The frame's channel uses stand for the resource elements, with no pilots among them: N_info = S Qm R.
    Never below the standard's 24 bits: 8 or 16 bits behind a CRC of 16 would cost a packet more than they carry.
    """
    n_info = num_symbols * num_bits_per_symbol * target_rate
    if n_info <= 3824:
        n = max(3, math.floor(math.log2(max(n_info, 1))) - 6)
        quantised = max(24, (1 << n) * math.floor(n_info / (1 << n)))
        return _SIZES[bisect_left(_SIZES, quantised)]
    n = math.floor(math.log2(n_info - 24)) - 5
    quantised = max(3840, (1 << n) * math.floor((n_info - 24) / (1 << n) + 0.5))
    if target_rate <= 0.25:
        blocks = math.ceil((quantised + 24) / 3816)
    elif quantised > 8424:
        blocks = math.ceil((quantised + 24) / 8424)
    else:
        blocks = 1
    return 8 * blocks * math.ceil((quantised + 24) / (8 * blocks)) - 24


@dataclass(frozen=True)
class Layout:
    """How one transport block becomes coded bits.

    Args:
      info_bits:        A.
      crc:              "24a" or "16", of the transport block.
      base_graph:       1 or 2.
      num_code_blocks:  C; above 1 each carries a CRC24B.
      block_bits:       K', bits of a code block, CRC included, fillers not.
      z:                lifting size; the code block has 22 z or 10 z bits with fillers.
      lengths:          C values E_r, coded bits of each block; their sum is G.
      num_bits_per_symbol: Qm.
    """

    info_bits: int
    crc: CrcName
    base_graph: int
    num_code_blocks: int
    block_bits: int
    z: int
    lengths: tuple[int, ...]
    num_bits_per_symbol: int

    @property
    def mother_bits(self) -> int:
        """K with fillers: 22 z or 10 z."""
        return (22 if self.base_graph == 1 else 10) * self.z

    @property
    def buffer_bits(self) -> int:
        """N_cb, the circular buffer: 66 z or 50 z."""
        return (66 if self.base_graph == 1 else 50) * self.z

    @property
    def crc_bits(self) -> int:
        """All CRC bits of the transport block."""
        per_block = POLYNOMIALS["24b"][0] * self.num_code_blocks if self.num_code_blocks > 1 else 0
        return POLYNOMIALS[self.crc][0] + per_block


@lru_cache(maxsize=4096)
def layout(
    num_symbols: int, num_bits_per_symbol: int, target_rate: float, info_bits: int | None = None
) -> Layout:
    """The transport block that 5G sends on ``num_symbols`` resource elements.

    Args:   info_bits: A; by default the size of 38.214.
    Raises: BudgetError: if the smallest block does not fit at a code rate up to 0.95, or could not be decoded.
    """
    coded = num_symbols * num_bits_per_symbol
    size = (
        info_bits
        if info_bits is not None
        else transport_block_size(num_symbols, num_bits_per_symbol, target_rate)
    )
    crc: CrcName = "24a" if size > 3824 else "16"
    with_crc = size + POLYNOMIALS[crc][0]
    if with_crc > MAX_CODE_RATE * coded:
        raise BudgetError(
            f"{num_symbols} channel uses at {num_bits_per_symbol} bits a symbol hold {coded} coded bits, too few for a "
            f"block of {size} bits and its CRC at a code rate up to {MAX_CODE_RATE}; raise cbr"
        )
    small = size <= 292 or (size <= 3824 and target_rate <= 0.67) or target_rate <= 0.25
    graph = 2 if small else 1
    largest = 3840 if small else 8448
    if with_crc <= largest:
        blocks, total = 1, with_crc
    else:
        blocks = math.ceil(with_crc / (largest - 24))
        total = with_crc + 24 * blocks
    if total % blocks:
        raise BudgetError(
            f"{size} bits do not divide into {blocks} code blocks; use a size of 38.214"
        )
    block_bits = total // blocks
    small_columns = 10 if with_crc > 640 else 9 if with_crc > 560 else 8 if with_crc > 192 else 6
    columns = 22 if graph == 1 else small_columns
    z = next(z for z in _LIFTING if columns * z >= block_bits)
    low, extra = divmod(num_symbols, blocks)
    lengths = tuple(num_bits_per_symbol * (low + (r >= blocks - extra)) for r in range(blocks))
    if min(lengths) < block_bits + z:
        # Two columns are never sent, so less than three of parity leave iterative decoding stuck even without noise.
        raise BudgetError(
            f"{coded} coded bits are too few for a block of {size} bits at any SNR; lower the code rate or raise cbr"
        )
    return Layout(size, crc, graph, blocks, block_bits, z, lengths, num_bits_per_symbol)


_START = {1: (0, 17, 33, 56), 2: (0, 13, 25, 43)}  # table 5.4.2.1-2: k0 / z for rv 0..3


def runs(block: Layout, rv: int = 0) -> tuple[tuple[int, int], ...]:
    """The circular buffer in sending order, fillers left out (5.4.2.1).

    Args:    rv: redundancy version 0..3 (where in the buffer to begin).
    Returns: (start, stop) stretches of buffer positions; what is sent goes round and round them.
    """
    start = _START[block.base_graph][rv] * block.z
    filler = (block.block_bits - 2 * block.z, block.mother_bits - 2 * block.z)
    pieces = []
    for low, high in ((start, block.buffer_bits), (0, start)):
        pieces += [(low, min(high, filler[0])), (max(low, filler[1]), high)]
    return tuple((low, high) for low, high in pieces if high > low)


def walk(block: Layout, length: int, rv: int = 0) -> Iterator[tuple[int, slice]]:
    """Yield (offset in the E_r = ``length`` sent bits, slice of the buffer that goes there), repetitions included."""
    at = 0
    while at < length:
        for low, high in runs(block, rv):
            count = min(high - low, length - at)
            if count > 0:
                yield at, slice(low, low + count)
            at += count


def interleave(bits: np.ndarray, num_bits_per_symbol: int) -> np.ndarray:
    """Bit interleaver of 5.4.2.2: output bit i + j Qm is input bit i E/Qm + j. Args and returns: [N, E]."""
    columns = bits.reshape(len(bits), num_bits_per_symbol, -1)
    return columns.transpose(0, 2, 1).reshape(len(bits), -1)


def deinterleave(soft: np.ndarray, num_bits_per_symbol: int) -> np.ndarray:
    """The inverse of ``interleave``. Args and returns: [N, E]."""
    columns = soft.reshape(len(soft), -1, num_bits_per_symbol)
    return columns.transpose(0, 2, 1).reshape(len(soft), -1)
