"""5G LDPC channel coding of whole transport blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from linksim.phy import crc, thresholds
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

    def encode(self, bits: np.ndarray, plan: BlockPlan) -> np.ndarray:
        """See ChannelCode.encode."""
        if bits.shape[1:] != (plan.info_bits,):
            raise ValueError(f"bits must be [B, {plan.info_bits}], got {bits.shape}")
        block = self._layout(plan)
        pieces = crc.append(bits, block.crc)
        if block.num_code_blocks > 1:
            pieces = crc.append(pieces.reshape(len(bits) * block.num_code_blocks, -1), "24b")
        sent = tb.selection(block)
        buffer = self._encode_blocks(pieces, block, sent)  # [B C, valid]: the buffer without fillers
        buffer = buffer.reshape(len(bits), block.num_code_blocks, -1)
        rows = []
        for r, length in enumerate(block.lengths):
            matched = buffer[:, r, np.arange(length) % len(sent)]
            rows.append(matched[:, tb.interleaver(length, block.num_bits_per_symbol)])
        return np.concatenate(rows, axis=1)

    def _encode_blocks(self, pieces: np.ndarray, block: tb.Layout, sent: np.ndarray) -> np.ndarray:
        if self.backend == "sionna":
            from linksim.phy import sionna_blocks

            return sionna_blocks.encode(pieces, len(sent), block.base_graph)
        from linksim.phy.fast.encoder import encode_mother

        padded = np.zeros((len(pieces), block.mother_bits), np.uint8)
        padded[:, : block.block_bits] = pieces
        return encode_mother(padded, block.base_graph, block.z)[:, sent]

    # ------------------------------------------------------------------------------------------------- receiver

    def decode(
        self, llr: np.ndarray, plan: BlockPlan
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ChannelCode.decode."""
        if llr.shape[1:] != (plan.coded_bits,):
            raise ValueError(f"llr must be [B, {plan.coded_bits}], got {llr.shape}")
        block = self._layout(plan)
        batch, count = len(llr), block.num_code_blocks
        soft = self._combine(llr, block)  # [B, C, valid]
        used = min(max(block.lengths), soft.shape[2])
        pieces = self._decode_blocks(soft.reshape(batch * count, -1), block, used)
        if count > 1:
            good_blocks = crc.check(pieces, "24b").reshape(batch, count)
            pieces = pieces[:, :-24]
        bits = pieces.reshape(batch, -1)
        ok = crc.check(bits, block.crc)
        if count == 1:
            leading = np.zeros(batch, np.int64)
        else:
            ok &= good_blocks.all(axis=1)
            leading = np.cumprod(good_blocks, axis=1).sum(axis=1) * pieces.shape[1]
        good = np.where(ok, block.info_bits, np.minimum(leading, block.info_bits - 1))
        return bits[:, : block.info_bits], ok, good

    def _combine(self, llr: np.ndarray, block: tb.Layout) -> np.ndarray:
        """Undo the interleaver and add up repeated bits. Returns: [B, C, valid] float32, in sending order."""
        valid = len(tb.selection(block))
        soft = np.zeros((len(llr), block.num_code_blocks, valid), np.float32)
        at = 0
        for r, length in enumerate(block.lengths):
            matched = np.empty((len(llr), length), np.float32)
            matched[:, tb.interleaver(length, block.num_bits_per_symbol)] = llr[:, at : at + length]
            at += length
            for start in range(0, length, valid):
                piece = matched[:, start : start + valid]
                soft[:, r, : piece.shape[1]] += piece
        return soft

    def _decode_blocks(self, soft: np.ndarray, block: tb.Layout, used: int) -> np.ndarray:
        """[N, valid] -> [N, K'] uint8."""
        if self.backend == "sionna":
            from linksim.phy import sionna_blocks

            return sionna_blocks.decode(
                # Sionna needs k <= n; positions that were not sent are zero LLRs.
                soft[:, : max(used, block.block_bits)],
                block.block_bits,
                block.base_graph,
                self.num_iter,
                self.cn_update,
            )
        from linksim.phy.fast.decoder import decode_mother

        sent = tb.selection(block)
        buffer = np.zeros((len(soft), block.buffer_bits), np.float32)
        buffer[:, block.block_bits - 2 * block.z : block.mother_bits - 2 * block.z] = _FILLER_LLR
        buffer[:, sent] = soft
        extent = int(sent[:used].max()) + 1
        bits, _, _ = decode_mother(
            buffer, block.base_graph, block.z, self.num_iter, self.profile, extent
        )
        return bits[:, : block.block_bits]

    def error_rate(self, es_n0_db: np.ndarray, plan: BlockPlan) -> np.ndarray:
        """See ChannelCode.error_rate: measured with the fast decoder, 20 iterations."""
        block = self._layout(plan)
        return thresholds.transport_block_error_rate(es_n0_db, block, plan.target_rate)
