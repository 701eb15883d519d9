"""Distributed source coding as a codec: pictures to packets of indices, and back with side information.

::

    x --> g_a --> residual quantiser --> indices --> a packet for each band of rows
    packets --> indices --> y_hat, mask --> g_s (side information) --> x_hat

What both ends agree on beforehand, and no packet repeats: the model, the mode, the prior, the number of bands, the size
of the picture (as with the parameter sets of a video codec).

The exact part (tables, packets) is ``linksim.codec.indices``; the networks run one picture at a time, so that a picture
does not depend on the batch it is in.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from linksim import cores, quiet
from linksim.codec.fixed_prior import FixedPrior
from linksim.codec.indices import CHECK_BYTES, Band, IndexCoder, PriorName, bands_of
from linksim.errors import ComponentError
from linksim.graphs import Graphs
from linksim.model.store import Bundle, load_bundle
from linksim.types import Decoded, Delivered, Packet, Packets, Status

if TYPE_CHECKING:
    from linksim.model.dsc_config import DscConfig

Mode = Literal["separate", "distributed", "joint"]
Fill = Literal["prior", "side"]
NETWORKS = ("dsc", "dsc-decoder", "dsc-prior")
KEPT = 64  # pictures whose indices and tables are remembered
CURVE_POINTS = 9  # of the curve that ``distortion`` interpolates
MAX_BANDS = 64


class Codebooks:
    """Codes of all stages, and the prior's exact parts that go with them.

    Args: bundle: the weights; cfg: of their network; part: "q" or "q_side".
    """

    def __init__(self, bundle: Bundle, cfg: DscConfig, part: str) -> None:
        arrays, stages = bundle.arrays, range(cfg.stages)
        self._arrays, self._cfg = arrays, cfg
        self.books = [arrays[f"{part}.stage{s}/codebook"] for s in stages]
        self.usage = [arrays[f"{part}.stage{s}/usage"].astype(np.float64) for s in stages]
        self.up = [arrays.get(f"{part}/up{s}") if cfg.strides[s] == 2 else None for s in stages]

    @cached_property
    def fixed(self) -> FixedPrior:
        """The prior in exact arithmetic."""
        return FixedPrior(self._arrays, self._cfg.prior, self.books, self.up)

    def latent(self, codes: Sequence[np.ndarray]) -> np.ndarray:
        """Codes of all stages, each [h_s,w_s,d], summed on the latent's grid, [H/8,W/8,d]."""
        total: Any = 0.0
        for code, up in zip(codes, self.up, strict=True):
            part = np.asarray(code, np.float32)
            if up is not None:
                h, w, d = part.shape
                blocks = (part @ up).reshape(h, w, 2, 2, d).transpose(0, 2, 1, 3, 4)
                part = blocks.reshape(2 * h, 2 * w, d)
            total = total + part
        return total


class Engine:
    """Networks and exact parts of one set of weights.

    Args: bundle: of the network "dsc". Raises: ComponentError: for another network's weights.
    """

    def __init__(self, bundle: Bundle) -> None:
        quiet.load("keras")
        from linksim.model.dsc import DscConfig

        if (network := bundle.card.get("network")) not in NETWORKS:
            raise ComponentError(
                f"these weights are of the network {network!r}, distributed coding needs 'dsc'"
            )
        self.bundle = bundle
        self.cfg = DscConfig(**bundle.card["architecture"])
        self._own = Codebooks(bundle, self.cfg, "q_side") if self.cfg.own else None
        self._shared = Codebooks(bundle, self.cfg, "q")
        self._graphs = Graphs(self._network)

    def codebooks(self, mode: Mode) -> Codebooks:
        """Those of a mode."""
        return self._shared if mode == "separate" or self._own is None else self._own

    @property
    def net(self) -> Any:
        """The Keras network with the bundle's weights."""
        return self._graphs.net

    def _network(self) -> Any:
        from linksim.model.dsc import DscNet
        from linksim.model.store import assign

        net = DscNet(self.cfg)
        assign(net, self.bundle.arrays, what="weights of dsc")
        return net

    def _run(self, verb: str, *inputs: np.ndarray) -> list[np.ndarray]:
        """A verb of the network on one picture."""
        return self._graphs.run(verb, *inputs)

    def padding(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """What to add to a picture so that its sides are multiples of 16."""
        tall, wide = -height % 16, -width % 16
        rows = (tall, 0) if self.cfg.mirror else (0, tall)  # away from where the halves meet
        return rows, (0, wide), (0, 0)

    def _side(self, side: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
        if side is None:
            return np.zeros(shape, np.float32)
        rows, columns, colours = self.padding(*side.shape[:2])
        rows = rows[::-1] if self.cfg.mirror else rows
        return np.pad(side, (rows, columns, colours), "edge").astype(np.float32)

    def encode(self, image: np.ndarray, side: np.ndarray | None, mode: Mode) -> list[np.ndarray]:
        """Indices of all stages. Args: image [H,W,3] uint8; side likewise, for mode "joint" alone."""
        from linksim.model.dsc import SEES

        x = np.pad(image, self.padding(*image.shape[:2]), "edge").astype(np.float32)
        seen = self._side(side if mode == "joint" else None, x.shape)
        indices = self._run("encode", x[None], seen[None], np.array([SEES[mode]]))
        return [i[0].astype(np.int64) for i in indices]

    def synthesise(
        self,
        y_hat: np.ndarray,
        mask: np.ndarray,
        side: np.ndarray | None,
        mode: Mode,
        height: int,
        width: int,
    ) -> np.ndarray:
        """[height, width, 3] uint8. Args: y_hat [h,w,d]; mask [h,w,S]; side [height,width,3] uint8 or None."""
        from linksim.model.dsc import SEES

        shape = (8 * y_hat.shape[0], 8 * y_hat.shape[1], 3)
        sees = SEES[mode] if side is not None else SEES["separate"]
        seen = self._side(side, shape)
        flags = np.array([sees]), np.array([SEES[mode]])
        x = self._run("synthesise", y_hat[None], mask[None], seen[None], *flags)
        (top, _), _, _ = self.padding(height, width)
        shown = x[0][0, top : top + height, :width]
        return np.clip(np.rint(shown), 0, 255).astype(np.uint8)


@lru_cache(maxsize=4)
def engine(weights: str) -> Engine:
    """The engine of shipped or exported weights, made once."""
    return Engine(load_bundle(weights))


@dataclass(frozen=True)
class _Coded:
    """A picture's indices by band, with the tables that code them and the bits that the first n cost."""

    index: list[list[np.ndarray]]
    tables: list[list[np.ndarray]]
    bits: list[np.ndarray]


@dataclass(frozen=True)
class Cost:
    """What a picture's indices cost.

    Args: index: of every stage [h_s, w_s], all of them. estimate: bits of those sent by the tables, packets' own fields
      included. real: bits of the packets.
    """

    index: list[np.ndarray]
    estimate: float
    real: int


@dataclass(frozen=True)
class Dsc:
    """One end of the codec: what both ends agree on.

    Args:
      weights: name of shipped weights, or path of an exported .npz.
      mode:    who sees the side information: "joint" (both ends), "distributed" (the decoder), "separate" (nobody).
      prior:   how indices are coded: "transformer", "order-0" (adaptive) or "none" (fixed length).
      bands:   packets of an image, each with some rows of it.
      fill:    what stands in for lost indices: what the prior expects ("prior"), or nothing but the side information.
    """

    weights: str
    mode: Mode = "distributed"
    prior: PriorName = "transformer"
    bands: int = 1
    fill: Fill = "side"

    def __post_init__(self) -> None:
        if not 1 <= self.bands <= MAX_BANDS:
            raise ValueError(f"bands must be 1..{MAX_BANDS}, got {self.bands}")
        if self.fill == "prior" and self.prior != "transformer":
            raise ValueError(f"fill: prior needs prior: transformer, got {self.prior!r}")

    @property
    def _engine(self) -> Engine:
        return engine(self.weights)

    @cached_property
    def _coder(self) -> IndexCoder:
        from linksim.model.dsc import MODES

        machine, codebooks = self._engine, self._engine.codebooks(self.mode)
        stamp = machine.bundle.digest + f"{self.mode} {self.prior} {self.bands}".encode()
        return IndexCoder(
            codebooks.fixed, codebooks.usage, self.prior, MODES.index(self.mode), stamp
        )

    def _bands(self, height: int, width: int) -> list[Band]:
        return bands_of(-(-height // 16), -(-width // 16), self.bands)

    def packets(self, height: int, width: int) -> int:
        """How many packets an image of this size is sent in."""
        return len(self._bands(height, width))

    def min_bits(self, height: int, width: int) -> int:
        """The smallest budget with which anything is sent: a packet with its check, its count and a sealed coder."""
        cells = -(-height // 16) * -(-width // 16)
        # how many indices there are is not known without the weights: 16 in 256 pixels is more than any network has
        body = math.ceil((math.log2(16 * cells + 1) + 16) / 8)
        return self.packets(height, width) * 8 * (CHECK_BYTES + body)

    # ---------------------------------------------------------------------------------------------- encoding

    def encode(
        self, images: np.ndarray, budget_bits: np.ndarray, side: np.ndarray | None = None
    ) -> Packets:
        """Code each image into at most its budget: as many indices as fit, stage by stage.

        Args:
          images:      [B, H, W, 3] uint8.
          budget_bits: [B], of all packets of an image.
          side:        [B, H, W, 3] uint8, for mode "joint" alone.
        Returns: Packets; none for an image whose budget is below ``min_bits``.
        Raises:  ValueError: mode "joint" without side information, another mode with it.
        """
        if (side is not None) != (self.mode == "joint"):
            raise ValueError(
                "the encoder sees side information in mode joint and in no other; "
                f"mode {self.mode}, side information {'given' if side is not None else 'missing'}"
            )
        least = self.min_bits(*images.shape[1:3])
        found: list[tuple[Packet, ...]] = []
        for b, (image, budget) in enumerate(zip(images, budget_bits, strict=True)):
            if budget < least:
                found.append(())
                continue
            coded = self._code(image, None if side is None else side[b])
            found.append(self._fit(coded, int(budget), *images.shape[1:3]))
        return Packets(tuple(found))

    def _code(self, image: np.ndarray, side: np.ndarray | None) -> _Coded:
        key = (self, image.shape, image.tobytes(), None if side is None else side.tobytes())
        if key not in _REMEMBERED:
            index = self._engine.encode(image, side, self.mode)
            bands = self._bands(*image.shape[:2])
            parts = [self._coder.cut(index, band) for band in bands]
            tables = [self._coder.tables(p, band) for p, band in zip(parts, bands, strict=True)]
            bits = [self._coder.bits(p, t) for p, t in zip(parts, tables, strict=True)]
            while len(_REMEMBERED) >= KEPT:
                _REMEMBERED.popitem(last=False)
            small = [[t.astype(np.int32) for t in table] for table in tables]
            _REMEMBERED[key] = _Coded(parts, small, bits)
        _REMEMBERED.move_to_end(key)
        return _REMEMBERED[key]

    def _fit(self, coded: _Coded, budget: int, height: int, width: int) -> tuple[Packet, ...]:
        """The packets with the most indices within a budget; all bands end at about the same share of theirs."""
        bands = self._bands(height, width)
        totals = np.array([len(b) - 1 for b in coded.bits])
        steps = int(totals.sum())
        # counts of every band at each of the steps, and the bytes that they need at least
        counts = np.arange(steps + 1)[:, None] * totals // max(steps, 1)
        need = np.stack(
            [
                np.ceil((self._coder.count_bits(band) + bits[counts[:, b]]) / 8) + CHECK_BYTES
                for b, (band, bits) in enumerate(zip(bands, coded.bits, strict=True))
            ],
            1,
        ).sum(1)
        step = int(np.flatnonzero(8 * need <= budget).max(initial=0))
        while True:
            packets = tuple(
                Packet(
                    self._coder.write(coded.index[b], coded.tables[b], band, int(counts[step, b])),
                    header_bytes=CHECK_BYTES,
                )
                for b, band in enumerate(bands)
            )
            if step == 0 or sum(p.num_bits for p in packets) <= budget:
                return packets
            step -= 1

    def cost(self, image: np.ndarray, side: np.ndarray | None = None, share: float = 1.0) -> Cost:
        """What a picture costs with its first indices.

        Args: image [H,W,3] uint8; side: for mode "joint" alone; share: of the indices that is sent.
        """
        coded = self._code(image, side)
        estimate, real = 0.0, 0
        for band, index, tables, bits in zip(
            self._bands(*image.shape[:2]), coded.index, coded.tables, coded.bits, strict=True
        ):
            count = round(share * (len(bits) - 1))
            estimate += 8 * CHECK_BYTES + self._coder.count_bits(band) + float(bits[count])
            real += 8 * len(self._coder.write(index, tables, band, count))
        stages = range(len(coded.index[0]))
        whole = [np.concatenate([part[s] for part in coded.index]) for s in stages]
        return Cost(whole, estimate, real)

    # ---------------------------------------------------------------------------------------------- decoding

    def decode(
        self, delivered: Delivered, height: int, width: int, side: np.ndarray | None = None
    ) -> Decoded:
        """Pictures of what arrived and the side information. Never raises on any bytes.

        Args:
          delivered:     of the packets of each image, in their order.
          height, width: of the pictures.
          side:          [B, H, W, 3] uint8, or None where the receiver holds none.
        Returns: pictures with status OK; CONCEALED where packets are missing (where all are, if there is side
          information: the picture then shows what that alone is worth); FAILED; OUTAGE where nothing was sent.
        Raises: ValueError: side information of another size.
        """
        if side is not None and side.shape != (len(delivered.packets), height, width, 3):
            raise ValueError(
                f"side information must be [{len(delivered.packets)}, {height}, {width}, 3], got {side.shape}"
            )
        side = None if self.mode == "separate" else side
        bands = self._bands(height, width)
        read = self._read(delivered, bands)

        def shown(b: int) -> tuple[np.ndarray | None, Status]:
            found, mine = read[b], None if side is None else side[b]
            if not delivered.packets[b]:
                return None, Status.OUTAGE
            if mine is None and all(f is None for f in found):
                return None, Status.FAILED
            whole = all(f is not None for f in found)
            picture = self._picture(found, bands, height, width, mine)
            return picture, Status.OK if whole else Status.CONCEALED

        every = cores.each(shown, range(len(read)))
        return Decoded(tuple(picture for picture, _ in every), tuple(fate for _, fate in every))

    def indices(
        self, packets: Sequence[bytes], height: int, width: int
    ) -> list[list[np.ndarray] | None]:
        """The indices in the only packet of each picture (``bands`` 1), for inspection; None where there are none."""
        if self.bands != 1:
            raise ValueError(f"a picture has {self.bands} packets here, not one")
        return self._coder.read(packets, self._bands(height, width)[0])

    def side_only(self, side: np.ndarray) -> np.ndarray:
        """What the side information [B,H,W,3] shows by itself: the control at rate 0. Returns: [B,H,W,3] uint8."""
        height, width = side.shape[1:3]
        bands = self._bands(height, width)
        lost: list[list[np.ndarray] | None] = [None] * len(bands)
        return np.stack([self._picture(lost, bands, height, width, one) for one in side])

    def _read(
        self, delivered: Delivered, bands: Sequence[Band]
    ) -> list[list[list[np.ndarray] | None]]:
        """Indices of every band of every picture, or None. Bands of one shape are read side by side."""
        found: list[list[list[np.ndarray] | None]] = [
            [None] * len(bands) for _ in delivered.packets
        ]
        for p, band in enumerate(bands):
            rows = [
                b
                for b, ok in enumerate(delivered.ok)
                if p < len(ok) and ok[p] and len(delivered.packets[b][p]) > CHECK_BYTES
            ]
            read = self._coder.read([delivered.packets[b][p] for b in rows], band)
            for b, one in zip(rows, read, strict=True):
                found[b][p] = one
        return found

    def _picture(
        self,
        found: Sequence[list[np.ndarray] | None],
        bands: Sequence[Band],
        height: int,
        width: int,
        side: np.ndarray | None,
    ) -> np.ndarray:
        from linksim.model.dsc import mask_of

        machine, coder = self._engine, self._coder
        codebooks = machine.codebooks(self.mode)
        stages = range(machine.cfg.stages)
        pieces = [
            [np.full(coder.grid(band, s), -1, np.int64) for s in stages] if one is None else one
            for one, band in zip(found, bands, strict=True)
        ]
        index = [np.concatenate([piece[s] for piece in pieces]) for s in stages]
        known = [grid >= 0 for grid in index]
        lost = any(one is None for one in found) and any(one is not None for one in found)
        if lost and self.fill == "prior":
            share = float(np.mean([self._share(one) for one in found if one is not None]))
            wanted = self._wanted(share, known, found, bands)
            whole = Band(0, bands[0].total, bands[0].total, bands[0].columns)
            codes = coder.expect(index, known, wanted, whole)
            known = [k | w for k, w in zip(known, wanted, strict=True)]
        else:
            codes = [
                np.where(k[..., None], book[np.maximum(grid, 0)], 0.0)
                for grid, k, book in zip(index, known, codebooks.books, strict=True)
            ]
        mask = mask_of(machine.cfg, known)
        return machine.synthesise(codebooks.latent(codes), mask, side, self.mode, height, width)

    @staticmethod
    def _share(band: list[np.ndarray]) -> float:
        """How much of its indices a band was sent with."""
        return sum(int((g >= 0).sum()) for g in band) / sum(g.size for g in band)

    def _wanted(
        self,
        share: float,
        known: Sequence[np.ndarray],
        found: Sequence[list[np.ndarray] | None],
        bands: Sequence[Band],
    ) -> list[np.ndarray]:
        """What lost bands would have held, had they been sent with the share that the others were."""
        wanted = [np.zeros(k.shape, bool) for k in known]
        for one, band in zip(found, bands, strict=True):
            if one is not None:
                continue
            left = math.floor(share * sum(self._coder.sizes(band)))
            for s, scale in enumerate(self._coder.scales):
                rows, columns = self._coder.grid(band, s)
                inside = (np.arange(rows * columns) < left).reshape(rows, columns)
                wanted[s][band.first * scale : band.first * scale + rows] = inside
                left = max(left - rows * columns, 0)
        return wanted

    # -------------------------------------------------------------------------------------------- distortion

    def distortion(self, images: np.ndarray, budget_bits: np.ndarray) -> np.ndarray:
        """See Codec.distortion: of what the encoder can decode itself, without side information."""
        rows = [_curve(self, image.shape, image.tobytes()) for image in images]
        budget = np.asarray(budget_bits, np.float64)
        found = [
            np.where(budget < bits[0], np.inf, np.interp(budget, bits, mse)) for bits, mse in rows
        ]
        return np.stack(found) if found else np.zeros((0, len(budget_bits)))


_REMEMBERED: OrderedDict[Any, _Coded] = OrderedDict()


@lru_cache(maxsize=1024)
def _curve(codec: Dsc, shape: tuple[int, ...], data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Bits and MSE of a picture at a few budgets, without side information; MSE never rises."""
    image = np.frombuffer(data, np.uint8).reshape(shape)
    height, width = shape[:2]
    # no side information goes into it: in mode joint the transmitter decides as if it had none
    alone = (
        codec
        if codec.mode != "joint"
        else Dsc(codec.weights, "distributed", codec.prior, codec.bands)
    )
    coded = alone._code(image, None)
    bands = alone._bands(height, width)
    header = sum(8 * CHECK_BYTES + alone._coder.count_bits(band) + 8 for band in bands)
    bits, mse = [], []
    for share in np.linspace(0, 1, CURVE_POINTS):
        counts = [int(share * (len(b) - 1)) for b in coded.bits]
        bits.append(header + sum(float(b[n]) for b, n in zip(coded.bits, counts, strict=True)))
        found: list[list[np.ndarray] | None] = []
        for part, count in zip(coded.index, counts, strict=True):
            grids, left = [], count
            for grid in part:
                flat = np.where(np.arange(grid.size) < left, grid.reshape(-1), -1)
                grids.append(flat.reshape(grid.shape))
                left = max(left - grid.size, 0)
            found.append(grids)
        shown = alone._picture(found, bands, height, width, None).astype(np.float64)
        mse.append(float(np.mean((shown - image) ** 2)))
    rising = np.maximum.accumulate(np.array(bits) + np.arange(len(bits)) * 1e-3)
    return rising, np.minimum.accumulate(np.array(mse))
