"""Block errors of the decoders on the same LLRs, three Es/N0 down each of eight waterfalls.

Ours (fast and quality profile, at most 20 layered iterations) against Sionna's boxplus-phi (flooding, 20 iterations).
Beside each point stands ours with the same blocks and the same noise 0.05 dB further up: what "equal" may cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from linksim.bench.link import BATCH, QAM, Code, channel
from linksim.phy.fast.demap import demap
from linksim.phy.fast.mapper import map_bits

# k, n, bits per symbol, three Es/N0 [dB] down the waterfall
WATERFALLS = (
    (1024, 3072, 2, (-1.3, -1.0, -0.7)),
    (1024, 2048, 2, (1.0, 1.3, 1.6)),
    (1024, 1536, 2, (2.9, 3.3, 3.7)),
    (1024, 2048, 4, (6.2, 6.6, 7.0)),
    (4096, 12288, 2, (-1.5, -1.3, -1.2)),
    (4096, 8192, 2, (0.9, 1.0, 1.15)),
    (4096, 6144, 2, (2.9, 3.05, 3.2)),
    (4096, 8192, 4, (6.0, 6.15, 6.3)),
)
POINTS = tuple((k, n, m, snr) for k, n, m, snrs in WATERFALLS for snr in snrs)
SHIFT_DB = 0.05
_TURN = 2 * BATCH  # blocks between two looks at the count


def measure(
    points: Sequence[tuple[int, int, int, float]],
    *,
    errors: int = 100,
    bits: int = 8 << 20,
    progress: Callable[[str], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """One row a point, as it is done.

    Args:
      points: (k, n, bits per symbol, Es/N0 [dB]).
      errors: of Sionna's decoder that end a point ...
      bits:   ... or so many information bits.
    """
    for k, n, num_bits, es_n0_db in points:
        code = Code(k, n)
        oracle = code.sionna("boxplus-phi")
        blocks, wrong = 0, dict.fromkeys(("sionna", "fast", "quality", "fast_shifted"), 0)
        while wrong["sionna"] < errors and blocks * k < bits:
            info = code.blocks(_TURN, k + n + blocks)
            x = map_bits(code.encode(info), num_bits)
            llr = demap(*channel(x, es_n0_db, 1 + blocks), num_bits)
            up = demap(*channel(x, es_n0_db + SHIFT_DB, 1 + blocks), num_bits)
            for name, found in (
                ("sionna", oracle(llr)),
                ("fast", code.decode(llr)),
                ("quality", code.decode(llr, "quality")),
                ("fast_shifted", code.decode(up)),
            ):
                wrong[name] += int((found != info[:, :k]).any(axis=1).sum())
            blocks += _TURN
        row = {
            "k": k,
            "n": n,
            "modulation": QAM[num_bits],
            "es_n0_db": es_n0_db,
            "blocks": blocks,
            **wrong,
            "not_worse": wrong["fast_shifted"] <= wrong["sionna"],
        }
        if progress is not None:
            progress(str(row))
        yield row
