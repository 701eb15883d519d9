"""Error rates of a block that was sent several times and decoded from all of it (HARQ).

Chase combining sends the same symbols again; the receiver adds them up before it demaps (maximum-ratio combining), so
the SNRs add: 3 dB for two equal ones, exactly.

With redundancy versions a decoder sees one code word whose bits have different qualities: a bit sent several times adds
its LLRs up, one that was not sent has none. What it can do is ruled by the mean mutual information of the bits that
were sent, and by how many they are (effective SNR by mutual information): the block fails as often as a QPSK one that
sends so many bits once, with that information each. Bits of a QAM symbol are not alike, so each is followed to its
place in the symbol, in every transmission. The error rates of the equivalent block are those measured for AMC
(``thresholds``). Against simulation the middle of the waterfall is within 0.3 dB (tests/golden/test_harq.py).

Sources: 3GPP TS 38.212, clause 5.4.2 (redundancy versions, bit interleaver); Cheng, "Coding performance of hybrid ARQ
schemes", IEEE Trans. Commun. 54 (2006); Wan, Tsatsanis & Sampath, "A fading-insensitive performance metric for a
unified link quality model", WCNC (2006), for the effective SNR.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from linksim.phy import mutual_information as information
from linksim.phy import thresholds
from linksim.phy.transport_block import Layout, walk
from linksim.units import db_to_linear, linear_to_db


@lru_cache(maxsize=4096)
def coverage(block: Layout, rvs: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """How often, and on which level of a symbol, each bit of the first code block's buffer is sent.

    Returns: times [K, T, Qm / 2] int64, different combinations (none all zero), and counts [K] int64, how many bits
             have each.
    """
    order, length = block.num_bits_per_symbol, block.lengths[0]
    # The bit interleaver fills a symbol's bits one after another, so a level is a stretch of what is sent.
    share = length // order
    stretches: list[
        tuple[int, int, int, int]
    ] = []  # start and stop in the buffer, transmission, level
    for t, rv in enumerate(rvs):
        for at, part in walk(block, length, rv):
            for level in range(order // 2):
                low, high = max(at, 2 * level * share), 2 * (level + 1) * share
                high = min(high, at + part.stop - part.start)
                if low < high:
                    stretches.append((part.start + low - at, part.start + high - at, t, level))
    found: dict[tuple[int, ...], int] = {}
    edges = sorted({edge for stretch in stretches for edge in stretch[:2]})
    for low, high in pairwise(edges):
        times = np.zeros((len(rvs), order // 2), np.int64)
        for start, stop, t, level in stretches:
            if start <= low and high <= stop:
                times[t, level] += 1
        if times.any():
            key = tuple(times.ravel().tolist())
            found[key] = found.get(key, 0) + high - low
    rows = np.array(list(found), np.int64).reshape(-1, len(rvs), order // 2)
    return rows, np.array(list(found.values()), np.int64)


def _mean_missing(snr_db: np.ndarray, block: Layout, rvs: tuple[int, ...]) -> np.ndarray:
    """What is missing from the bits that were sent, 1 - I, on average. Args: snr_db [..., T]. Returns: [...]."""
    times, counts = coverage(block, rvs)
    order = block.num_bits_per_symbol
    # The SNR of QPSK whose bits tell as much: LLRs add, and so do these.
    alike = np.stack(
        [
            db_to_linear(information.qpsk_snr_db(information.missing_of_bit(snr_db, order, level)))
            for level in range(order // 2)
        ],
        axis=-1,
    )  # [..., T, Qm / 2]
    flat = alike.reshape(*alike.shape[:-2], -1)
    total = flat @ times.reshape(len(times), -1).T  # [..., K]
    missing = information.missing_of_bit(linear_to_db(total), 2, 0)
    return (missing * counts).sum(axis=-1) / counts.sum()


def equivalent(
    es_n0_db: np.ndarray, block: Layout, rvs: tuple[int, ...]
) -> tuple[np.ndarray, Layout]:
    """The single QPSK transmission that fails as often.

    Args:    es_n0_db [..., T], dB.
    Returns: its Es/N0 [...] dB, and its block.
    """
    snr_db = np.asarray(es_n0_db, np.float64)
    if snr_db.shape[-1:] != (len(rvs),):
        raise ValueError(
            f"es_n0_db must be [..., {len(rvs)}], one for each transmission, got {snr_db.shape}"
        )
    sent = int(coverage(block, rvs)[1].sum())
    found = information.qpsk_snr_db(_mean_missing(snr_db, block, rvs))
    same = replace(block, num_bits_per_symbol=2, lengths=(sent,) * block.num_code_blocks)
    return found, same


def error_rate(es_n0_db: np.ndarray, block: Layout, rvs: tuple[int, ...]) -> np.ndarray:
    """Probability that a transport block fails after T transmissions on AWGN.

    Args:    es_n0_db [..., T], dB, of each transmission; rvs: their redundancy versions.
    Returns: [...] float64.
    """
    # The same bits again, in one version or because the first transmission went round the whole buffer.
    if len(set(rvs)) == 1 or coverage(block, rvs)[1].sum() == coverage(block, rvs[:1])[1].sum():
        total = db_to_linear(np.asarray(es_n0_db, np.float64)).sum(axis=-1)
        return thresholds.transport_block_error_rate(linear_to_db(total), block)
    found, same = equivalent(es_n0_db, block, rvs)
    return thresholds.transport_block_error_rate(found, same)
