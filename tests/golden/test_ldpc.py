"""LDPC block error rates against published-tool counts: Sionna 1.2.2 on AWGN, no CRC, 20 iterations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact

from linksim.phy import modem
from linksim.phy import transport_block as tb
from linksim.phy.ldpc5g import Ldpc5G
from linksim.units import n0_from_es_n0_db

BATCH = 128

# Block errors / blocks of Sionna 1.2.2, boxplus-phi, flooding, 20 iterations, seeds 42 and 43; no bit interleaver.
# k, n, Qm, Es/N0 [dB], errors, blocks
QPSK = [(1024, 2048, 2, 1.0, 131, 256), (1024, 2048, 2, 1.2, 147, 768)]
COUNTS = [
    *QPSK,
    (1024, 2048, 2, 1.4, 282, 5376),
    (4096, 6144, 4, 8.65, 172, 256),
    (4096, 6144, 4, 8.8, 243, 768),
    (4096, 6144, 4, 8.95, 170, 2304),
]

# Es/N0 [dB] at block error rate 10 %, n = 6144, the same decoder, read to +-0.1 dB.
THRESHOLDS = [
    (2048, 2, -1.1),
    (3072, 2, 1.25),
    (4096, 2, 3.2),
    (3072, 4, 6.4),
    (4096, 4, 8.95),
    (3072, 6, 10.6),
]


def bare_code(k: int, n: int, order: int) -> tb.Layout:
    """One code block without a CRC, base graph and lifting as 38.212 has them for k."""
    graph = 2 if k <= 292 or (k <= 3824 and k / n <= 0.67) or k / n <= 0.25 else 1
    columns = 22 if graph == 1 else 10
    z = next(z for z in tb._LIFTING if columns * z >= k)
    return tb.Layout(k, "16", graph, 1, k, z, (n,), order)


def count(
    code: Ldpc5G, k: int, n: int, order: int, es_n0_db: float, blocks: int, interleaved: bool
) -> int:
    """Block errors."""
    block = bare_code(k, n, order)
    rng = np.random.default_rng(round(100 * es_n0_db) % 1000)
    n0 = n0_from_es_n0_db(es_n0_db)
    errors = 0
    for _ in range(blocks // BATCH):
        bits = rng.integers(0, 2, (BATCH, k), np.uint8)
        buffer = code._encode_blocks(bits, block)
        sent = np.concatenate([buffer[:, part] for _, part in tb.walk(block, n)], axis=1)
        x = modem.map_bits(tb.interleave(sent, order) if interleaved else sent, order)
        noise = rng.standard_normal((*x.shape, 2), np.float32) * np.float32(np.sqrt(n0 / 2))
        y = x + noise.view(np.complex64)[..., 0]
        llr = modem.demap(y, np.ones_like(x), np.full(x.shape, n0, np.float32), order)
        soft, extent = code._combine(llr if interleaved else tb.interleave(llr, order), block)
        errors += int((code._decode_blocks(soft, block, extent) != bits).any(axis=1).sum())
    return errors


@pytest.mark.parametrize(("k", "n", "order", "es_n0_db", "errors", "blocks"), COUNTS)
def test_fast_is_no_worse_than_the_reference_counts(k, n, order, es_n0_db, errors, blocks):
    mine = count(Ldpc5G(), k, n, order, es_n0_db, 640, interleaved=False)
    table = [[mine, 640 - mine], [errors, blocks - errors]]
    assert fisher_exact(table, alternative="greater").pvalue > 1e-4, table


@pytest.mark.parametrize(("k", "n", "order", "es_n0_db", "errors", "blocks"), QPSK)
def test_sionna_backend_meets_the_reference_counts(k, n, order, es_n0_db, errors, blocks):
    mine = count(Ldpc5G(backend="sionna"), k, n, order, es_n0_db, 256, interleaved=True)
    table = [[mine, 256 - mine], [errors, blocks - errors]]
    assert fisher_exact(table).pvalue > 1e-4, table


@pytest.mark.parametrize(("k", "order", "threshold_db"), THRESHOLDS)
def test_thresholds(k, order, threshold_db):
    """At most 0.2 dB above the flooding decoder's threshold, and not more below than layering explains.

    Layered scheduling and early stopping at 20 iterations gain 0.1 to 0.2 dB over 20 flooding iterations.
    """
    code = Ldpc5G()
    above = count(code, k, 6144, order, threshold_db + 0.2, 256, interleaved=True)
    below = count(code, k, 6144, order, threshold_db - 0.4, 256, interleaved=True)
    assert above < 0.1 * 256
    assert below > 0.1 * 256
