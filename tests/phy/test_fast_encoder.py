"""The numba LDPC encoder against Sionna's, bit for bit, and against the parity checks."""

from __future__ import annotations

import numpy as np
import pytest

from linksim.phy.fast.basegraph import LIFTING_SETS, base_graph
from linksim.phy.fast.encoder import encode_mother


def test_same_bits_as_sionna() -> None:
    tf = pytest.importorskip("tensorflow")
    from sionna.phy.fec.ldpc import LDPC5GEncoder

    rng = np.random.default_rng(1)
    # Both base graphs, every lifting set, with and without fillers; n as long as Sionna allows.
    cases = [(44, 128), (500, 1000), (1024, 2048), (3840, 7680), (330, 1000), (616, 1300)]
    cases += [(4096, 6144), (2640, 3300), (1100, 1300)]
    seen = set()
    for k, n in cases:
        oracle = LDPC5GEncoder(k, n)
        bg, z = (1 if oracle.k_ldpc == 22 * oracle.z else 2), int(oracle.z)
        seen.add((bg, next(i for i, sizes in enumerate(LIFTING_SETS) if z in sizes)))
        bits = np.zeros((3, (22 if bg == 1 else 10) * z), np.uint8)
        bits[:, :k] = rng.integers(0, 2, (3, k))
        expected = oracle(tf.constant(bits[:, :k], tf.float32)).numpy().astype(np.uint8)
        buffer = encode_mother(bits, bg, z)
        sent = np.delete(buffer, np.s_[k - 2 * z : bits.shape[1] - 2 * z], axis=1)[:, :n]
        assert np.array_equal(sent, expected), (k, n, bg, z)
    assert {bg for bg, _ in seen} == {1, 2}
    assert len({index for _, index in seen}) >= 5


@pytest.mark.parametrize("bg", [1, 2])
@pytest.mark.parametrize("sizes", LIFTING_SETS)
def test_every_check_is_met(bg: int, sizes: tuple[int, ...]) -> None:
    for z in (sizes[0], sizes[3], sizes[-1]):
        graph = base_graph(bg, z)
        bits = np.random.default_rng(z).integers(0, 2, (2, graph.num_info_columns * z), np.uint8)
        buffer = encode_mother(bits, bg, z)
        assert np.array_equal(buffer[:, : bits.shape[1] - 2 * z], bits[:, 2 * z :])
        word = np.concatenate([bits[:, : 2 * z], buffer], axis=1).reshape(2, -1, z)
        for r in range(len(graph.row_start) - 1):
            edges = slice(graph.row_start[r], graph.row_start[r + 1])
            terms = [
                np.roll(word[:, c], -s, axis=1)
                for c, s in zip(graph.column[edges], graph.shift[edges], strict=True)
            ]
            assert not np.bitwise_xor.reduce(terms).any(), (bg, z, r)


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="not a lifting size"):
        encode_mother(np.zeros((1, 22 * 17), np.uint8), 1, 17)
    with pytest.raises(ValueError, match=r"bits must be \[N, 220\]"):
        encode_mother(np.zeros((1, 100), np.uint8), 2, 22)
    assert encode_mother(np.zeros((0, 220), np.uint8), 2, 22).shape == (0, 1100)
