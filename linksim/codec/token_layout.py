"""Which token travels in which packet, and what may predict it: derived at both ends from a few numbers.

A picture's tokens lie on a grid of positions, up to S residual stages at each. A layout says how many stages each
position gets, deals positions to packets and packets to descriptions, and puts positions into rounds::

    positions --interleave--> packets 0 .. N-1 --round robin--> descriptions 0 .. D-1 --> rounds

Inside a description packets follow each other, and each is coded given all earlier ones of its description; inside a
packet the rounds grow (1 : 2 : 4), each given the earlier ones. So D = N is intra-slice coding (every packet decodes
alone), D = 1 layered coding (best compression, and a loss takes all later packets with it), 2..5 multiple description.

With ``base`` every packet decodes alone and its body begins with the first stages of its positions, which a prefix of
the body gives: the base layer, which the link protects (``linksim.packet.base_layer``).

Grids beyond 16 x 16 positions are cut into tiles; what predicts a token lies in its own tile, which bounds the work
for pictures of any size.

Source: ResiComp (Wang et al., 2502.10812) for the context modes; M2T (Mentzer et al., 2304.07313) for rounds on
quantised low-discrepancy sequences; Roberts (2018), "R2", for the sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import isqrt
from typing import Literal, get_args

import numpy as np

from linksim.model.ntc_config import STRIDE

Interleave = Literal["raster", "checker", "random"]
INTERLEAVES: tuple[Interleave, ...] = get_args(Interleave)
STAGES = 8  # S
MAX_PACKETS = 255
MAX_POSITIONS = 1 << 14  # a picture of 2048 x 2048
TILE = 16  # most positions of a tile's side
_R2 = (3242174889, 2447445414)  # 2^32 / g and 2^32 / g^2 with g^3 = g + 1


@dataclass(frozen=True)
class Layout:
    """What both ends agree on about one picture's packets.

    Args:
      rows, columns: positions of the grid, one for 16 x 16 pixels.
      packets:       N.
      interleave:    positions of a packet: "raster" (neighbouring), "checker" (a lattice, as far apart as can be) or
                     "random" (a low-discrepancy sequence).
      descriptions:  D, 1..N.
      tokens:        T, of the whole picture: floor(T / positions) stages everywhere, and one more at some.
      stages:        S, most tokens of a position.
      sent:          0: every position is sent. Otherwise only so many, which the prior chooses as it goes
                     (``linksim.codec.token_coder``): semantic compression, with descriptions = 1.
      rounds:        most rounds inside a packet.
      base:          stages of every position that come first in their body, with descriptions = packets; 0: none do.
    Raises: ValueError: with one line that says what would do.
    """

    rows: int
    columns: int
    packets: int = 10
    interleave: Interleave = "random"
    descriptions: int = 10
    tokens: int = 128
    stages: int = STAGES
    sent: int = 0
    rounds: int = 3
    base: int = 0

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1 or self.rows * self.columns > MAX_POSITIONS:
            raise ValueError(
                f"a grid has 1..{MAX_POSITIONS} positions, got {self.rows} x {self.columns}"
            )
        if self.interleave not in INTERLEAVES:
            raise ValueError(
                f"interleave must be one of {', '.join(INTERLEAVES)}, got {self.interleave!r}"
            )
        if not 0 <= self.sent <= self.positions:
            raise ValueError(f"sent must be 0..{self.positions} positions, got {self.sent}")
        most = min(MAX_PACKETS, self.filled)
        if not 1 <= self.packets <= most:
            raise ValueError(
                f"packets must be 1..{most} for {self.filled} positions, got {self.packets}"
            )
        if not 1 <= self.descriptions <= self.packets:
            raise ValueError(f"descriptions must be 1..{self.packets}, got {self.descriptions}")
        if self.sent and self.descriptions != 1:
            raise ValueError(
                f"a choice of positions needs descriptions: 1, got {self.descriptions}"
            )
        if self.stages < 1 or self.rounds < 1:
            raise ValueError(
                f"stages and rounds must be at least 1, got {self.stages} and {self.rounds}"
            )
        if not 0 <= self.base < self.stages:
            raise ValueError(f"base must be 0..{self.stages - 1} stages, got {self.base}")
        if self.base and (self.descriptions != self.packets or self.sent):
            raise ValueError(
                f"a base layer needs packets that each decode alone and all positions, got {self.descriptions} "
                f"descriptions of {self.packets} packets and {self.filled} positions"
            )
        if not self.least <= self.tokens <= self.most:
            raise ValueError(
                f"tokens must be {self.least}..{self.most} for {self.packets} packets of {self.filled} "
                f"positions with {self.stages} stages, got {self.tokens}"
            )

    @property
    def positions(self) -> int:
        """Of the grid."""
        return self.rows * self.columns

    @property
    def filled(self) -> int:
        """Positions that tokens may be sent for."""
        return self.sent or self.positions

    @property
    def least(self) -> int:
        """Fewest tokens: one in every packet; where the prior chooses positions, one at each of these."""
        return self.sent or max(self.packets, self.base * self.positions)

    @property
    def told(self) -> int:
        """Stages of a position that the tables of other positions go by."""
        return self.base or self.stages

    @property
    def most(self) -> int:
        """Most tokens."""
        return self.filled * self.stages

    def description(self, packet: int) -> int:
        """Which description a packet belongs to."""
        return packet % self.descriptions

    def context(self, packet: int) -> range:
        """The packets without which this one cannot be read."""
        return range(packet % self.descriptions, packet, self.descriptions)

    def rank(self, packet: int) -> int:
        """How many packets come before it in its description: 0 for those on which most depends."""
        return packet // self.descriptions

    def decodable(self, arrived: np.ndarray) -> np.ndarray:
        """Which packets can be read. Args: arrived [N] bool. Returns: [N] bool."""
        found = np.asarray(arrived, bool).copy()
        for p in range(self.descriptions, self.packets):
            found[p] &= found[p - self.descriptions]
        return found

    @cached_property
    def order(self) -> np.ndarray:
        """Positions packet by packet, each packet's dispersed. [positions] int64; not where the prior chooses."""
        return _order(self.rows, self.columns, self.packets, self.interleave)

    @cached_property
    def packet_of(self) -> np.ndarray:
        """Packet of each position. [positions] int64."""
        found = np.empty(self.positions, np.int64)
        found[self.order] = shares(self.positions, self.packets)
        return found

    @cached_property
    def depth(self) -> np.ndarray:
        """How many stages each position is sent with, extra ones dealt to the packets in turn. [positions] int64."""
        whole, extra = divmod(self.tokens, self.positions)
        place = np.empty(self.positions, np.int64)  # in its packet
        packet = self.packet_of[self.order]
        place[self.order] = np.arange(self.positions) - np.searchsorted(packet, packet)
        first = np.lexsort((self.packet_of, place))[:extra]
        found = np.full(self.positions, whole, np.int64)
        found[first] += 1
        return found

    @cached_property
    def round_of(self) -> np.ndarray:
        """Round of each position in its description, -1 where none is sent. [positions] int64."""
        found = np.full(self.positions, -1, np.int64)
        tile = tiles(self.rows, self.columns)
        for p in range(self.packets):
            mine = self.order[(self.packet_of[self.order] == p) & (self.depth[self.order] > 0)]
            for t in np.unique(tile[mine]):
                part = mine[tile[mine] == t]
                found[part] = self.rounds * self.rank(p) + self.steps(len(part))
        return found

    def steps(self, count: int) -> np.ndarray:
        """Round inside a packet of each of ``count`` positions in their order: 1 : 2 : 4 of them. [count] int64."""
        levels = min(self.rounds, max(count, 1).bit_length())
        ends = [-(-count * ((2 << r) - 1) // ((1 << levels) - 1)) for r in range(levels)]
        return np.searchsorted(np.array(ends), np.arange(count), side="right")


def shares(count: int, parts: int) -> np.ndarray:
    """Which of ``parts`` nearly equal runs each of ``count`` things falls into. [count] int64."""
    return np.arange(count) * parts // max(count, 1)


def padded(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the grid of a picture: its sides are padded to multiples of 16 pixels."""
    return -(-height // STRIDE), -(-width // STRIDE)


@lru_cache(maxsize=64)
def dispersed(rows: int, columns: int) -> np.ndarray:
    """All positions in an order whose every run is spread evenly over the grid. Integers alone. [positions] int64."""
    total = rows * columns
    found = np.zeros(0, np.int64)
    tried = 4 * total
    while len(found) < total and tried <= 64 * total:
        k = np.arange(tried, dtype=np.uint64)
        x, y = (
            ((k * np.uint64(step) + np.uint64(1 << 31)) & np.uint64(0xFFFFFFFF)) for step in _R2
        )
        cell = (y * np.uint64(rows) >> np.uint64(32)) * np.uint64(columns)
        cell = (cell + (x * np.uint64(columns) >> np.uint64(32))).astype(np.int64)
        _, first = np.unique(cell, return_index=True)
        found = cell[np.sort(first)]
        tried *= 4
    left = np.setdiff1d(np.arange(total), found)
    order = np.concatenate([found, left])
    order.setflags(write=False)
    return order


@lru_cache(maxsize=64)
def tiles(rows: int, columns: int) -> np.ndarray:
    """Tile of each position, tiles of about equal size. [positions] int64."""
    down, across = -(-rows // TILE), -(-columns // TILE)
    found = shares(rows, down)[:, None] * across + shares(columns, across)[None]
    found = found.reshape(-1)
    found.setflags(write=False)
    return found


@lru_cache(maxsize=64)
def _lattice(packets: int) -> int:
    """a for which the positions with equal (column + a row) mod N are furthest apart."""
    reach = isqrt(2 * packets) + 1
    y, x = (v.reshape(-1) for v in np.mgrid[0 : reach + 1, -reach : reach + 1])
    near = (y > 0) | (x > 0)
    y, x = y[near], x[near]

    def nearest(a: int) -> int:
        same = (x + a * y) % packets == 0
        return int((x * x + y * y)[same].min(initial=2 * reach * reach))

    return max(range(packets), key=nearest)


@lru_cache(maxsize=256)
def _order(rows: int, columns: int, packets: int, interleave: Interleave) -> np.ndarray:
    total = rows * columns
    spread = dispersed(rows, columns)
    if interleave == "random":
        by_packet = spread
    elif interleave == "raster":
        by_packet = np.arange(total)
    else:
        y, x = np.divmod(np.arange(total), columns)
        by_packet = np.argsort((x + _lattice(packets) * y) % packets, kind="stable")
    packet = np.empty(total, np.int64)
    packet[by_packet] = shares(total, packets)
    order = spread[np.argsort(packet[spread], kind="stable")]
    order.setflags(write=False)
    return order
