"""Packet losses that a coded link makes: above packet/, since it needs phy/ and channel/."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from linksim import registry
from linksim.errors import BudgetError
from linksim.link import csi, guard
from linksim.phy import modem
from linksim.phy.mcs import TABLE
from linksim.seeds import FrameSeeds
from linksim.types import BlockPlan, Channel, ChannelCode
from linksim.units import n0_from_es_n0_db

_SYMBOLS_AT_ONCE = 1 << 20
_MAX_KEPT = 1 << 16  # frames whose losses are remembered


@dataclass(frozen=True)
class PhyLoss:
    """A coded link behind every packet: each is a transport block over a channel, and its CRC decides.

        packet of random bits -> CRC, LDPC -> QAM -> channel -> demapper, decoder -> CRC right: it arrives

    Every block is encoded, sent and decoded, so that losses have the statistics of the channel: independent ones over
    AWGN, those of the fade over fading, bursts where the fade lasts longer than a packet. The transmitter has one
    MCS and knows nothing of the fade.

    Args:
      es_n0_db:     mean Es/N0 of the link [dB].
      mcs:          index into ``linksim.phy.mcs.TABLE``.
      channel:      channel, by name or as a mapping with its parameters.
      packet_bytes: bytes of every packet (a network packet that is shorter counts as filled up).
      fading:       "packet": each packet meets a piece of the channel of its own, so that losses are independent;
                    "frame": the packets of an image follow each other in one stretch of the channel, and losses come
                    in bursts where its fade lasts. (Where a fade changes in steps, packets across a step meet two.)
      channel_code: channel code, likewise.
    """

    es_n0_db: float
    mcs: int
    channel: Any = "awgn"
    packet_bytes: int = 256
    fading: Literal["packet", "frame"] = "packet"
    channel_code: Any = "ldpc-5g"

    simulates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not math.isfinite(self.es_n0_db) or abs(self.es_n0_db) > 200:
            raise ValueError(f"es_n0_db must be within +-200 dB, got {self.es_n0_db}")
        if not 0 <= self.mcs < len(TABLE):
            raise ValueError(f"mcs must be an index 0..{len(TABLE) - 1}, got {self.mcs}")
        if not 3 <= self.packet_bytes <= 65535:
            raise ValueError(f"packet_bytes must be 3..65535, got {self.packet_bytes}")
        if self.fading not in ("packet", "frame"):
            raise ValueError(f"fading must be `packet` or `frame`, got {self.fading!r}")

    @classmethod
    def examples(cls, folder: Path) -> list[dict[str, Any]]:
        """See registry.examples."""
        small = {"packet_bytes": 16, "mcs": 10}  # 213 symbols
        slow = {"name": "rayleigh", "block_length": 426}
        return [
            {"es_n0_db": -0.5, **small},
            {"es_n0_db": 6.0, "channel": "rayleigh", **small},
            {"es_n0_db": 6.0, "channel": slow, "fading": "frame", **small},
        ]

    @cached_property
    def _channel(self) -> Channel:
        return registry.create("channels", self.channel)

    @cached_property
    def _code(self) -> ChannelCode:
        return registry.create("channel_codes", self.channel_code)

    @cached_property
    def _kept(self) -> dict[bytes, np.ndarray]:
        """Key of a frame's seed -> the losses of its first packets. Systems meet the same ones, simulated once."""
        return {}

    @cached_property
    def plan(self) -> BlockPlan:
        """The smallest block of this MCS that holds a packet. Raises BudgetError if there is none."""
        mcs, bits = TABLE[self.mcs], 8 * self.packet_bytes
        low, high = 1, 64 + int(2 * bits / mcs.efficiency)
        found: BlockPlan | None = None
        while low < high:  # blocks grow with the number of symbols
            middle = (low + high) // 2
            try:
                plan = self._code.plan(middle, mcs.num_bits_per_symbol, mcs.target_rate)
            except BudgetError:
                plan = None
            if plan is None or plan.info_bits < bits:
                low = middle + 1
            else:
                high, found = middle, plan
        if found is None:
            raise BudgetError(
                f"{mcs.name} makes no block for packets of {self.packet_bytes} bytes; choose another mcs"
            )
        return found

    @property
    def predicted_loss_rate(self) -> float:
        """The loss rate that AMC's measured error rates and draws of the fading law predict (no closed form)."""
        order = self.plan.num_bits_per_symbol
        snr_db = csi.law(self._channel, self.plan.num_symbols, self.es_n0_db, order)
        return float(self._code.error_rate(snr_db, self.plan).mean())

    def __call__(self, num_packets: Sequence[int], seed: FrameSeeds) -> list[np.ndarray]:
        """See types.ErasureProcess."""
        if len(num_packets) != len(seed):
            raise ValueError(f"{len(num_packets)} frames of packets but {len(seed)} seeds")
        kept = {one.key: self._kept.get(one.key, np.zeros(0, bool)) for one in seed}
        short = {
            one.key: (one, count)
            for one, count in zip(seed, num_packets, strict=True)
            if len(kept[one.key]) < count
        }
        if short:
            frames = FrameSeeds(tuple(one for one, _ in short.values()))
            counts = [count for _, count in short.values()]
            simulate = self._by_packet if self.fading == "packet" else self._by_frame
            known = [kept[one.key] for one in frames]
            kept |= {
                one.key: lost
                for one, lost in zip(frames, simulate(counts, known, frames), strict=True)
            }
            if len(self._kept) > _MAX_KEPT:
                self._kept.clear()
            self._kept.update(kept)
        return [kept[one.key][:count] for one, count in zip(seed, num_packets, strict=True)]

    def _by_packet(
        self, counts: list[int], known: list[np.ndarray], seed: FrameSeeds
    ) -> list[np.ndarray]:
        """Packets behind those known, each with a channel of its own. Returns: per frame [P_b] bool."""
        places = [(b, p) for b, n in enumerate(counts) for p in range(len(known[b]), n)]
        lost = [
            np.concatenate([old, np.zeros(n - len(old), bool)])
            for n, old in zip(counts, known, strict=True)
        ]
        step = max(1, _SYMBOLS_AT_ONCE // self.plan.num_symbols)
        for start in range(0, len(places), step):
            part = places[start : start + step]
            seeds = FrameSeeds(tuple(seed[b].child("erasure", "packet", p) for b, p in part))
            bits, x = self._blocks(seeds)
            received = guard.send(self._channel, x, n0_from_es_n0_db(self.es_n0_db), seeds)
            for (b, p), gone in zip(part, self._lost(bits, *received.full()), strict=True):
                lost[b][p] = gone
        return lost

    def _by_frame(
        self, counts: list[int], known: list[np.ndarray], seed: FrameSeeds
    ) -> list[np.ndarray]:
        """The packets of a frame behind each other on one channel. Returns: per frame [P_b] bool."""
        lost = []
        size = self.plan.num_symbols
        for one, count in zip(seed, counts, strict=True):
            own = FrameSeeds((one.child("erasure"),))
            seeds = FrameSeeds(tuple(one.child("erasure", "packet", p) for p in range(count)))
            bits, x = self._blocks(seeds)
            n0 = n0_from_es_n0_db(self.es_n0_db)
            received = guard.send(self._channel, x.reshape(1, -1), n0, own)
            lost.append(self._lost(bits, *(part.reshape(count, size) for part in received.full())))
        return lost

    def _blocks(self, seeds: FrameSeeds) -> tuple[np.ndarray, np.ndarray]:
        """Random payloads and their symbols. Returns: [N, A] uint8, [N, S] complex64."""
        size = self.plan.info_bits
        octets = [s.child("payload").generator().bytes(-(-size // 8)) for s in seeds]
        bits = np.unpackbits(
            np.frombuffer(b"".join(octets), np.uint8).reshape(len(seeds), -1), axis=1
        )
        bits = np.ascontiguousarray(bits[:, :size])
        coded = self._code.encode(bits, self.plan)
        return bits, modem.map_bits(coded, self.plan.num_bits_per_symbol)

    def _lost(self, bits: np.ndarray, y: np.ndarray, h: np.ndarray, n0: np.ndarray) -> np.ndarray:
        """Whether the CRCs refuse each block. Returns: [N] bool."""
        llr = modem.demap(y, h, n0, self.plan.num_bits_per_symbol)
        return ~self._code.decode(llr, self.plan)[1]
