"""5G LDPC channel coding of whole transport blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

import numpy as np

from linksim.phy import combining, crc, thresholds
from linksim.phy import transport_block as tb
from linksim.types import BlockPlan

_FILLER_LLR = -1e3


@dataclass(frozen=True)
class Ldpc5G:
    """5G LDPC with transport-block CRC, segmentation, rate matching and repetition (3GPP TS 38.212).

        A bits -> CRC16/24A -> C code blocks, CRC24B each -> LDPC -> circular buffer, wrapped -> interleaver -> G bits

    A block is accepted when every CRC is right, whatever the decoder's syndrome says.

    Args:
      backend:   "fast" (numba, layered, early stop) or "sionna" (flooding, XLA).
      num_iter:  decoder iterations at most.
      profile:   of the fast decoder: "fast" (offset min-sum, 16-bit) or "quality" (exact check rule, float).
      cn_update: check-node rule of Sionna's decoder.
    """

    backend: Literal["fast", "sionna"] = "fast"
    num_iter: int = 20
    profile: Literal["fast", "quality"] = "fast"
    cn_update: Literal["boxplus-phi", "boxplus", "offset-minsum", "minsum"] = "boxplus-phi"

    def __post_init__(self) -> None:
        if not 1 <= self.num_iter <= 200:
            raise ValueError(f"num_iter must be 1..200, got {self.num_iter}")
        for name in ("backend", "profile", "cn_update"):
            allowed = get_args(get_type_hints(type(self))[name])
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")

    def _layout(self, plan: BlockPlan) -> tb.Layout:
        return tb.layout(
            plan.num_symbols, plan.num_bits_per_symbol, plan.target_rate, plan.info_bits
        )

    def plan(self, num_symbols: int, num_bits_per_symbol: int, target_rate: float) -> BlockPlan:
        """See ChannelCode.plan."""
        block = tb.layout(num_symbols, num_bits_per_symbol, target_rate)
        return BlockPlan(
            info_bits=block.info_bits,
            crc_bits=block.crc_bits,
            coded_bits=num_symbols * num_bits_per_symbol,
            num_code_blocks=block.num_code_blocks,
            num_bits_per_symbol=num_bits_per_symbol,
            target_rate=target_rate,
        )

    # ---------------------------------------------------------------------------------------------- transmitter

    def encode(self, bits: np.ndarray, plan: BlockPlan, rv: int = 0) -> np.ndarray:
        """See HybridCode.encode; rv: redundancy version 0..3, where in the circular buffer to begin."""
        if bits.shape[1:] != (plan.info_bits,):
            raise ValueError(f"bits must be [B, {plan.info_bits}], got {bits.shape}")
        block = self._layout(plan)
        pieces = crc.append(bits, block.crc)
        if block.num_code_blocks > 1:
            pieces = crc.append(pieces.reshape(len(bits) * block.num_code_blocks, -1), "24b")
        buffer = self._encode_blocks(pieces, block).reshape(len(bits), block.num_code_blocks, -1)
        rows = []
        for r, length in enumerate(block.lengths):
            sent = [buffer[:, r, part] for _, part in tb.walk(block, length, rv)]
            rows.append(tb.interleave(np.concatenate(sent, axis=1), block.num_bits_per_symbol))
        return np.concatenate(rows, axis=1)

    def _encode_blocks(self, pieces: np.ndarray, block: tb.Layout) -> np.ndarray:
        """[N, K'] -> [N, N_cb] uint8."""
        if self.backend == "sionna":
            from linksim.phy import sionna_blocks

            return sionna_blocks.encode_mother(pieces, block.base_graph)
        from linksim.phy.fast.encoder import encode_mother

        padded = np.zeros((len(pieces), block.mother_bits), np.uint8)
        padded[:, : block.block_bits] = pieces
        return encode_mother(padded, block.base_graph, block.z)

    # ------------------------------------------------------------------------------------------------- receiver

    def decode(
        self, llr: np.ndarray, plan: BlockPlan, rvs: Sequence[int] = (0,)
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See HybridCode.decode; LLRs of one bit of the buffer add up, whichever transmissions they come from."""
        coded = len(rvs) * plan.coded_bits
        if llr.shape[1:] != (coded,):
            raise ValueError(f"llr must be [B, {coded}], got {llr.shape}")
        block = self._layout(plan)
        batch, count = len(llr), block.num_code_blocks
        soft, extent = self._combine(llr, block, rvs)
        pieces = self._decode_blocks(soft, block, extent)
        heard = self._heard(pieces, soft, block)
        good_blocks = (heard & crc.check(pieces, "24b")) if count > 1 else heard
        good_blocks = good_blocks.reshape(batch, count)
        if count > 1:
            pieces = pieces[:, :-24]
        bits = pieces.reshape(batch, -1)
        ok = crc.check(bits, block.crc) & good_blocks.all(axis=1)
        if count > 1:
            leading = np.cumprod(good_blocks, axis=1).sum(axis=1) * pieces.shape[1]
        else:
            leading = np.zeros(batch, np.int64)
        good = np.where(ok, block.info_bits, np.minimum(leading, block.info_bits - 1))
        return bits[:, : block.info_bits], ok, good

    def _combine(
        self, llr: np.ndarray, block: tb.Layout, rvs: Sequence[int] = (0,)
    ) -> tuple[np.ndarray, int]:
        """Undo the interleaver and add up repeated bits, within a transmission and between them.

        Returns: [B C, N_cb] float32, the soft content of the circular buffers (0 where nothing was sent, a confident 0
                 bit at fillers), and the end of the stretch of it that was sent.
        """
        soft = np.zeros((len(llr), block.num_code_blocks, block.buffer_bits), np.float32)
        start = extent = 0
        for rv in rvs:
            for r, length in enumerate(block.lengths):
                sent = tb.deinterleave(llr[:, start : start + length], block.num_bits_per_symbol)
                for at, part in tb.walk(block, length, rv):
                    soft[:, r, part] += sent[:, at : at + part.stop - part.start]
                    extent = max(extent, part.stop)
                start += length
        low = block.block_bits - 2 * block.z
        soft[:, :, low : block.mother_bits - 2 * block.z] = _FILLER_LLR
        return soft.reshape(-1, block.buffer_bits), extent

    def _decode_blocks(self, soft: np.ndarray, block: tb.Layout, extent: int) -> np.ndarray:
        """[N, N_cb] -> [N, K'] uint8."""
        if self.backend == "sionna":
            from linksim.phy import sionna_blocks

            return sionna_blocks.decode_mother(
                soft, block.block_bits, block.base_graph, self.num_iter, self.cn_update, extent
            )
        from linksim.phy.fast.decoder import decode_mother

        bits, _, _ = decode_mother(
            soft, block.base_graph, block.z, self.num_iter, self.profile, extent
        )
        return bits[:, : block.block_bits]

    @staticmethod
    def _heard(pieces: np.ndarray, soft: np.ndarray, block: tb.Layout) -> np.ndarray:
        """Whether a block was received at all, rather than filled in with zeros.

        The all-zero word passes every CRC, and it is what a decoder makes of LLRs that are nearly zero: a deep fade. It
        is believed only where the LLRs speak for it. A bit that carries I nats of information has a mean LLR above I,
        and decoding takes K' ln 2 of them in all.

        Returns: [N] bool.
        """
        heard = pieces.any(axis=1)
        for row in np.flatnonzero(~heard):
            support = -sum(float(soft[row, a:b].sum(dtype=np.float64)) for a, b in tb.runs(block))
            heard[row] = support >= block.block_bits * np.log(2)
        return heard

    def error_rate(self, es_n0_db: np.ndarray, plan: BlockPlan) -> np.ndarray:
        """See ChannelCode.error_rate. Measured with the fast decoder and 20 iterations, whatever this one has."""
        return thresholds.transport_block_error_rate(es_n0_db, self._layout(plan))

    def combined_error_rate(
        self, es_n0_db: np.ndarray, plan: BlockPlan, rvs: Sequence[int]
    ) -> np.ndarray:
        """See HybridCode.combined_error_rate."""
        return combining.error_rate(es_n0_db, self._layout(plan), tuple(rvs))
