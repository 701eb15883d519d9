"""The digital link beside Sionna's, one core each, in one run. Prints JSON.

    uv run python tests/benchmarks/bench_link.py [--smoke] [--bler]

- stages: information (decode, encode) or coded (map, demap) Mb per CPU second; median of interleaved rounds.
- link:   information bits in to bits out over AWGN, QPSK to 64-QAM: ours against Sionna's chain in graph mode.
- errors: block errors of every decoder on the same LLRs, beside its speed; with --bler also the eight settings
          of three SNRs each against boxplus-phi with 20 iterations.

CPU seconds, not wall seconds: they count the same on a machine that others use too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.update(
    LINKSIM_THREADS="1",
    OMP_NUM_THREADS="1",
    TF_CPP_MIN_LOG_LEVEL="3",
    CUDA_VISIBLE_DEVICES="-1",
    XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
)

import numpy as np
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

from sionna.phy.channel import AWGN  # noqa: E402
from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder  # noqa: E402
from sionna.phy.mapping import Demapper, Mapper  # noqa: E402

from linksim.phy.fast.decoder import decode_mother  # noqa: E402
from linksim.phy.fast.demap import demap  # noqa: E402
from linksim.phy.fast.encoder import encode_mother  # noqa: E402
from linksim.phy.fast.mapper import map_bits  # noqa: E402
from linksim.phy.ldpc5g import Ldpc5G  # noqa: E402

BATCH = 64  # of Sionna's blocks: the fastest for boxplus; boxplus-phi gains a tenth at 256
Stage = Callable[[], Any]


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

    def soft(self, llr: np.ndarray) -> np.ndarray:
        """[count, buffer] float32 from what was received."""
        soft = np.zeros((len(llr), self.buffer), np.float32)
        soft[:, self.fillers] = -1e3
        soft[:, self.positions] = llr
        return soft

    def decode(self, llr: np.ndarray, profile: Any = "fast") -> np.ndarray:
        """[count, k] uint8 from what was received; the filling of the buffer is part of it."""
        bits = decode_mother(self.soft(llr), self.bg, self.z, 20, profile, self.used)[0]
        return bits[:, : self.k]

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


def rates(stages: dict[str, Stage], megabits: float, rounds: int) -> dict[str, float]:
    """Mb per CPU second of each stage; one call of each in turn, ``rounds`` times, after a warm-up. Median."""
    seconds: dict[str, list[float]] = {name: [] for name in stages}
    for stage in stages.values():
        stage()
    for _ in range(rounds):
        for name, stage in stages.items():
            calls, start = 0, time.process_time()
            while time.process_time() - start < 0.05:  # the clock's grain must not show
                stage()
                calls += 1
            seconds[name].append((time.process_time() - start) / calls)
    return {name: megabits / statistics.median(taken) for name, taken in seconds.items()}


def ratios(measured: dict[str, float], ours: str) -> dict[str, float]:
    """How often faster ``ours`` is than each of the others."""
    return {name: measured[ours] / rate for name, rate in measured.items() if name != ours}


def decoding(k: int, n: int, num_bits: int, es_n0_db: float, count: int, rounds: int) -> dict:
    """Speed and block errors of all decoders on the same LLRs."""
    code = Code(k, n)
    bits = code.blocks(count, 1)
    llr = demap(*channel(map_bits(code.encode(bits), num_bits), es_n0_db, 2), num_bits)
    decoders: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "fast": code.decode,
        "quality": lambda soft: code.decode(soft, "quality"),
        "sionna boxplus-phi xla": code.sionna("boxplus-phi"),
        "sionna boxplus xla": code.sionna("boxplus"),
    }
    speed = rates(
        {name: lambda run=run: run(llr) for name, run in decoders.items()},  # type: ignore[misc]
        count * k / 1e6,
        rounds,
    )
    errors = {
        name: int((run(llr) != bits[:, :k]).any(axis=1).sum()) for name, run in decoders.items()
    }
    iterations = decode_mother(code.soft(llr), code.bg, code.z, 20, "fast", code.used)[2]
    return {
        "code": {"k": k, "n": n, "num_bits_per_symbol": num_bits, "es_n0_db": es_n0_db},
        "info_mb_per_s": speed,
        "ratio": ratios(speed, "fast"),
        "block_errors": {"blocks": count, **errors},
        "mean_iterations": float(iterations.mean()),
    }


def encoding(k: int, n: int, count: int, rounds: int) -> dict:
    """Speed of the encoders."""
    code = Code(k, n)
    bits = code.blocks(count, 1)
    info = bits[:, :k].astype(np.float32)
    run = tf.function(code.encoder, jit_compile=True)
    stages: dict[str, Stage] = {
        "fast": lambda: encode_mother(bits, code.bg, code.z),
        "fast, selected": lambda: code.encode(bits),
        "sionna xla": lambda: batched(run, info),
    }
    speed = rates(stages, count * k / 1e6, rounds)
    return {
        "code": {"k": k, "n": n},
        "info_mb_per_s": speed,
        "ratio": ratios(speed, "fast, selected"),
    }


def modulation(num_bits: int, symbols: int, rounds: int) -> dict:
    """Speed of mapper and demapper, in coded bits."""
    bits = np.random.default_rng(1).integers(0, 2, (BATCH, symbols * num_bits), np.uint8)
    x = map_bits(bits, num_bits)
    y, h, n0 = channel(x, 10.0, 2)
    mapper, demapper = Mapper("qam", num_bits), Demapper("app", "qam", num_bits)
    run_map = tf.function(mapper, jit_compile=True)
    run_demap = tf.function(demapper, jit_compile=True)
    floats, noise = tf.constant(bits, tf.float32), tf.constant(n0)
    maps = rates(
        {"fast": lambda: map_bits(bits, num_bits), "sionna xla": lambda: run_map(floats).numpy()},
        bits.size / 1e6,
        rounds,
    )
    demaps = rates(
        {
            "fast": lambda: demap(y, h, n0, num_bits),
            "sionna xla": lambda: run_demap(tf.constant(y), noise).numpy(),
        },
        bits.size / 1e6,
        rounds,
    )
    return {
        "num_bits_per_symbol": num_bits,
        "map_coded_mb_per_s": maps,
        "map_ratio": ratios(maps, "fast"),
        "demap_coded_mb_per_s": demaps,
        "demap_ratio": ratios(demaps, "fast"),
    }


def whole_link(
    symbols: int, num_bits: int, rate: float, es_n0_db: float, count: int, rounds: int
) -> dict:
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
    stages: dict[str, Stage] = {"fast": fast, "sionna graph": lambda: batched(chain, info)}
    speed = rates(stages, count * plan.info_bits / 1e6, rounds)
    decoded, ok = fast()
    return {
        "link": {"k": k, "n": n, "num_bits_per_symbol": num_bits, "es_n0_db": es_n0_db},
        "info_mb_per_s": speed,
        "ratio": ratios(speed, "fast"),
        "block_errors": {
            "blocks": count,
            "fast": int((decoded != bits).any(axis=1).sum()),
            "sionna graph": int((batched(chain, info) != info).any(axis=1).sum()),
        },
        "undetected": int(((decoded != bits).any(axis=1) & ok).sum()),
    }


# k, n, bits per symbol, three Es/N0 [dB] down the waterfall
BLER = [
    (1024, 3072, 2, (-1.3, -1.0, -0.7)),
    (1024, 2048, 2, (1.0, 1.3, 1.6)),
    (1024, 1536, 2, (2.9, 3.3, 3.7)),
    (1024, 2048, 4, (6.2, 6.6, 7.0)),
    (4096, 12288, 2, (-1.5, -1.3, -1.2)),
    (4096, 8192, 2, (0.9, 1.0, 1.15)),
    (4096, 6144, 2, (2.9, 3.05, 3.2)),
    (4096, 8192, 4, (6.0, 6.15, 6.3)),
]


def block_errors(count: int) -> list[dict]:
    """Block errors on the same LLRs: boxplus-phi with 20 flooding iterations against both profiles."""
    rows = []
    for k, n, num_bits, snrs in BLER:
        code = Code(k, n)
        oracle = code.sionna("boxplus-phi")
        for es_n0_db in snrs:
            wrong = {"sionna boxplus-phi": 0, "fast": 0, "quality": 0}
            total = count * 1024 // k // BATCH * BATCH
            bits = code.blocks(total, k + n)
            llr = demap(*channel(map_bits(code.encode(bits), num_bits), es_n0_db, 3), num_bits)
            for name, decoded in (
                ("sionna boxplus-phi", oracle(llr)),
                ("fast", code.decode(llr)),
                ("quality", code.decode(llr, "quality")),
            ):
                wrong[name] = int((decoded != bits[:, :k]).any(axis=1).sum())
            rows.append(
                {"k": k, "n": n, "num_bits_per_symbol": num_bits, "es_n0_db": es_n0_db}
                | {"blocks": total, **wrong}
            )
            print(rows[-1], file=sys.stderr)
    return rows


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a size that CI can afford")
    parser.add_argument("--bler", action="store_true", help="also count block errors (minutes)")
    options = parser.parse_args()
    rounds = 1 if options.smoke else 7
    codes = [(1024, 2048, 2, 1.6, 256)]
    links = [(1024, 2, 0.5, 1.8, 256)]
    orders = [2]
    if not options.smoke:
        codes += [(512, 1024, 2, 2.0, 256), (4096, 6144, 4, 8.95, 128), (8448, 16896, 2, 1.3, 64)]
        links += [(1024, 4, 0.5, 7.0, 256), (1024, 6, 0.5, 11.2, 256)]
        orders += [4, 6, 8]
    report: dict[str, Any] = {
        "machine": {"cpu": processor(), "python": platform.python_version(), "rounds": rounds},
        "decode": [decoding(*code, rounds) for code in codes],
        "encode": [encoding(k, n, count, rounds) for k, n, _, _, count in codes],
        "modem": [modulation(order, 1024, rounds) for order in orders],
        "link": [whole_link(*link, rounds) for link in links],
    }
    if options.bler:
        report["bler"] = block_errors(256 if options.smoke else 2048)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
