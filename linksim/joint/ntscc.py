"""NTSCC: a picture's latents mapped to channel symbols by a network, more symbols where there is more to say.

::

    image --> g_a --> f_e --> s --[first k_i of each embedding]--> interleaved, unit power --> x
                |           ^-- f_u, where the transmitter's own decoder, shown s through noise, errs
                +--> NTC's entropy model --> profile --> side information (where the link has room for it)
    image <-- g_s <-- f_d <-- r <-- MMSE equaliser <-- y, h, n0_eff

What an embedding gets follows from its profile level and the length of the frame, at both ends alike. Without side
information the profile is uniform. The symbols of a frame lie in the order of their importance: the first of every
embedding, then the second of every embedding, and so on.

Source: Dai et al. (2022), JSAC; Wang et al. (2023), arXiv:2303.14637; updates: Marino et al. (2018), ICML.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from linksim.errors import BudgetError
from linksim.joint import level_code
from linksim.joint.machine import Machine, lpips_squeeze, machine
from linksim.joint.profile import MIN_K, allocate, levels_of
from linksim.model.ntc_config import STRIDE
from linksim.types import (
    Decoded,
    Delivered,
    Demand,
    Packet,
    Packets,
    Payload,
    Received,
    Status,
    Symbols,
    TxKnowledge,
)

MAX_PIXELS = 1 << 24  # of a picture that may be declared
SNR_CLIP_DB = (-20.0, 40.0)
ETA = np.geomspace(0.02, 64.0, 47)  # grid of operating points, complex symbols per bit
SIDE_BITS_PER_EMBEDDING = 4.0  # that the finest profile needs, nearly always
MOST_UPDATES = 8
MOST_REFINED = 1000


@dataclass(frozen=True)
class Ntscc:
    """Nonlinear transform source-channel coding, one model for all SNRs and rates.

    Args:
      weights: name of shipped weights, or path of an exported .npz (its card beside it).
      decoder: weights that the receiver uses instead ("" for the same): a perceptual decoder of the same symbols.
      blend:   how much of ``decoder`` there is in the receiver, the rest being ``weights``: between 0 and 1 the
               networks are interpolated, weight by weight, which trades distortion for perception (Wang et al.,
               ESRGAN, ECCV workshops 2018).
      profile: "auto": rates follow the content where the link has room for side information; "uniform": never.
      rates:   weights of NTC whose entropy model judges the content.
      updates: how often f_u moves each frame's symbols by the slope of the error that the decoder of ``weights`` makes
               of them; the receiver need not know. None: twice where the weights have f_u, else never.
      refine:  steps of gradient descent, after the updates, by which the transmitter moves each frame's symbols to
               where its own copy of the receiver shows the better picture (``Machine.refine``); 0: none. The receiver
               need not know (Dai et al., 2023, JSAC 41(8), online learned NTSCC).
      refine_for: what "better" is: "mse", ln MSE, or "perceptual", LPIPS-squeeze besides (its weights are an asset).
    """

    weights: str = "ntscc"
    decoder: str = ""
    blend: float = 1.0
    profile: Literal["auto", "uniform"] = "auto"
    rates: str = "ntc"
    updates: int | None = None
    refine: int = 0
    refine_for: Literal["mse", "perceptual"] = "mse"

    side_is_optional: ClassVar[bool] = True
    noiseless_psnr_db: ClassVar[float] = (
        25.0  # of coloured noise at the full rate; held by the laws
    )

    def __post_init__(self) -> None:
        if self.profile not in ("auto", "uniform"):
            raise ValueError(f"profile must be auto or uniform, got {self.profile!r}")
        if not 0 <= self.blend <= 1:
            raise ValueError(f"blend must be 0..1, got {self.blend}")
        if self.updates is not None and not 0 <= self.updates <= MOST_UPDATES:
            raise ValueError(f"updates must be 0..{MOST_UPDATES}, got {self.updates}")
        if not 0 <= self.refine <= MOST_REFINED:
            raise ValueError(f"refine must be 0..{MOST_REFINED} steps, got {self.refine}")
        if self.refine_for not in ("mse", "perceptual"):
            raise ValueError(f"refine_for must be mse or perceptual, got {self.refine_for!r}")
        if self.refine and self.refine_for == "perceptual":
            lpips_squeeze()  # missing weights show now

    @property
    def _sender(self) -> Machine:
        return machine(self.weights)

    @property
    def _receiver(self) -> Machine:
        if not self.decoder or self.blend == 0:
            return self._sender
        return machine(self.decoder, *(() if self.blend == 1 else (self.weights, self.blend)))

    def min_uses(self, height: int, width: int) -> int:
        """See Joint.min_uses."""
        rows, columns = grid(height, width)
        return MIN_K * rows * columns

    def side_bits(self, height: int, width: int) -> int:
        """See Joint.side_bits: room for the finest profile."""
        if self.profile == "uniform":
            return 0
        rows, columns = grid(height, width)
        return 8 * -(-int(SIDE_BITS_PER_EMBEDDING * rows * columns + 8) // 8)

    def least_side_bits(self, height: int, width: int) -> int:
        """Bits below which a profile is not worth telling: half a bit an embedding."""
        rows, columns = grid(height, width)
        return 8 * -(-max(rows * columns // 2, 16) // 8)

    def encode(
        self, images: np.ndarray, uses: np.ndarray, tx: TxKnowledge, side_bits: int | None = None
    ) -> Payload:
        """See Joint.encode."""
        batch, height, width = images.shape[:3]
        rows, columns = grid(height, width)
        room = self.side_bits(height, width) if side_bits is None else side_bits
        if batch and int(np.min(uses)) < self.min_uses(height, width):
            raise BudgetError(
                f"ntscc needs {self.min_uses(height, width)} uses for {height}x{width}, got {int(np.min(uses))}"
            )
        sender = self._sender
        told: list[tuple[Packet, ...]] = [()] * batch
        profiles = np.zeros((batch, rows, columns), np.int64)
        if room and self.profile != "uniform":
            wanted = self._profiles(images)
            for b in range(batch):
                packed = level_code.pack(wanted[b], room)
                if packed is None:  # nothing fits: the flat profile does, in two bytes
                    packed = level_code.pack(np.zeros_like(wanted[b]), 1 << 30)
                    assert packed is not None
                told[b] = (Packet(packed[0], kind="side"),)
                profiles[b] = packed[1]
        k = (
            np.stack(
                [
                    allocate(p.reshape(-1), int(n), sender.max_k).reshape(rows, columns)
                    for p, n in zip(profiles, uses, strict=True)
                ]
            )
            if batch
            else profiles
        )
        snr = np.clip(np.nan_to_num(tx.snr_amc_db), *SNR_CLIP_DB)
        x_in = pad(images)
        s = sender.encode(x_in, snr, k)
        if (updates := sender.updates(self.updates)) and batch:
            s = sender.update(x_in, s, snr, k, updates)
        if self.refine and batch:
            s = self._receiver.refine(x_in, s, snr, k, self.refine, self.refine_for)
        num = k.sum((1, 2))
        x = np.zeros((batch, int(num.max(initial=0))), np.complex64)
        for b in range(batch):
            x[b, : num[b]] = to_frame(s[b], k[b])
        packets = Packets(tuple(told)) if room and self.profile != "uniform" else None
        return Payload(packets, Symbols(x, num.astype(np.int64)))

    def demand(self, images: np.ndarray, tx: TxKnowledge) -> Demand:
        """See Elastic.demand: k_i = eta -log2 P(y_i | z) complex symbols for each embedding, eta in symbols per bit."""
        from linksim.model.rates import embedding_bits

        low, high = self.min_uses(*images.shape[1:3]), self._sender.max_k
        bits = embedding_bits(images, self.rates).reshape(len(images), -1)
        asked = np.clip(bits[:, :, None] * ETA, MIN_K, high).sum(1)
        return Demand(ETA, np.maximum(np.floor(asked).astype(np.int64), low))

    def _profiles(self, images: np.ndarray) -> np.ndarray:
        from linksim.model.rates import embedding_bits

        return levels_of(embedding_bits(images, self.rates))

    def decode(self, delivered: Delivered) -> Decoded:
        """See Joint.decode. A lost side block is a lost picture; symbols that are not finite count as not received."""
        batch = len(delivered)
        images: list[np.ndarray | None] = [None] * batch
        status = [Status.FAILED] * batch
        symbols, size = delivered.symbols, delivered.size
        if symbols is None or size is None or min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
            return Decoded(tuple(images), tuple(status))
        receiver = self._receiver
        found = []
        for b in range(batch):
            k = self._told(delivered, b, size, receiver.max_k)
            if k is not None:
                found.append((b, k, *from_frame(symbols.take([b]), k, receiver.symbols)))
        if not found:
            return Decoded(tuple(images), tuple(status))
        x_hat = receiver.decode(*(np.stack([row[i] for row in found]) for i in (2, 3, 1)))
        for (b, _, _, _, whole), picture in zip(found, x_hat, strict=True):
            shown = np.clip(np.rint(picture[: size[0], : size[1]]), 0, 255)
            images[b] = np.nan_to_num(shown).astype(np.uint8)
            status[b] = Status.OK if whole else Status.CONCEALED
        return Decoded(tuple(images), tuple(status))

    def _told(
        self, delivered: Delivered, b: int, size: tuple[int, int], max_k: int
    ) -> np.ndarray | None:
        """k [h, w] of a frame, or None where the receiver cannot know it."""
        assert delivered.symbols is not None
        rows, columns = grid(*size)
        total = delivered.length(b)
        if total < MIN_K * rows * columns:
            return None
        levels: np.ndarray | None = np.zeros((rows, columns), np.int64)
        packets = delivered.packets[b] if b < len(delivered.packets) else ()
        if packets:
            if len(packets) != 1 or not delivered.ok[b][0]:
                return None
            levels = level_code.unpack(packets[0], rows, columns)
        if levels is None:
            return None
        return allocate(levels.reshape(-1), total, max_k).reshape(rows, columns)


def grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of embeddings; the padding to whole ones is sent, and counted."""
    return -(-height // STRIDE), -(-width // STRIDE)


def pad(images: np.ndarray) -> np.ndarray:
    """[B, H, W, 3] uint8 -> float32 with whole embeddings, edges repeated."""
    height, width = images.shape[1:3]
    border = ((0, 0), (0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
    return np.pad(images, border, "edge").astype(np.float32)


def _order(k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embedding and place in it of each complex symbol of a frame: all first ones, all second ones, ..."""
    place, embedding = np.nonzero(np.arange(int(k.max()))[:, None] < k.reshape(-1)[None])
    return embedding, place


def to_frame(s: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Real symbols [h,w,symbols] of unit variance -> complex ones [sum k], unit mean power."""
    pairs = s.reshape(k.size, -1, 2)[_order(k)].astype(np.float64)
    x = (pairs[:, 0] + 1j * pairs[:, 1]) * np.sqrt(0.5)
    power = float(np.mean(np.abs(x) ** 2))
    if not power > 1e-12:  # a picture of nothing must send something
        x, power = np.full(len(x), 1.0 + 0j), 1.0
    return (x / np.sqrt(power)).astype(np.complex64)


def from_frame(
    received: Received, k: np.ndarray, symbols: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """A frame back to its embeddings.

    Args:    received: of one frame, at least sum k symbols; k [h, w]; symbols: real ones of an embedding at most.
    Returns: r [h,w,symbols] float32, MMSE-equalised; snr_db [h,w] float32, that of the mean capacity of each
             embedding's symbols; whether every symbol was finite.
    """
    total = int(k.sum())
    full = received.full()
    y, h = (np.asarray(part[0, :total], np.complex128) for part in full[:2])
    n0 = np.asarray(full[2][0, :total], np.float64)
    good = np.isfinite(y) & np.isfinite(h) & np.isfinite(n0) & (n0 >= 0)
    y, h, n0 = np.where(good, y, 0), np.where(good, h, 0), np.where(good, np.maximum(n0, 1e-9), 1.0)
    gain = np.abs(h) ** 2
    equalised = np.sqrt(2) * np.conj(h) * y / (gain + n0)
    embedding, place = _order(k)
    r = np.zeros((k.size, symbols // 2, 2), np.float32)
    r[embedding, place, 0], r[embedding, place, 1] = equalised.real, equalised.imag
    rate = np.bincount(embedding, np.log1p(gain / n0), k.size) / k.reshape(-1)
    snr_db = 10 * np.log10(np.maximum(np.expm1(rate), 1e-6))
    shape = k.shape
    return (
        np.clip(r.reshape(*shape, symbols), -30, 30),
        np.clip(snr_db, *SNR_CLIP_DB).astype(np.float32).reshape(shape),
        bool(good.all()),
    )
