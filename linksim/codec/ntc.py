"""Learned transform coding as a codec: a variable-rate network, range-coded, in one packet.

Packet::

    check (1 byte) | level (1 byte) | height - 1 (varint) | width - 1 (varint) | range-coded z and s

Levels 0 to 128 are those of the network's quality. Where none fits the budget, the picture is coded at half its sides,
or a quarter, with levels from 129 and 192 on, and shown enlarged.

The check is a CRC-8 over the model's digest, the header and all decoded integers: another model, or bytes that no
encoder wrote, show as FAILED (but for one in 256).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from linksim import cores
from linksim.types import Decoded, Delivered, Packet, Packets, Status

if TYPE_CHECKING:
    from linksim.codec.engine import Engine, Symbols

MAX_PIXELS = 1 << 22  # of a picture that a header may announce
CLOSE_ENOUGH = 0.985  # of the budget: where the search for the level stops
MOST_REFINED = 1000
MORE_REFINED = 1  # levels above the plain picture: where the search of a refined one begins
CURVE_STEP = 16  # levels between the points of the curve that ``distortion`` interpolates


@dataclass(frozen=True)
class Tier:
    """Pictures coded at a part of their size.

    Args: scale: what both sides are divided by; first: the header's level byte for level 0; count: levels.
    """

    scale: int
    first: int
    count: int

    def coded(self, height: int, width: int) -> tuple[int, int]:
        """The size that is coded."""
        return -(-height // self.scale), -(-width // self.scale)


WHOLE, HALF, QUARTER = TIERS = (Tier(1, 0, 129), Tier(2, 129, 63), Tier(4, 192, 64))


def varint(value: int) -> bytes:
    """LEB128 of a number >= 0."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def read_varint(data: bytes, start: int) -> tuple[int, int]:
    """A number and the position after it. Raises ValueError for none, or one above 3 bytes."""
    value = 0
    for i in range(3):
        if start + i >= len(data):
            break
        value |= (data[start + i] & 0x7F) << (7 * i)
        if data[start + i] < 0x80:
            return value, start + i + 1
    raise ValueError("no size in the header")


@dataclass(frozen=True)
class Ntc:
    """Nonlinear transform coding with a mean-scale hyperprior, all rates from one network.

    Args:
      weights: name of shipped weights, or path of an exported .npz (its card beside it).
      refine:  steps of gradient descent by which the encoder looks for latents that cost less and show more
               (``linksim.codec.ntc_refine``); 0: as the network has them; 3 bring most of what few can, 200 most of
               what many can. The decoder need not know.
      decoder: weights that draw the picture instead ("" for the same): a perceptual decoder of the same packets. What
               the encoder optimises stays the picture that ``weights`` draw.
      blend:   how much of ``decoder`` there is in what draws, the rest being ``weights``: between 0 and 1 the networks
               are interpolated, weight by weight, which trades distortion for perception (Wang et al., ESRGAN, ECCV
               workshops 2018).
    """

    weights: str = "ntc"
    refine: int = 0
    decoder: str = ""
    blend: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.blend <= 1:
            raise ValueError(f"blend must be 0..1, got {self.blend}")
        if not 0 <= self.refine <= MOST_REFINED:
            raise ValueError(f"refine must be 0..{MOST_REFINED} steps, got {self.refine}")

    @property
    def _engine(self) -> Engine:
        from linksim.codec.engine import engine

        return engine(self.weights)

    @property
    def _painter(self) -> Engine:
        from linksim.codec.engine import painter

        if not self.decoder or self.blend == 0:
            return self._engine
        return painter(self.weights, self.decoder, self.blend)

    def min_bits(self, height: int, width: int) -> int:
        """See Codec.min_bits: the header and one byte."""
        return 8 * (len(_header(0, height, width)) + 2)

    def encode(self, images: np.ndarray, budget_bits: np.ndarray) -> Packets:
        """See Codec.encode. The level is searched for that fills the budget best; rates rise with it."""
        budget = np.asarray(budget_bits)
        best: list[Packet | None] = [None] * len(images)
        left = np.arange(len(images))
        for tier in TIERS:
            found = _search(self._engine, images[left], budget[left], self.refine, tier)
            for b, packet in zip(left, found, strict=True):
                best[b] = packet
            left = np.array([b for b in left if best[b] is None], np.int64)
        return Packets(tuple(() if packet is None else (packet,) for packet in best))

    def quality_levels(self) -> tuple[int, ...]:
        """See Levelled.quality_levels."""
        return tuple(tier.count for tier in reversed(TIERS))

    def encode_at(self, images: np.ndarray, level: int) -> Packets:
        """See Levelled.encode_at."""
        for tier in reversed(TIERS):
            if level < tier.count:
                break
            level -= tier.count
        height, width = images.shape[1:3]
        small = _resized(images, *tier.coded(height, width))
        coded = self._engine.analyse(small, [level] * len(images), self.refine)
        return Packets(tuple((pack(self._engine, s, height, width, tier),) for s in coded))

    def decode(self, delivered: Delivered) -> Decoded:
        """See Codec.decode. Every picture is decoded alone: the batch changes nothing."""
        machine, draws = self._engine, self._painter
        arrived = zip(delivered.packets, delivered.ok, strict=True)
        given = [packets[0] if packets and all(ok) else None for packets, ok in arrived]
        pictures = cores.each(
            lambda data: None if data is None else unpack(machine, data, draws), given
        )
        status = [
            (Status.FAILED if picture is None else Status.OK) if packets else Status.OUTAGE
            for picture, packets in zip(pictures, delivered.packets, strict=True)
        ]
        return Decoded(tuple(pictures), tuple(status))

    def distortion(self, images: np.ndarray, budget_bits: np.ndarray) -> np.ndarray:
        """See Codec.distortion. Interpolated between every sixteenth level (log MSE against log bits), not refined."""
        rows = []
        for image in images:
            bits, mse = _curve(self, image.shape, image.tobytes())
            budget = np.maximum(np.asarray(budget_bits, np.float64), 1.0)
            row = np.exp(np.interp(np.log(budget), np.log(bits), np.log(mse)))
            rows.append(np.where(budget < bits[0], np.inf, row))
        return np.stack(rows) if rows else np.zeros((0, len(budget_bits)))


def _header(level: int, height: int, width: int) -> bytes:
    """Args: level: the byte that says tier and level."""
    return bytes([level]) + varint(height - 1) + varint(width - 1)


def _resized(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Lanczos both ways. Args: [B, h, w, 3] uint8. Returns: [B, height, width, 3] uint8."""
    if images.shape[1:3] == (height, width):
        return images
    from PIL import Image

    shown = [
        Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS) for image in images
    ]
    return np.stack([np.asarray(s) for s in shown])


def _check(engine: Engine, header: bytes, symbols: Symbols) -> int:
    content = symbols.z.astype("<i2").tobytes() + symbols.s.astype("<i2").tobytes()
    return zlib.crc32(engine.bundle.digest + header + content) & 0xFF


def pack(engine: Engine, symbols: Symbols, height: int, width: int, tier: Tier = WHOLE) -> Packet:
    """A picture's integers as a packet. Args: height, width: of the picture, whatever the tier."""
    header = _header(tier.first + symbols.level, height, width)
    check = bytes([_check(engine, header, symbols)])
    return Packet(check + header + engine.write(symbols), header_bytes=1 + len(header))


def unpack(engine: Engine, data: bytes, painter: Engine | None = None) -> np.ndarray | None:
    """The picture in a packet, or None where there is none. Never raises on any bytes.

    Args: painter: what draws it, if not the engine that reads the packet.
    """
    from linksim.codec.ranges import Corrupt

    try:
        if len(data) < 4:
            return None
        height, place = read_varint(data, 2)
        width, place = read_varint(data, place)
        height, width = height + 1, width + 1
        if height * width > MAX_PIXELS:
            return None
        tier = next(tier for tier in reversed(TIERS) if data[1] >= tier.first)
        rows, columns = tier.coded(height, width)
        symbols = engine.read(data[place:], data[1] - tier.first, rows, columns)
    except (ValueError, Corrupt):
        return None
    if _check(engine, data[1:place], symbols) != data[0]:
        return None
    shown = (painter or engine).synthesise(symbols, rows, columns)
    return _resized(shown[None], height, width)[0]


def estimate(symbols: Symbols, height: int, width: int) -> float:
    """Bits that a packet needs by the tables, header included; a real one has at most 16 bits more."""
    return symbols.bits + 8 * (1 + len(_header(symbols.level, height, width)))


def _search(
    engine: Engine, images: np.ndarray, budget: np.ndarray, refine: int, tier: Tier
) -> list[Packet | None]:
    """A tier's best packet within each budget; images that are still searching share each pass of the network.

    Refined pictures, each pass of which is long, begin where plain ones end.
    """
    count, height, width, _ = images.shape
    low = np.full(count, -1)  # highest level known to fit
    high = np.full(count, tier.count)  # lowest level known not to fit
    known: list[dict[int, float]] = [{} for _ in range(count)]
    first = [tier.count // 2] * count
    if refine:
        plain = _search(engine, images, budget, 0, tier)
        top = tier.count - 1
        first = [0 if p is None else min(p.data[1] - tier.first + MORE_REFINED, top) for p in plain]
    best: list[Packet | None] = [None] * count
    active = [b for b in range(count) if budget[b] >= 8 * (len(_header(0, height, width)) + 2)]
    small = _resized(images, *tier.coded(height, width)) if active else images
    while active:
        levels = [
            _guess(known[b], first[b], int(low[b]), int(high[b]), float(budget[b])) for b in active
        ]
        for b, symbols in zip(active, engine.analyse(small[active], levels, refine), strict=True):
            level, bits = symbols.level, estimate(symbols, height, width)
            known[b][level] = bits
            packet = pack(engine, symbols, height, width, tier) if bits <= budget[b] else None
            if packet is not None and packet.num_bits <= budget[b]:
                low[b], best[b] = level, packet
                if packet.num_bits >= CLOSE_ENOUGH * budget[b]:
                    high[b] = level + 1
            else:
                high[b] = level
        active = [b for b in active if high[b] - low[b] > 1]
    return best


def _guess(known: dict[int, float], first: int, low: int, high: int, budget: float) -> int:
    """The next level to try, strictly between low and high: where log bits, linear in the level, meet the budget."""
    if not known:
        return first
    points = sorted(known)
    if len(points) == 1:
        guess = points[0] + 36.0 * np.log(budget / known[points[0]])  # typical slope of the curve
    else:
        below = max([p for p in points if p <= low] or [points[0]])
        above = min([p for p in points if p >= high and p > below] or [points[-1]])
        if below >= above:
            below, above = points[-2], points[-1]
        rise = np.log(known[above] / known[below])
        share = np.log(budget / known[below]) / rise if rise > 0 else 0.5
        guess = below + share * (above - below)
    if len(points) > 4:  # no more trust in the line
        guess = (low + high) / 2
    return int(np.clip(np.floor(guess), low + 1, high - 1))


@lru_cache(maxsize=4096)
def _curve(codec: Ntc, shape: tuple[int, ...], data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Bits and MSE of an image at every CURVE_STEP-th level, both made monotonic, bits increasing.

    Of a smaller tier those that cost less than anything of the next one.
    """
    machine, draws = codec._engine, codec._painter
    image = np.frombuffer(data, np.uint8).reshape(shape)
    height, width = shape[:2]
    points: list[tuple[float, float]] = []
    for tier in TIERS:
        levels = list(range(0, tier.count, CURVE_STEP))
        rows, columns = tier.coded(height, width)
        small = _resized(image[None], rows, columns)[0]
        found = []
        for symbols in machine.analyse(np.broadcast_to(small, (len(levels), *small.shape)), levels):
            shown = _resized(draws.synthesise(symbols, rows, columns)[None], height, width)[0]
            bits = 8 * np.ceil(estimate(symbols, height, width) / 8 + 1.0)
            if not points or bits < points[0][0]:
                mse = float(np.mean((shown.astype(np.float64) - image) ** 2))
                found.append((bits, max(mse, 1e-3)))
        points = found + points
    bits_of, mse_of = np.array(points).T
    rising = np.maximum.accumulate(bits_of + np.arange(len(points)) * 1e-3)
    return rising, np.minimum.accumulate(mse_of)
