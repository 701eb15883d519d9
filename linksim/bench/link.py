"""The digital link beside Sionna's, one core each.

Stages in information (encode, decode) or coded (map, demap) Mb per CPU second; the whole chain from information bits to
information bits over AWGN; block errors of the decoders on the same LLRs, beside their speed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from sionna.phy.channel import AWGN
from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
from sionna.phy.mapping import Demapper, Mapper

from linksim.bench.measure import interleaved, rates
from linksim.phy.fast.decoder import decode_mother
from linksim.phy.fast.demap import demap
from linksim.phy.fast.encoder import encode_mother
from linksim.phy.fast.mapper import map_bits
from linksim.phy.ldpc5g import Ldpc5G

BATCH = 64  # of Sionna's blocks: the fastest that was found

# k, n, bits per symbol, Es/N0 [dB], blocks
CODES = (
    (1024, 2048, 2, 1.6, 256),
    (512, 1024, 2, 2.0, 256),
    (4096, 6144, 4, 8.95, 128),
    (8448, 16896, 2, 1.3, 64),
)
# symbols, bits per symbol, rate, Es/N0 [dB], frames
LINKS = ((1024, 2, 1 / 2, 1.8, 256), (1024, 4, 1 / 2, 7.0, 256), (1024, 6, 2 / 3, 14.2, 256))
QAM = {2: "QPSK", 4: "16-QAM", 6: "64-QAM", 8: "256-QAM"}


class Code:
    """One LDPC code in both implementations, with the buffer positions that are sent."""

    def __init__(self, k: int, n: int) -> None:
        self.k, self.n = k, n
        self.encoder = LDPC5GEncoder(k, n)
        self.z = int(self.encoder.z)
        self.bg = 1 if self.encoder.k_ldpc == 22 * self.z else 2
        self.padded = (22 if self.bg == 1 else 10) * self.z
        self.buffer = (66 if self.bg == 1 else 50) * self.z
        self.fillers = np.s_[k - 2 * self.z : self.padded - 2 * self.z]
        self.positions = np.delete(np.arange(self.buffer), self.fillers)[:n]
        self.used = int(self.positions.max()) + 1

    def blocks(self, count: int, seed: int) -> np.ndarray:
        """[count, padded] uint8, random, fillers zero."""
        bits = np.zeros((count, self.padded), np.uint8)
        bits[:, : self.k] = np.random.default_rng(seed).integers(0, 2, (count, self.k))
        return bits

    def encode(self, bits: np.ndarray) -> np.ndarray:
        """[count, n] uint8."""
        return encode_mother(bits, self.bg, self.z)[:, self.positions]

    def decode(self, llr: np.ndarray, profile: Any = "fast") -> np.ndarray:
        """[count, k] uint8 from what was received; the filling of the buffer is part of it."""
        soft = np.zeros((len(llr), self.buffer), np.float32)
        soft[:, self.fillers] = -1e3
        soft[:, self.positions] = llr
        return decode_mother(soft, self.bg, self.z, 20, profile, self.used)[0][:, : self.k]

    def sionna(self, cn_update: str) -> Callable[[np.ndarray], np.ndarray]:
        """Sionna's decoder under XLA, flooding, 20 iterations."""
        decoder = LDPC5GDecoder(self.encoder, num_iter=20, cn_update=cn_update, hard_out=True)
        run = tf.function(decoder, jit_compile=True, reduce_retracing=True)
        return lambda llr: batched(run, llr).astype(np.uint8)


def batched(run: Callable, array: np.ndarray) -> np.ndarray:
    """``run`` on BATCH rows at a time."""
    parts = [run(tf.constant(array[i : i + BATCH])) for i in range(0, len(array), BATCH)]
    return np.concatenate([part.numpy() for part in parts])


def channel(x: np.ndarray, es_n0_db: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """AWGN. Returns: y, h, n0, each as x."""
    n0 = 10 ** (-es_n0_db / 10)
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((*x.shape, 2), np.float32).view(np.complex64)[..., 0]
    y = x + np.float32(np.sqrt(n0 / 2)) * noise
    return y, np.ones_like(x), np.full(x.shape, n0, np.float32)


def rows(smoke: bool) -> list[dict[str, Any]]:
    """The section's rows."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rounds, few = (1, 1) if smoke else (7, None)
    found = []
    for code in CODES[:few]:
        found += encoding(*code, rounds=rounds)
    for order in (2, 4, 6, 8)[:few]:
        found += modulation(order, rounds)
    for code in CODES[:few]:
        found += decoding(*code, rounds=rounds)
    for link in LINKS[:few]:
        found += whole_link(*link, rounds=rounds)
    return found


def encoding(
    k: int, n: int, num_bits: int, es_n0_db: float, count: int, *, rounds: int
) -> list[dict[str, Any]]:
    """Speed of the encoders."""
    code = Code(k, n)
    bits = code.blocks(count, 1)
    info = bits[:, :k].astype(np.float32)
    run = tf.function(code.encoder, jit_compile=True)
    seconds = interleaved(
        {"linksim": lambda: code.encode(bits), "Sionna, XLA": lambda: batched(run, info)}, rounds
    )
    return rates(f"encode, k={k} n={n}", "info Mb/s", count * k / 1e6, seconds)


def modulation(num_bits: int, rounds: int) -> list[dict[str, Any]]:
    """Speed of mapper and exact APP demapper."""
    bits = np.random.default_rng(1).integers(0, 2, (BATCH, 1024 * num_bits), np.uint8)
    x = map_bits(bits, num_bits)
    y, h, n0 = channel(x, 10.0, 2)
    run_map = tf.function(Mapper("qam", num_bits), jit_compile=True)
    run_demap = tf.function(Demapper("app", "qam", num_bits), jit_compile=True)
    floats, noise = tf.constant(bits, tf.float32), tf.constant(n0)
    maps = interleaved(
        {
            "linksim": lambda: map_bits(bits, num_bits),
            "Sionna, XLA": lambda: run_map(floats).numpy(),
        },
        rounds,
    )
    demaps = interleaved(
        {
            "linksim": lambda: demap(y, h, n0, num_bits),
            "Sionna, XLA": lambda: run_demap(tf.constant(y), noise).numpy(),
        },
        rounds,
    )
    amount = bits.size / 1e6
    return [
        *rates(f"map, {QAM[num_bits]}", "coded Mb/s", amount, maps),
        *rates(f"demap, {QAM[num_bits]}", "coded Mb/s", amount, demaps),
    ]


def decoding(
    k: int, n: int, num_bits: int, es_n0_db: float, count: int, *, rounds: int
) -> list[dict[str, Any]]:
    """Speed and block errors of the decoders on the same LLRs."""
    code = Code(k, n)
    bits = code.blocks(count, 1)
    llr = demap(*channel(map_bits(code.encode(bits), num_bits), es_n0_db, 2), num_bits)
    decoders: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "linksim": code.decode,
        "linksim, quality": lambda soft: code.decode(soft, "quality"),
        "Sionna boxplus-phi, XLA": code.sionna("boxplus-phi"),
        "Sionna boxplus, XLA": code.sionna("boxplus"),
    }
    seconds = interleaved(
        {name: lambda run=run: run(llr) for name, run in decoders.items()},  # type: ignore[misc]
        rounds,
    )
    errors = {
        name: int((run(llr) != bits[:, :k]).any(axis=1).sum()) for name, run in decoders.items()
    }
    what = f"decode, k={k} n={n} {QAM[num_bits]} {es_n0_db:g} dB"
    found = rates(what, "info Mb/s", count * k / 1e6, seconds)
    for line in found:
        line["block_errors"] = {"blocks": count} | {
            name: errors[name] for name in ("linksim", line["reference"])
        }
    return found


def whole_link(
    symbols: int, num_bits: int, rate: float, es_n0_db: float, count: int, *, rounds: int
) -> list[dict[str, Any]]:
    """Information bits in to bits out: ours with CRC and the 38.212 interleaver, Sionna's blocks in one graph."""
    ours = Ldpc5G()
    plan = ours.plan(symbols, num_bits, rate)
    k, n = plan.info_bits + plan.crc_bits, plan.coded_bits
    bits = np.random.default_rng(1).integers(0, 2, (count, plan.info_bits), np.uint8)

    def fast() -> tuple[np.ndarray, np.ndarray]:
        x = map_bits(ours.encode(bits, plan), num_bits)
        decoded, ok, _ = ours.decode(demap(*channel(x, es_n0_db, 2), num_bits), plan)
        return decoded, ok

    encoder = LDPC5GEncoder(k, n, num_bits_per_symbol=num_bits)
    mapper, demapper, awgn = Mapper("qam", num_bits), Demapper("app", "qam", num_bits), AWGN()
    decoder = LDPC5GDecoder(encoder, num_iter=20, hard_out=True)  # boxplus-phi
    n0 = tf.constant(10 ** (-es_n0_db / 10), tf.float32)

    @tf.function
    def chain(info: tf.Tensor) -> tf.Tensor:
        return decoder(demapper(awgn(mapper(encoder(info)), n0), n0))

    info = np.random.default_rng(1).integers(0, 2, (count, k)).astype(np.float32)
    seconds = interleaved(
        {"linksim": fast, "Sionna's chain, graph mode": lambda: batched(chain, info)}, rounds
    )
    decoded, ok = fast()
    wrong = (decoded != bits).any(axis=1)
    theirs = (batched(chain, info) != info).any(axis=1)
    return rates(
        f"whole link, {QAM[num_bits]} R={rate:.3g} k={k} {es_n0_db:g} dB",
        "info Mb/s",
        count * plan.info_bits / 1e6,
        seconds,
        block_errors={
            "blocks": count,
            "linksim": int(wrong.sum()),
            "Sionna's chain, graph mode": int(theirs.sum()),
            "undetected": int((wrong & ok).sum()),
        },
    )
