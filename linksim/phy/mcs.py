"""Modulation and coding schemes: 3GPP TS 38.214, table 5.1.3.1-1, with low-rate and 256-QAM entries.

The table is the union, by spectral efficiency, of
  - the QPSK entries of table 5.1.3.1-3 below the first one of table 5.1.3.1-1 (so that -4 dB and less can be served),
  - table 5.1.3.1-1, whole (QPSK to 64-QAM),
  - the 256-QAM entries of table 5.1.3.1-2.
"""

from __future__ import annotations

from dataclasses import dataclass

MODULATION = {2: "qpsk", 4: "16qam", 6: "64qam", 8: "256qam"}

_LOW = [(2, r) for r in (30, 40, 50, 64, 78, 99)]
_QPSK = [(2, r) for r in (120, 157, 193, 251, 308, 379, 449, 526, 602, 679)]
_QAM16 = [(4, r) for r in (340, 378, 434, 490, 553, 616, 658)]
_QAM64 = [(6, r) for r in (438, 466, 517, 567, 616, 666, 719, 772, 822, 873, 910, 948)]
_QAM256 = [(8, r) for r in (682.5, 711, 754, 797, 841, 885, 916.5, 948)]


@dataclass(frozen=True)
class Mcs:
    """One entry.

    Args:
      index:               position in TABLE.
      name:                e.g. "16qam-340/1024".
      num_bits_per_symbol: Qm: 2, 4, 6 or 8.
      target_rate:         R, information bits per coded bit.
    """

    index: int
    name: str
    num_bits_per_symbol: int
    target_rate: float

    @property
    def efficiency(self) -> float:
        """Information bits per complex channel use, Qm R."""
        return self.num_bits_per_symbol * self.target_rate


def _table() -> tuple[Mcs, ...]:
    entries = sorted(_LOW + _QPSK + _QAM16 + _QAM64 + _QAM256, key=lambda e: (e[0] * e[1], e[0]))
    return tuple(
        Mcs(i, f"{MODULATION[qm]}-{rate:g}/1024", qm, rate / 1024)
        for i, (qm, rate) in enumerate(entries)
    )


TABLE: tuple[Mcs, ...] = _table()
