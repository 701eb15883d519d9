"""The layered decoder: it corrects, as well as Sionna's on the same LLRs, and each block by itself."""

from __future__ import annotations

import numpy as np
import pytest

from linksim.phy.fast.decoder import decode_mother
from linksim.phy.fast.encoder import encode_mother

PROFILES = ["fast", "quality"]
FILLER = -1e3


def blocks(
    k: int, n: int, bg: int, z: int, es_n0_db: float, count: int, seed: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """QPSK over AWGN. Returns: bits [N, K], sent LLRs [N, n], buffer LLRs [N, Ncw], positions used of the buffer."""
    rng = np.random.default_rng(seed)
    bits = np.zeros((count, (22 if bg == 1 else 10) * z), np.uint8)
    bits[:, :k] = rng.integers(0, 2, (count, k))
    buffer = encode_mother(bits, bg, z)
    fillers = np.s_[k - 2 * z : bits.shape[1] - 2 * z]
    positions = np.delete(np.arange(buffer.shape[1]), fillers)[:n]
    n0 = 10 ** (-es_n0_db / 10)
    y = (1 - 2.0 * buffer[:, positions]) / np.sqrt(2) + rng.normal(size=(count, n)) * np.sqrt(
        n0 / 2
    )
    sent = (-2 * np.sqrt(2) * y / n0).astype(np.float32)
    soft = np.zeros(buffer.shape, np.float32)
    soft[:, fillers] = FILLER
    soft[:, positions] = sent
    return bits, sent, soft, int(positions.max()) + 1


# (k, n, bg, z, Es/N0 dB): 1 dB or more above the threshold; z of many sizes, not whole vectors, and fillers.
CODES = [
    (20, 60, 2, 2, 6.0),
    (40, 120, 2, 7, 4.0),
    (100, 300, 2, 18, 3.0),
    (330, 660, 1, 15, 4.0),
    (1024, 2048, 2, 104, 2.6),
    (1024, 5120, 2, 104, -3.0),
    (4096, 6144, 1, 192, 4.4),
    (8448, 25344, 1, 384, 0.0),
]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("k", "n", "bg", "z", "es_n0_db"), CODES)
def test_corrects_noise(k: int, n: int, bg: int, z: int, es_n0_db: float, profile: str) -> None:
    bits, _, soft, used = blocks(k, n, bg, z, es_n0_db, 24)
    assert ((soft > 0) != (encode_mother(bits, bg, z) > 0))[
        :, : k - 2 * z
    ].any()  # there are errors
    decoded, ok, iterations = decode_mother(soft, bg, z, 20, profile, used)
    assert ok.all() and np.array_equal(decoded, bits)
    assert iterations.min() >= 1 and iterations.max() <= 20
    assert np.array_equal(decode_mother(soft, bg, z, 20, profile)[0], bits)  # without the extent


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("k", "n", "bg", "z", "es_n0_db"), [(100, 250, 2, 18, 0.6), (1024, 2048, 2, 104, 1.2)]
)
def test_a_block_depends_on_itself_alone(
    k: int, n: int, bg: int, z: int, es_n0_db: float, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, soft, used = blocks(k, n, bg, z, es_n0_db, 120)
    monkeypatch.setenv("LINKSIM_THREADS", "1")
    expected = decode_mother(soft, bg, z, 20, profile, used)
    assert 0 < expected[1].sum() < 120  # failures and successes, so that lanes are refilled
    order = np.random.default_rng(2).permutation(120)
    shuffled = decode_mother(soft[order], bg, z, 20, profile, used)
    alone = [decode_mother(soft[i : i + 1], bg, z, 20, profile, used) for i in range(12)]
    monkeypatch.setenv("LINKSIM_THREADS", "3")
    threaded = decode_mother(soft, bg, z, 20, profile, used)
    for i in range(3):
        assert np.array_equal(shuffled[i], expected[i][order])
        assert np.array_equal(threaded[i], expected[i])
        assert np.array_equal(np.concatenate([one[i] for one in alone]), expected[i][:12])


def test_no_more_block_errors_than_sionna() -> None:
    """QPSK (1024, 2048) at 1.4 dB, about 5 % of the blocks lost; profile quality clearly better."""
    tf = pytest.importorskip("tensorflow")
    from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder

    bits, sent, soft, used = blocks(1024, 2048, 2, 104, 1.4, 768)
    encoder = LDPC5GEncoder(1024, 2048)
    assert int(encoder.z) == 104
    oracle = LDPC5GDecoder(encoder, num_iter=20, cn_update="boxplus-phi", hard_out=True)
    run = tf.function(oracle, jit_compile=True)
    theirs = np.concatenate([run(tf.constant(part)).numpy() for part in np.split(sent, 6)])
    errors = (theirs != bits[:, :1024]).any(axis=1).sum()
    fast, ok, _ = decode_mother(soft, 2, 104, 20, "fast", used)
    fast_wrong = (fast != bits).any(axis=1)
    quality_wrong = (decode_mother(soft, 2, 104, 20, "quality", used)[0] != bits).any(axis=1)
    assert 20 <= errors <= 80
    assert fast_wrong.sum() <= errors
    assert quality_wrong.sum() < fast_wrong.sum()
    assert np.array_equal(ok, ~fast_wrong)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("bg", "z"), [(1, 2), (1, 36), (2, 5), (2, 112)])
def test_strange_llrs(bg: int, z: int, profile: str) -> None:
    rng = np.random.default_rng(3)
    width = (66 if bg == 1 else 50) * z
    bits = rng.integers(0, 2, (1, (22 if bg == 1 else 10) * z), np.uint8)
    clean = np.where(encode_mother(bits, bg, z) == 1, 1e30, -np.inf).astype(np.float32)
    garbage = rng.normal(size=(1, width)).astype(np.float32) * 100
    partly = clean.copy()
    partly[0, 5] = np.nan
    soft = np.concatenate(
        [clean, garbage, np.full((1, width), np.nan, np.float32), np.zeros((1, width), np.float32), partly]
    )  # fmt: skip
    decoded, ok, iterations = decode_mother(soft, bg, z, 20, profile)
    assert ok.tolist() == [True, False, False, False, False]
    assert np.array_equal(decoded[0], bits[0])
    assert decoded.max() <= 1 and iterations.max() <= 20
    # Nothing received must not look like the all-zero word, whose CRC is right.
    assert decoded[2].any() and decoded[3].any()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"llr must be \[N, 1100\]"):
        decode_mother(np.zeros((1, 5), np.float32), 2, 22)
    with pytest.raises(ValueError, match="num_iter"):
        decode_mother(np.zeros((1, 1100), np.float32), 2, 22, 0)
    with pytest.raises(ValueError, match="profile"):
        decode_mother(np.zeros((1, 1100), np.float32), 2, 22, 20, "best")  # type: ignore[arg-type]
    assert decode_mother(np.zeros((0, 1100), np.float32), 2, 22)[0].shape == (0, 220)
