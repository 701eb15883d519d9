"""The learned codec's machinery, one instance per set of weights: networks, tables, symbols.

::

    x --> g_a --> y --> u --- round(u - mu) --> s --> bytes --> s --- + mu --> g_s --> x_hat
                  |              ^                                     ^
                  +--> h_a --> z --> z_hat --> bytes --> z_hat --> h_s, ctx in fixed point --> mu, scale index

Only z_hat and s are coded. What both ends derive from z_hat is exact (``linksim.codec.fixed``), so the pictures' bits
decode wherever they are read. g_s runs one picture at a time: a picture does not depend on the batch it is decoded in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from linksim import cores, quiet
from linksim.codec.fixed import FixedHyper, quality_basis
from linksim.codec.ntc_refine import AIM, Refiner
from linksim.codec.ranges import Corrupt, Reader, Writer
from linksim.codec.tables import ESCAPE_LIMIT, ScaleTables, Table, prior_tables
from linksim.errors import ComponentError
from linksim.graphs import Graphs
from linksim.model.ntc_config import STRIDE_Z, NtcConfig
from linksim.model.store import Bundle, belongs, load_bundle

LEVELS = 128  # quality = level / LEVELS; a power of two, so that quality_basis is exact
DRAWS = ("g_s", "ungain")  # what a decoder of one's own may have of its own


@dataclass(frozen=True)
class Symbols:
    """A picture as integers.

    Args:
      level: of the quality, 0..LEVELS.
      z:     [h, w, side] int64.
      s:     [4h, 4w, latent] int64.
      index: [4h, 4w, latent] int64, table of each s.
      mu:    [4h, 4w, latent] float64.
      bits:  cost under the tables.
    """

    level: int
    z: np.ndarray
    s: np.ndarray
    index: np.ndarray
    mu: np.ndarray
    bits: float


def padded_size(height: int, width: int) -> tuple[int, int]:
    """The next multiples of 64: what the networks see."""
    return -(-height // STRIDE_Z) * STRIDE_Z, -(-width // STRIDE_Z) * STRIDE_Z


class Engine:
    """Networks and tables of one bundle.

    Args: bundle: of the network "ntc". Raises: ComponentError: for another network's weights.
    """

    def __init__(self, bundle: Bundle) -> None:
        quiet.load("keras")
        from linksim.model.entropy import RAW_MAX, SCALE_MIN

        if (network := bundle.card.get("network")) not in ("ntc", "ntc-perceptual"):
            raise ComponentError(
                f"these weights are of the network {network!r}, the codec needs 'ntc'"
            )
        self.bundle = bundle
        self.tables = ScaleTables()
        try:
            self.config = NtcConfig(**bundle.card["architecture"])
        except (KeyError, TypeError, ValueError) as error:
            raise ComponentError(f"the model card has no usable architecture: {error!r}") from error
        self.hyper = FixedHyper(
            bundle.arrays, self.config.bounds(), LEVELS, self.tables, SCALE_MIN, RAW_MAX
        )
        self._priors: dict[int, tuple[Table, ...]] = {}
        self._graphs = Graphs(self._network)
        self.refiner = Refiner(self._graphs)

    @property
    def net(self) -> Any:
        """The Keras network with the bundle's weights."""
        return self._graphs.net

    def _network(self) -> Any:
        from linksim.model.ntc import NtcNet
        from linksim.model.store import assign

        net = NtcNet(self.config)
        assign(net, self.bundle.arrays, what="weights of ntc")
        return net

    def phi(self, level: int) -> np.ndarray:
        """[K] float64, see ``layers.hat_basis``."""
        return quality_basis(level, LEVELS, len(self.bundle.arrays["gain/table"]))

    def priors(self, level: int) -> tuple[Table, ...]:
        """Tables of z at a level."""
        if level not in self._priors:
            self._priors[level] = prior_tables(self.bundle.arrays, self.phi(level))
        return self._priors[level]

    def _run(self, verb: str, x: np.ndarray, levels: Sequence[int]) -> list[np.ndarray]:
        """A verb of the network on a batch. x [B,...]; one level per entry."""
        phi = np.stack([self.phi(level) for level in levels])
        return self._graphs.shared(verb, (x, phi))

    def analyse(self, images: np.ndarray, levels: Sequence[int], refine: int = 0) -> list[Symbols]:
        """Images to integers.

        Args:    images [B,H,W,3] uint8, any size; levels: one per image; refine: steps of ``Refiner.refine``, whose
                 latents are taken where they lower R + lambda D, lambda being ``AIM`` times the level's.
        Returns: B Symbols.
        """
        _, height, width, _ = images.shape
        tall, wide = padded_size(height, width)
        pad = ((0, 0), (0, tall - height), (0, wide - width), (0, 0))
        y, z = self._run("analyse", np.pad(images, pad, "edge"), levels)
        plain = self._rounded(y, z, levels)
        if not refine:
            return plain
        phi = np.stack([self.phi(level) for level in levels])
        aims = np.array([AIM * self.config.lagrangian(level / LEVELS) for level in levels])
        better = self._rounded(*self.refiner.refine(images, y, z, phi, aims, refine), levels)

        def cost(symbols: Symbols, image: np.ndarray, aim: float) -> float:
            error = self.synthesise(symbols, height, width) - image.astype(np.float64)
            return symbols.bits / (height * width) + aim * float(np.mean(error**2))

        pairs = zip(plain, better, images, aims, strict=True)
        return cores.each(
            lambda p: p[1] if cost(p[1], *p[2:]) < cost(p[0], *p[2:]) else p[0], list(pairs)
        )

    def _rounded(self, y: np.ndarray, z: np.ndarray, levels: Sequence[int]) -> list[Symbols]:
        """Latents of ``NtcNet.analyse`` to integers."""
        limit = ESCAPE_LIMIT - 1
        z_hat = np.clip(np.rint(z), -limit, limit)
        result: list[Symbols | None] = [None] * len(levels)
        for level in sorted(set(levels)):
            rows = [b for b, other in enumerate(levels) if other == level]
            s, mu, index = self._quantise(y[rows], z_hat[rows], level)
            cost = self.tables.bits(s, index).sum((1, 2, 3))
            for i, b in enumerate(rows):
                side = z_hat[b].astype(np.int64)
                bits = float(cost[i]) + self.prior_bits(side, level)
                result[b] = Symbols(level, side, s[i], index[i], mu[i], bits)
        return [symbols for symbols in result if symbols is not None]

    def _quantise(
        self, y: np.ndarray, z_hat: np.ndarray, level: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Latents of one level to integers, slice by slice. Returns: s int64, mu, table index, each like y."""
        limit = ESCAPE_LIMIT - 1
        hyper = self.hyper.begin(z_hat, level)
        u = y * np.exp(hyper.log_gain)
        past: list[np.ndarray] = []
        parts = []
        for i, (start, end) in enumerate(self.hyper.bounds):
            mu, index = self.hyper.slice(hyper, i, past)
            s = np.clip(np.rint(u[..., start:end] - mu), -limit, limit)
            past.append(mu + s)
            parts.append((s.astype(np.int64), mu, index))
        s, mu, index = (np.concatenate(t, -1) for t in zip(*parts, strict=True))
        return s, mu, index

    def prior_bits(self, z: np.ndarray, level: int) -> float:
        """Cost of z [h,w,side] under its tables."""
        flat = z.reshape(-1, z.shape[-1])
        tables = self.priors(level)
        return float(sum(t.bits[t.entries(flat[:, c])].sum() for c, t in enumerate(tables)))

    def synthesise(self, symbols: Symbols, height: int, width: int) -> np.ndarray:
        """Integers to a picture [height, width, 3] uint8."""
        u_hat = (symbols.mu + symbols.s)[None]
        x = self._run("synthesise", u_hat, [symbols.level])[0][0]
        return np.clip(np.rint(x[:height, :width]), 0, 255).astype(np.uint8)

    def write(self, symbols: Symbols) -> bytes:
        """Range-coded z and the slices of s."""
        writer = Writer()
        channels = np.broadcast_to(np.arange(symbols.z.shape[-1]), symbols.z.shape).reshape(-1)
        priors = self.priors(symbols.level)
        writer.put(symbols.z.reshape(-1), channels, priors)
        pieces = [
            (symbols.s[..., a:b].reshape(-1), symbols.index[..., a:b].reshape(-1))
            for a, b in self.hyper.bounds
        ]
        for s, index in pieces:
            writer.put(s, index, self.tables.tables)

        def decodes(data: bytes) -> bool:
            reader = Reader(data)
            try:
                same = np.array_equal(reader.take(channels, priors), symbols.z.reshape(-1))
                return same and all(
                    np.array_equal(reader.take(index, self.tables.tables), s) for s, index in pieces
                )
            except Corrupt:
                return False

        return writer.finish(decodes, math.ceil(symbols.bits / 8))

    def read(self, data: bytes, level: int, height: int, width: int) -> Symbols:
        """What ``write`` wrote for a picture of this size. Raises Corrupt."""
        tall, wide = padded_size(height, width)
        priors = self.priors(level)
        shape = (tall // STRIDE_Z, wide // STRIDE_Z, len(priors))
        reader = Reader(data)
        channels = np.broadcast_to(np.arange(shape[-1]), shape).reshape(-1)
        z = reader.take(channels, priors).reshape(shape)
        hyper = self.hyper.begin(z[None].astype(np.float64), level)
        past: list[np.ndarray] = []
        parts = []
        for i in range(len(self.hyper.bounds)):
            mu, index = self.hyper.slice(hyper, i, past)
            s = reader.take(index.reshape(-1), self.tables.tables).reshape(index.shape)
            past.append(mu + s)
            parts.append((s[0], index[0], mu[0]))
        s, index, mu = (np.concatenate(t, -1) for t in zip(*parts, strict=True))
        return Symbols(level, z, s, index, mu, 0.0)


@lru_cache(maxsize=8)
def engine(weights: str) -> Engine:
    """The engine of shipped or exported weights, made once."""
    return Engine(load_bundle(weights))


@lru_cache(maxsize=8)
def painter(weights: str, decoder: str, blend: float) -> Engine:
    """An engine that draws pictures from the integers of other weights.

    Args:   weights: those whose packets are read; decoder: those that draw; blend: how much of ``decoder`` there is in
            what draws, the rest being ``weights``, weight by weight.
    Raises: ComponentError: ``decoder`` was trained for other latents.
    """
    mine, other = load_bundle(weights), load_bundle(decoder)
    shapes = ({k: a.shape for k, a in bundle.arrays.items()} for bundle in (mine, other))
    read = [k for k in mine.arrays if not any(belongs(k, part) for part in DRAWS)]
    if next(shapes) != next(shapes) or any((mine.arrays[k] != other.arrays[k]).any() for k in read):
        raise ComponentError(
            f"the decoder {decoder!r} was trained for other latents than those of {weights!r}"
        )
    if blend == 1:
        return Engine(other)
    arrays = {k: (1 - blend) * a + blend * other.arrays[k] for k, a in mine.arrays.items()}
    return Engine(Bundle(other.card, arrays))
