"""The resource grid: what of a slot carries data, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Grid:
    """A slot of OFDM symbols, with pilots on a lattice (Kronecker) and a cyclic prefix.

    A frame is a row of slots. Data fill each slot in a fixed order, whatever the frame's length: first the subcarriers
    between the pilots, then the other OFDM symbols by time, each by frequency. Of a last slot that is not full only the
    OFDM symbols that carry something are sent: its pilot symbols, all of them, and as many others as the data need.

    One complex channel use is one complex sample of the occupied band: an OFDM symbol costs ``num_subcarriers`` (guard
    and DC among them) plus ``cyclic_prefix`` uses. A sample of the prefix has the power of any other.

    Args:
      num_subcarriers: of an OFDM symbol, guards and DC included.
      num_symbols:     OFDM symbols of a slot.
      spacing_khz:     subcarrier spacing, kHz.
      cyclic_prefix:   samples at the rate num_subcarriers * spacing; 5 of 72 is the normal prefix of TS 38.211, 5.3.1.
      pilot_symbols:   OFDM symbols that hold pilots, from 0; none only for a receiver with perfect CSI.
      pilot_spacing:   in these, every so many active subcarriers are a pilot, the others data (1: all are pilots).
      guard:           subcarriers left empty at the lower and at the upper edge.
      dc_null:         leave the middle subcarrier empty.
    """

    num_subcarriers: int = 72
    num_symbols: int = 14
    spacing_khz: float = 15.0
    cyclic_prefix: int = 5
    pilot_symbols: tuple[int, ...] = (2, 11)
    pilot_spacing: int = 2
    guard: tuple[int, int] = (0, 0)
    dc_null: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("num_subcarriers", 1),
            ("num_symbols", 1),
            ("cyclic_prefix", 0),
            ("pilot_spacing", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.spacing_khz < 1e6:
            raise ValueError(f"spacing_khz must be in 0..1e6 kHz, got {self.spacing_khz}")
        pilots = self.pilot_symbols
        if list(pilots) != sorted(set(pilots)) or any(
            not 0 <= p < self.num_symbols for p in pilots
        ):
            raise ValueError(
                f"pilot_symbols must be different OFDM symbols 0..{self.num_symbols - 1} in order, "
                f"got {list(pilots)}"
            )
        if min(self.guard) < 0 or self.num_active < 1:
            raise ValueError(
                f"guard {list(self.guard)} and DC leave {self.num_active} of {self.num_subcarriers} subcarriers"
            )
        if self.num_data < 1:
            raise ValueError(
                "the pilots leave no subcarrier for data; widen pilot_spacing or take fewer pilot_symbols"
            )

    # -------------------------------------------------------------------------------------------- what is where

    @cached_property
    def active(self) -> np.ndarray:
        """Subcarriers that carry something. Returns: [A] int64, ascending."""
        used = np.arange(self.guard[0], self.num_subcarriers - self.guard[1])
        return used[used != self.num_subcarriers // 2] if self.dc_null else used

    @property
    def num_active(self) -> int:
        """A, subcarriers that carry something."""
        return len(self.active)

    @cached_property
    def pilot_subcarriers(self) -> np.ndarray:
        """[Pf] int64, the same in each pilot symbol."""
        return self.active[:: self.pilot_spacing]

    @cached_property
    def pilot_index(self) -> np.ndarray:
        """Places of the pilots in a slot, time first. Returns: [Pt Pf] int64 into the flat [T F]."""
        times = np.asarray(self.pilot_symbols, np.int64)[:, None]
        return (times * self.num_subcarriers + self.pilot_subcarriers).reshape(-1)

    @cached_property
    def data_index(self) -> np.ndarray:
        """Places of the data in a slot, in the order in which they are filled. Returns: [D] int64 into [T F]."""
        between = np.setdiff1d(self.active, self.pilot_subcarriers)
        first = set(self.pilot_symbols)
        rows = [(t, between) for t in self.pilot_symbols]
        rows += [(t, self.active) for t in range(self.num_symbols) if t not in first]
        return np.concatenate([t * self.num_subcarriers + row for t, row in rows])

    @cached_property
    def pilots(self) -> np.ndarray:
        """What is sent on the pilots: scrambled QPSK, the same in every slot. Returns: [Pt Pf] complex64."""
        number = np.arange(2 * len(self.pilot_index), dtype=np.uint64)
        number = (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        number ^= number >> np.uint64(29)
        number *= np.uint64(0xBF58476D1CE4E5B9)
        axes = np.where((number >> np.uint64(63)) == 0, 1.0, -1.0).astype(np.float32)
        return (axes * np.float32(np.sqrt(0.5))).view(np.complex64)

    # --------------------------------------------------------------------------------------------- what it costs

    @property
    def num_data(self) -> int:
        """D, data symbols of a whole slot."""
        return self.num_active * self.num_symbols - len(self.pilot_index)

    @property
    def symbol_uses(self) -> int:
        """Channel uses of one OFDM symbol, prefix included."""
        return self.num_subcarriers + self.cyclic_prefix

    @property
    def slot_uses(self) -> int:
        """Channel uses of a whole slot."""
        return self.num_symbols * self.symbol_uses

    @property
    def _between_pilots(self) -> int:
        """Data symbols of a slot that lie in its pilot symbols."""
        return len(self.pilot_symbols) * self.num_active - len(self.pilot_index)

    def num_slots(self, data: int) -> int:
        """Slots that ``data`` symbols need, a begun one included."""
        return -(-data // self.num_data)

    def total_uses(self, data: int) -> int:
        """Channel uses that ``data`` symbols take: whole OFDM symbols, with pilots, prefix and guards."""
        whole, rest = divmod(data, self.num_data)
        if not rest:
            return whole * self.slot_uses
        more = -(-max(rest - self._between_pilots, 0) // self.num_active)
        return whole * self.slot_uses + (len(self.pilot_symbols) + more) * self.symbol_uses

    def data_uses(self, total: int) -> int:
        """The most data symbols whose ``total_uses`` are at most ``total``."""
        whole, rest = divmod(total, self.slot_uses)
        others = rest // self.symbol_uses - len(self.pilot_symbols)
        extra = self._between_pilots + others * self.num_active if others >= 0 else 0
        return whole * self.num_data + extra

    # --------------------------------------------------------------------------------------------- time and band

    @property
    def sample_s(self) -> float:
        """Length of a sample, s."""
        return 1 / (self.num_subcarriers * self.spacing_khz * 1e3)

    @property
    def prefix_s(self) -> float:
        """Length of the cyclic prefix, s."""
        return self.cyclic_prefix * self.sample_s

    @property
    def symbol_s(self) -> float:
        """Length of an OFDM symbol with its prefix, s."""
        return self.symbol_uses * self.sample_s

    @cached_property
    def frequencies(self) -> np.ndarray:
        """[F] float64, Hz from the middle of the band."""
        index = np.arange(self.num_subcarriers) - self.num_subcarriers // 2
        return index * self.spacing_khz * 1e3

    # ---------------------------------------------------------------------------------------------- in and out

    def place(self, x: np.ndarray) -> np.ndarray:
        """Data and pilots on the grid; what the data do not fill stays empty.

        Args:    x [B, S] complex64.
        Returns: [B, N, T, F] complex64, N slots.
        """
        slots = self.num_slots(x.shape[1])
        cells = np.zeros((len(x), slots, self.num_symbols * self.num_subcarriers), np.complex64)
        padded = np.zeros((len(x), slots * self.num_data), np.complex64)
        padded[:, : x.shape[1]] = x
        cells[:, :, self.data_index] = padded.reshape(len(x), slots, self.num_data)
        cells[:, :, self.pilot_index] = self.pilots
        return cells.reshape(len(x), slots, self.num_symbols, self.num_subcarriers)

    def data_of(self, cells: np.ndarray, num_symbols: int) -> np.ndarray:
        """The data of a grid, in sending order. Args: cells [B, N, T, F]. Returns: [B, S]."""
        flat = cells.reshape(*cells.shape[:2], -1)[:, :, self.data_index]
        return np.ascontiguousarray(flat.reshape(len(cells), -1)[:, :num_symbols])
