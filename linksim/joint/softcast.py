"""SoftCast: a picture's DCT coefficients, scaled and sent as they are.

    image -> colour planes -> DCT -> largest variances first -> g_i ~ lambda_i^(-1/4) -> interleaver [-> Hadamard] -> x
               |                                    |
               +-> means, spectrum model -----------+-> side information (bits)
    y -> LLSE with h, n0 and the model -> inverse DCT -> image

Source: Jakubczak & Katabi, "A cross-layer design for scalable mobile video", MobiCom 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from linksim.errors import BudgetError
from linksim.joint import side as side_info
from linksim.joint import spectrum
from linksim.joint.side import Side
from linksim.seeds import Seed
from linksim.types import (
    Decoded,
    Delivered,
    Packet,
    Packets,
    Payload,
    Received,
    Status,
    Symbols,
    TxKnowledge,
)

# Orthonormal opponent colours: an error in a plane is the same error in RGB. Nearly the KLT of photographs' colours.
PLANES = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
_SAMPLES_PER_USE = (
    4096  # a use is worth at most this many samples: keeps a forged size from taking memory
)
_REFINE_SAMPLES = 6144  # one refinement per so many samples: best on 192x192 to 512x512 photographs
_REFINE_FROM = 3 * 160 * 160
_SORT_STEPS = 64  # lambda is compared in steps of 2^(1/64), so that rounding cannot change the order at one end


@dataclass(frozen=True)
class SoftCast:
    """SoftCast-style linear transmission: block DCT, power allocation, no training.

    Two coefficients make a complex symbol. Which are sent, and with what power, follows from a model of the spectrum
    (linksim.joint.spectrum) whose parameters are the side information: at 128x128 six bytes.

    Args:
      allocation: "softcast" is the paper's, lambda^(-1/4), which needs no SNR at the sender; "mmse" is the optimum of a
                  linear system at the believed SNR (weak coefficients get nothing), which is sent along (3 bits).
      whitening:  Hadamard transform over so many real symbols (a power of 2 up to 64; 1: none). It spreads every
                  coefficient over several fading blocks; without fading it changes nothing.
      refined:    how many octave cells of the spectrum get a correction of their own (3 bits each); by default one per
                  6,144 samples from 160x160 on, none below.
    """

    # deviates: the paper sends one variance per 44x30 chunk of the DCT of several frames; for small single pictures
    # these would take half of the budget, and the parametric model comes within 0.5 dB of free variances per octave.

    allocation: Literal["softcast", "mmse"] = "softcast"
    whitening: int = 1
    refined: int | None = None

    def __post_init__(self) -> None:
        if self.allocation not in ("softcast", "mmse"):
            raise ValueError(f"allocation must be softcast or mmse, got {self.allocation!r}")
        if self.whitening not in (1, 2, 4, 8, 16, 32, 64):
            raise ValueError(f"whitening must be a power of 2 in 1..64, got {self.whitening}")
        if self.refined is not None and self.refined < 0:
            raise ValueError(f"refined must be at least 0, got {self.refined}")

    def _num_refined(self, height: int, width: int) -> int:
        wanted = self.refined
        if wanted is None:
            samples = 3 * height * width
            wanted = samples // _REFINE_SAMPLES if samples >= _REFINE_FROM else 0
        return min(wanted, spectrum.num_cells(height, width))

    def min_uses(self, height: int, width: int) -> int:
        """See Joint.min_uses."""
        return max(2, -(-3 * height * width // _SAMPLES_PER_USE))

    def side_bits(self, height: int, width: int) -> int:
        """See Joint.side_bits; every picture of a size takes exactly these."""
        refined = self._num_refined(height, width)
        return side_info.num_bits(height, width, refined, self.allocation == "mmse")

    def encode(
        self, images: np.ndarray, uses: np.ndarray, tx: TxKnowledge, side_bits: int | None = None
    ) -> Payload:
        """See Joint.encode. All frames of a batch get min(uses) symbols, or as many as the picture has samples for."""
        batch, height, width = images.shape[:3]
        least = int(np.min(uses)) if batch else 0
        if batch and least < self.min_uses(height, width):
            raise BudgetError(
                f"softcast needs {self.min_uses(height, width)} uses for {height}x{width}, got {least}"
            )
        samples = 3 * height * width
        num_symbols = min(least, -(-samples // 2))
        planes = np.einsum("bhwc,pc->bphw", images.astype(np.float64), PLANES)
        means = side_info.quantise_means(planes.mean((2, 3)))
        snr = side_info.quantise_snr(tx.snr_amc_db) if self.allocation == "mmse" else None
        blank = Side(height, width, means, np.zeros(batch, np.int64), _no_shape(batch), snr)
        coefficients = _dct(planes - blank.mean_values()[:, :, None, None])
        energy = coefficients**2
        shape = spectrum.fit(energy, self._num_refined(height, width))
        told = Side(height, width, means, blank.level, shape, snr)
        told = self._with_level(told, energy, num_symbols)

        chosen, g, _ = self._gains(told, num_symbols)
        sent = np.take_along_axis(coefficients.reshape(batch, samples), chosen, axis=1) * g
        reals = np.zeros((batch, 2 * num_symbols))
        reals[:, _interleaver(2 * num_symbols)[: sent.shape[1]]] = sent
        reals = self._whiten(reals)
        power = (reals**2).sum(axis=1, keepdims=True)
        silent = power[:, 0] < 1e-12 * max(num_symbols, 1)
        reals[silent] = np.sqrt(0.5)  # a flat picture has nothing to send, and must send something
        power[silent] = num_symbols
        reals *= np.sqrt(num_symbols / power)
        x = np.ascontiguousarray(reals.astype(np.float32)).view(np.complex64)
        packets = Packets(tuple((Packet(data, kind="side"),) for data in side_info.pack(told)))
        return Payload(packets, Symbols(x, np.full(batch, num_symbols, np.int64)))

    def _with_level(self, told: Side, energy: np.ndarray, num_symbols: int) -> Side:
        """The level at which the model's power is the frame's, so that the receiver knows the scale of what it gets."""
        batch = len(energy)
        flat = energy.reshape(batch, -1)
        log2 = spectrum.relative(told.shape, told.height, told.width)
        log2[:, :, 0, 0] = -np.inf
        weight = np.exp2(log2)  # a first guess: equal energy
        level = np.log2(
            np.maximum(energy.sum((1, 2, 3)), 1e-30) / np.maximum(weight.sum((1, 2, 3)), 1e-30)
        )
        for _ in range(4):
            trial = Side(
                told.height,
                told.width,
                told.means,
                np.maximum(spectrum.quantise_level(level), 1),
                told.shape,
                told.snr,
            )
            chosen, g, variance = self._gains(trial, num_symbols)
            real = (np.take_along_axis(flat, chosen, axis=1) * g**2).sum(1)
            model = (variance * g**2).sum(1)
            level = spectrum.level_of(trial.level) + np.log2(np.maximum(real, 1e-30) / model)
        code = spectrum.quantise_level(level)
        return Side(told.height, told.width, told.means, code, told.shape, told.snr)

    def _gains(self, told: Side, num_symbols: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What both ends derive from the side information.

        Returns: indices of the coefficients sent, largest variance first, their gains g (with power num_symbols by the
                 model) and their variances; each [B, K].
        """
        batch, height, width = len(told.level), told.height, told.width
        log2 = spectrum.relative(told.shape, height, width)
        log2 += spectrum.level_of(told.level)[:, None, None, None]
        log2[:, :, 0, 0] = np.log2(height * width * np.array(side_info.MEAN_STEP) ** 2 / 12)
        steps = np.rint(log2.reshape(batch, -1) * _SORT_STEPS)
        steps = np.clip(steps, -32767, 32767).astype(np.int16)  # sorted by radix
        count = min(2 * num_symbols, steps.shape[1])
        chosen = np.argsort(-steps, axis=1, kind="stable")[:, :count]
        variance = np.exp2(np.take_along_axis(steps, chosen, axis=1) / _SORT_STEPS)
        if self.allocation == "softcast":
            g = variance**-0.25
            g *= np.sqrt(num_symbols / np.sqrt(variance).sum(1, keepdims=True))
            return chosen, g, variance
        noise = 0.5 * 10 ** (-told.snr_db() / 10)[:, None]
        return chosen, np.sqrt(_water(variance, noise, num_symbols) / variance), variance

    def _whiten(self, reals: np.ndarray) -> np.ndarray:
        """Hadamard transform (its own inverse) of whole blocks. Args: [B, 2S]."""
        if self.whitening == 1:
            return reals
        whole = reals.shape[1] // self.whitening * self.whitening
        blocks = reals[:, :whole].reshape(len(reals), -1, self.whitening) @ _hadamard(
            self.whitening
        )
        return np.concatenate([blocks.reshape(len(reals), whole), reals[:, whole:]], axis=1)

    def decode(self, delivered: Delivered) -> Decoded:
        """See Joint.decode. No picture without side information; symbols that are not finite count as not received."""
        symbols = delivered.symbols
        if symbols is None:
            return Decoded((None,) * len(delivered), (Status.FAILED,) * len(delivered))
        images: list[np.ndarray | None] = []
        status: list[Status] = []
        for b in range(len(symbols.y)):
            told = self._told(delivered, b)
            row, complete = _real_channel(symbols, b)
            if told is None:
                images.append(None)
                status.append(Status.FAILED)
                continue
            images.append(self._picture(told, row))
            status.append(Status.OK if complete else Status.CONCEALED)
        return Decoded(tuple(images), tuple(status))

    def _told(self, delivered: Delivered, b: int) -> Side | None:
        """The side information of a frame, if it arrived whole and has the form of one."""
        packets = delivered.packets[b] if b < len(delivered.packets) else ()
        ok = delivered.ok[b] if b < len(delivered.ok) else ()
        if len(packets) != 1 or len(ok) != 1 or not ok[0]:
            return None
        size = side_info.read_size(packets[0])
        assert delivered.symbols is not None
        if size is None or delivered.symbols.y.shape[1] < self.min_uses(*size):
            return None  # before anything of that size is made
        return side_info.unpack(packets[0], self._num_refined(*size), self.allocation == "mmse")

    def _picture(self, told: Side, row: np.ndarray) -> np.ndarray:
        """The LLSE estimate. Args: row [3, 2S], received values, gains and noise powers per real symbol."""
        height, width = told.height, told.width
        samples = 3 * height * width
        num_symbols = min(row.shape[1] // 2, -(-samples // 2))
        y, a, noise = row[:, : 2 * num_symbols]
        coefficients = np.zeros(samples)
        if int(told.level[0]) != spectrum.FLAT:
            chosen, g, variance = (part[0] for part in self._gains(told, num_symbols))
            place = _interleaver(2 * num_symbols)[: len(chosen)]
            prior = np.zeros(2 * num_symbols)  # variance of what was sent, before whitening
            prior[place] = variance * g**2
            sent = self._llse(y, a, noise, prior)[place]
            coefficients[chosen] = np.divide(sent, g, out=np.zeros_like(sent), where=g > 0)
        planes = _idct(coefficients.reshape(3, height, width))
        planes += told.mean_values()[0][:, None, None]
        rgb = np.einsum("phw,pc->hwc", planes, PLANES)
        return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)

    def _llse(
        self, y: np.ndarray, a: np.ndarray, noise: np.ndarray, prior: np.ndarray
    ) -> np.ndarray:
        """E[s | y] for y = a (H s) + w, s of variances ``prior``. Args: all [2S]. Returns: [2S]."""
        power = a**2 * prior + noise
        single = np.divide(prior * a * y, power, out=np.zeros_like(y), where=power > 0)
        size = self.whitening
        whole = len(y) // size * size
        if size == 1 or whole == 0:
            return single
        mix, gain, own = (v[:whole].reshape(-1, size) for v in (y, a, prior))
        matrix = gain[:, :, None] * _hadamard(size) * own[:, None, :]  # A Lambda, A = diag(a) H
        covariance = np.einsum("nij,nkj->nik", matrix, gain[:, :, None] * _hadamard(size))
        floor = noise[:whole].reshape(-1, size) + 1e-9
        covariance[:, np.arange(size), np.arange(size)] += floor
        weights = np.linalg.solve(covariance, mix[..., None])
        return np.concatenate([(matrix.transpose(0, 2, 1) @ weights).ravel(), single[whole:]])


def _no_shape(batch: int) -> spectrum.Shape:
    zero = np.zeros(batch, np.int64)
    return spectrum.Shape(zero, zero, zero, zero, np.zeros((batch, 0), np.int64))


def _dct(planes: np.ndarray) -> np.ndarray:
    from scipy.fft import dctn

    return dctn(planes, axes=(-2, -1), norm="ortho")


def _idct(coefficients: np.ndarray) -> np.ndarray:
    from scipy.fft import idctn

    return idctn(coefficients, axes=(-2, -1), norm="ortho")


def _water(variance: np.ndarray, noise: np.ndarray, power: float) -> np.ndarray:
    """Powers p_i that make sum variance / (1 + p_i / noise) least at sum p_i = power.

    p_i = max(0, k sqrt(variance_i) - noise). Args: variance [B, K], falling; noise [B, 1]. Returns: [B, K].
    """
    root = np.sqrt(variance)
    active = np.arange(1, variance.shape[1] + 1)
    k = (power + active * noise) / np.cumsum(root, axis=1)
    last = np.maximum((k * root > noise).sum(axis=1, keepdims=True) - 1, 0)
    return np.maximum(np.take_along_axis(k, last, axis=1) * root - noise, 0.0)


@lru_cache(maxsize=8)
def _interleaver(length: int) -> np.ndarray:
    """A fixed permutation, so that a deep fade does not take all large coefficients."""
    return Seed.root(0).child("softcast interleaver").generator().permutation(length)


@lru_cache(maxsize=8)
def _hadamard(size: int) -> np.ndarray:
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix / np.sqrt(size)


def _real_channel(symbols: Received, b: int) -> tuple[np.ndarray, bool]:
    """Frame b as real symbols behind real gains.

    Returns: [3, 2S] float64: y, gain >= 0 and noise power of each real symbol; and whether all were finite.
    """
    one = Received(symbols.y[b : b + 1], *_rows(symbols, b))
    y, h, n0 = (part[0] for part in one.full())
    y, h = y.astype(np.complex128), h.astype(np.complex128)
    good = np.isfinite(y) & np.isfinite(h) & np.isfinite(n0) & (n0 >= 0)
    y, h = np.where(good, y, 0), np.where(good, h, 0)
    gain = np.abs(h)
    turned = np.divide(y * h.conj(), gain, out=np.zeros_like(y), where=gain > 0)
    values = np.stack([turned.real, turned.imag], axis=1).ravel()
    noise = np.where(good, n0, 1.0).astype(np.float64) / 2
    return np.stack([values, np.repeat(gain, 2), np.repeat(noise, 2)]), bool(good.all())


def _rows(symbols: Received, b: int) -> tuple[np.ndarray, np.ndarray | float]:
    """h and n0_eff of frame b alone."""
    n0 = np.asarray(symbols.n0_eff)
    return symbols.h[b : b + 1], n0[b : b + 1] if n0.ndim == 2 and len(n0) > 1 else n0
