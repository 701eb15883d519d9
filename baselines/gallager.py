"""Gallager's regular LDPC codes from pyldpc: a second, independent LDPC implementation beside Sionna's."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from linksim.errors import BudgetError, MissingAssetError
from linksim.types import BlockPlan

DEGREES = ((3, 4), (3, 6), (3, 9), (3, 12))  # (d_v, d_c): rates 1/4, 1/2, 2/3, 3/4
COUNTS = Path(__file__).with_name("gallager_counts.json")
_CRC_BITS, _CRC_POLYNOMIAL = 24, 0x864CFB  # CRC24A of 3GPP TS 38.212, clause 5.1
_RATE_TOLERANCE = 0.03
_MAX_LLR = 20.0  # beyond it the kernel's tanh rounds to one
_CHUNK = 32  # words decoded together: a word takes 2.6 MB at n = 576
_SEED = 1963  # of the permutations, so that both ends draw the same code


@dataclass(frozen=True)
class Gallager:
    """Regular (d_v, d_c) LDPC codes by Gallager's construction, decoded by pyldpc's belief propagation.

        bits [A] | CRC24A -> C blocks of K = n (1 - d_v/d_c) -> C words of n bits -> fillers up to G

    Four codes stand ready, of rates 1/4, 1/2, 2/3 and 3/4; an MCS is served if its target rate lies within 0.03 of one
    of them. No rate matching: what G leaves over n C is filled with zeros and counted (as parity). A code word has one
    or two message bits more than K; they are zero. The CRC covers the transport block alone, so ``good_prefix`` is all
    or nothing. The decoder is slow (milliseconds a block): meant for
    comparisons, not for large sweeps.

    Args:
      block_bits: n, divisible by 36. Error rates are shipped for 576; for others run
                  ``python -m baselines.gallager_measure --block-bits N``.
      num_iter:   belief-propagation iterations at most (flooding, sum-product; stops on a zero syndrome).
    """

    block_bits: int = 576
    num_iter: int = 20

    def __post_init__(self) -> None:
        if self.block_bits < 72 or self.block_bits % 36:
            raise ValueError(
                f"block_bits must be a multiple of 36 from 72 up, got {self.block_bits}"
            )
        if self.num_iter < 1:
            raise ValueError(f"num_iter must be 1 or more, got {self.num_iter}")

    def plan(self, num_symbols: int, num_bits_per_symbol: int, target_rate: float) -> BlockPlan:
        """See ChannelCode.plan."""
        d_v, d_c = min(DEGREES, key=lambda d: abs(_rate(*d) - target_rate))
        rate = _rate(d_v, d_c)
        if abs(rate - target_rate) > _RATE_TOLERANCE:
            raise BudgetError(
                f"gallager has no code within {_RATE_TOLERANCE} of rate {target_rate:.3f}; it has "
                f"{', '.join(f'{_rate(*d):.3g}' for d in DEGREES)}"
            )
        coded = num_symbols * num_bits_per_symbol
        blocks = coded // self.block_bits
        info = blocks * self._message_bits(d_v, d_c) - _CRC_BITS
        if info < 8:
            raise BudgetError(
                f"{num_symbols} channel uses at {num_bits_per_symbol} bits a symbol hold {coded} coded bits, too few "
                f"for gallager's block of {self.block_bits}; raise cbr or lower block_bits"
            )
        return BlockPlan(info, _CRC_BITS, coded, blocks, num_bits_per_symbol, rate)

    def encode(self, bits: np.ndarray, plan: BlockPlan) -> np.ndarray:
        """See ChannelCode.encode."""
        _, generator = _matrices(self.block_bits, *self._degrees(plan))
        with_crc = np.concatenate([bits, _crc24a(bits)], axis=1)
        batch, size = len(bits), self._message_bits(*self._degrees(plan))
        message = np.zeros((batch * plan.num_code_blocks, generator.shape[1]), np.float32)
        message[:, :size] = with_crc.reshape(-1, size)
        words = (message @ generator.T.astype(np.float32)).astype(np.int64) & 1
        coded = np.zeros((batch, plan.coded_bits), np.uint8)
        coded[:, : plan.num_code_blocks * self.block_bits] = words.reshape(batch, -1)
        return coded

    def decode(self, llr: np.ndarray, plan: BlockPlan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ChannelCode.decode."""
        size = self._message_bits(*self._degrees(plan))
        used = llr[:, : plan.num_code_blocks * self.block_bits].reshape(-1, self.block_bits)
        words = self.decode_words(used, *self._degrees(plan))
        bits = words[:, :size].reshape(len(llr), -1)
        ok = (_crc24a(bits[:, :-_CRC_BITS]) == bits[:, -_CRC_BITS:]).all(axis=1)
        return bits[:, :-_CRC_BITS], ok, np.where(ok, plan.info_bits, 0).astype(np.int64)

    def decode_words(self, llr: np.ndarray, d_v: int, d_c: int) -> np.ndarray:
        """Belief propagation with pyldpc's message-passing kernel.

        ``pyldpc.decode`` goes on until every word of its batch has converged, so that a word's fate would depend on its
        neighbours; here each word leaves the batch with the iteration in which its syndrome is zero.

        Args:    llr [N, n], ln p(1)/p(0).
        Returns: [N, n] uint8.
        """
        words = np.empty(llr.shape, np.uint8)
        for start in range(0, len(llr), _CHUNK):
            rows = slice(start, start + _CHUNK)
            words[rows] = self._decode_chunk(llr[rows], (self.block_bits, d_v, d_c))
        return words

    def _decode_chunk(self, llr: np.ndarray, which: tuple[int, int, int]) -> np.ndarray:
        step, graph = _kernel(), _graph(*which)
        firsts = np.cumsum(graph[0]) - graph[0]  # of every check's edges
        prior = -np.clip(np.nan_to_num(llr.T.astype(np.float64)), -_MAX_LLR, _MAX_LLR)
        words = np.empty(prior.shape, np.uint8)  # [n, N]
        to_check = np.zeros((len(graph[0]), *prior.shape))
        to_bit = np.zeros_like(to_check)
        going = np.arange(prior.shape[1])  # the word of each column
        failing = np.ones(len(going), bool)
        for iteration in range(self.num_iter):
            to_check, to_bit, posterior = step(*graph, prior, to_check, to_bit, iteration)
            words[:, going[failing]] = posterior[:, failing] <= 0
            syndrome = np.bitwise_xor.reduceat(words[graph[1]][:, going], firsts, axis=0)
            failing = syndrome.any(axis=0)
            if not failing.any():
                break
            if failing.sum() <= len(failing) // 2:
                prior = np.ascontiguousarray(prior[:, failing])
                to_check, to_bit = (_kept(a, graph, failing) for a in (to_check, to_bit))
                going, failing = going[failing], np.ones(int(failing.sum()), bool)
        return words.T

    def error_rate(self, es_n0_db: np.ndarray, plan: BlockPlan) -> np.ndarray:
        """See ChannelCode.error_rate.

        Between measured SNRs log BLER is interpolated, beyond the last one it falls on with its last slope (cautious: a
        waterfall steepens). Blocks fail independently.

        Raises: MissingAssetError: if this block length, modulation and rate were never measured.
        """
        d_v, d_c = self._degrees(plan)
        name = curve_name(self.block_bits, self.num_iter, d_v, d_c, plan.num_bits_per_symbol)
        points = _counts().get(name)
        if not points:
            raise MissingAssetError(
                f"gallager has no measured error rates for {name}; run python -m baselines.gallager_measure "
                f"--block-bits {self.block_bits} --num-iter {self.num_iter}"
            )
        snr, errors, blocks = np.array(points, np.float64).T
        log_rate = np.minimum.accumulate(np.log((errors + 0.5) / (blocks + 1)))
        at = np.asarray(es_n0_db, np.float64)
        slope = min((log_rate[-1] - log_rate[-2]) / (snr[-1] - snr[-2]), -1e-3)
        beyond = log_rate[-1] + slope * np.maximum(at - snr[-1], 0)
        block_rate = np.exp(np.where(at > snr[-1], beyond, np.interp(at, snr, log_rate, left=0.0)))
        return -np.expm1(plan.num_code_blocks * np.log1p(-np.minimum(block_rate, 1 - 1e-12)))

    def _message_bits(self, d_v: int, d_c: int) -> int:
        return self.block_bits - self.block_bits * d_v // d_c

    @staticmethod
    def _degrees(plan: BlockPlan) -> tuple[int, int]:
        return min(DEGREES, key=lambda d: abs(_rate(*d) - plan.target_rate))


def curve_name(block_bits: int, num_iter: int, d_v: int, d_c: int, num_bits_per_symbol: int) -> str:
    """Key of one curve in the table of counts."""
    return f"n={block_bits} iter={num_iter} dv={d_v} dc={d_c} qm={num_bits_per_symbol}"


def _rate(d_v: int, d_c: int) -> float:
    return 1 - d_v / d_c


@cache
def _counts() -> dict[str, list[list[float]]]:
    """Curve -> [Es/N0 dB, block errors, blocks], rising in SNR."""
    if not COUNTS.exists():
        return {}
    return dict(json.loads(COUNTS.read_text(encoding="utf-8"))["curves"])


@lru_cache(maxsize=8)
def _matrices(block_bits: int, d_v: int, d_c: int) -> tuple[np.ndarray, np.ndarray]:
    """Parity checks [m, n] and the transposed systematic generator [n, k], message bits first."""
    check, generator = _pyldpc().make_ldpc(
        block_bits, d_v, d_c, systematic=True, sparse=True, seed=_SEED
    )
    return check, generator


@lru_cache(maxsize=8)
def _graph(block_bits: int, d_v: int, d_c: int) -> tuple[np.ndarray, ...]:
    """Edges as pyldpc's kernel takes them: bits per check, bit of each edge; checks per bit, check of each edge."""
    check, _ = _matrices(block_bits, d_v, d_c)
    by_check, by_bit = np.nonzero(check), np.nonzero(check.T)
    return np.bincount(by_check[0]), by_check[1], np.bincount(by_bit[0]), by_bit[1]


def _kept(messages: np.ndarray, graph: tuple[np.ndarray, ...], words: np.ndarray) -> np.ndarray:
    """The messages [m, n, N] of some words, copied along the graph's edges alone."""
    rows, columns = np.repeat(np.arange(len(graph[0])), graph[0]), graph[1]
    kept = np.zeros((*messages.shape[:2], int(words.sum())))
    kept[rows, columns] = messages[rows, columns][:, words]
    return kept


def _kernel() -> Any:
    """One iteration of pyldpc's log-domain belief propagation (its LLRs are ln p(0)/p(1))."""
    return _pyldpc().decoder._logbp_numba


def _pyldpc() -> Any:
    try:
        import pyldpc
    except ImportError as error:
        raise MissingAssetError(
            "the gallager channel code needs pyldpc, which is not installed; install linksim[gallager]"
        ) from error
    return pyldpc


@cache
def _crc_table() -> np.ndarray:
    """[256] uint32: remainder after one more byte."""
    table = np.arange(256, dtype=np.uint32) << 16
    for _ in range(8):
        table = np.where(table >> 23 & 1, table << 1 ^ _CRC_POLYNOMIAL, table << 1) & 0xFFFFFF
    return table.astype(np.uint32)


def _crc24a(bits: np.ndarray) -> np.ndarray:
    """CRC of each row, most significant bit first. Args: bits [N, A] uint8. Returns: [N, 24] uint8."""
    lead = 8 * math.ceil(bits.shape[1] / 8) - bits.shape[1]  # leading zeros change nothing
    state = np.zeros(len(bits), np.uint32)
    for column in np.packbits(np.pad(bits, ((0, 0), (lead, 0))), axis=1).T:
        state = (state << 8 & 0xFFFFFF) ^ _crc_table()[state >> 16 ^ column]
    return (state[:, None] >> np.arange(23, -1, -1, dtype=np.uint32) & 1).astype(np.uint8)
