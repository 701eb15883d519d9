"""The token codec: pictures to tokens, tokens to bodies of packets, and pictures of whatever arrived.

::

    x --> tokenise --> tokens --fit--> layout --> pack --> bodies --(losses)--> unpack --> Read --> conceal --> x_hat

The exact parts are ``linksim.codec.token_coder`` (bits) and ``token_fill`` (what stands in for lost tokens). The
networks run one picture at a time, so that a picture does not depend on the batch it is in. What both ends agree on and
no body repeats is the ``Layout``; headers and checks are the link's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from linksim import cores
from linksim.codec.fixed_tokens import FixedTokens
from linksim.codec.indices import PriorName
from linksim.codec.token_coder import Packed, Read, TokenCoder
from linksim.codec.token_fill import CONCEALMENTS, Conceal, Filled, Filler, averaged, plain
from linksim.codec.token_layout import STRIDE, Layout, padded
from linksim.errors import ComponentError
from linksim.graphs import Graphs
from linksim.model.store import Bundle, card_of, load_bundle
from linksim.model.token_config import TokenConfig
from linksim.seeds import FrameSeeds

__all__ = ["CONCEALMENTS", "Conceal", "Layout", "Packed", "Read", "TokenCodec", "padded"]

NETWORKS = ("tokens", "tokens-perceptual", "token-prior")
MOST_TRIES = 8  # of a search for the number of tokens
SPARE = 1 / 100  # of a budget that the search may leave, or
SPARE_BYTES = 2
Sizes = Callable[[np.ndarray], np.ndarray]
POSITIONS_AT_ONCE = 1 << 13  # that are filled in side by side


def _config(card: Mapping[str, Any]) -> TokenConfig:
    """The architecture. Raises: ComponentError: the card is of another network, or has none."""
    if (network := card.get("network")) not in NETWORKS:
        raise ComponentError(
            f"these weights are of the network {network!r}, the token codec needs 'tokens'"
        )
    try:
        return TokenConfig(**card["architecture"])
    except (KeyError, TypeError, ValueError) as error:
        raise ComponentError(f"the model card has no usable architecture: {error!r}") from error


@lru_cache(maxsize=8)
def _known(weights: str) -> tuple[bytes, int]:
    """Digest and stages of weights, from their card alone: what planning a study needs."""
    card = card_of(weights)
    return Bundle(card, {}).digest, _config(card).stages


class Engine:
    """Networks and exact parts of one set of weights.

    Args: bundle: of the network "tokens". Raises: ComponentError: for another network's weights.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.cfg = _config(bundle.card)
        stages = range(self.cfg.stages)
        try:
            self.books = [bundle.arrays[f"q.stage{s}/codebook"] for s in stages]
            usage = [bundle.arrays[f"q.stage{s}/usage"].astype(np.float64) for s in stages]
        except KeyError as error:
            raise ComponentError(f"the weights lack {error}") from error
        self.usage = [np.maximum(u, 0.0) + 1e-3 * u.mean() + 1e-9 for u in usage]
        self._graphs = Graphs(self._network)

    @cached_property
    def mean(self) -> np.ndarray:
        """Mean code of each stage, [S, d] float32."""
        shares = [u / u.sum() for u in self.usage]
        means = [share @ book for share, book in zip(shares, self.books, strict=True)]
        return np.stack(means).astype(np.float32)

    @cached_property
    def fixed(self) -> FixedTokens | None:
        """The transformer in exact arithmetic; None if the weights have none."""
        if self.cfg.prior is None:
            return None
        return FixedTokens(self.bundle.arrays, self.cfg.prior, self.books)

    @property
    def net(self) -> Any:
        """The Keras network with the bundle's weights."""
        return self._graphs.net

    def _network(self) -> Any:
        from linksim.model.store import assign
        from linksim.model.token_net import TokenNet

        net = TokenNet(self.cfg)
        assign(net, self.bundle.arrays, what="weights of tokens")
        return net

    def _run(self, verb: str, *inputs: np.ndarray) -> np.ndarray:
        """A verb of the network on one picture."""
        return self._graphs.run(verb, *inputs)[0]

    def encode(self, image: np.ndarray) -> np.ndarray:
        """[H,W,3] uint8, any size -> [h,w,S] int16."""
        height, width = image.shape[:2]
        pad = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
        return self._run("encode", np.pad(image, pad, "edge")[None])[0].astype(np.int16)

    def synthesise(self, filled: Filled) -> np.ndarray:
        """[16 h, 16 w, 3] float32, not clipped."""
        return self._run("synthesise", filled.y_hat[None], filled.there[None])[0]


@lru_cache(maxsize=4)
def engine(weights: str) -> Engine:
    """The engine of shipped or exported weights, made once."""
    return Engine(load_bundle(weights))


@dataclass(frozen=True)
class TokenCodec:
    """One end of the codec: what both ends agree on beside the layouts.

    Args:
      weights: name of shipped weights, or path of an exported .npz, with the transformer for prior "transformer" and
               for every concealment that draws or estimates.
      prior:   how tokens are coded: "transformer", "order-0" (adaptive) or "none" (fixed length).
      decoder: weights whose decoder draws the pictures instead, of the same codebooks; "": those of ``weights``.
    """

    weights: str = "tokens"
    prior: PriorName = "transformer"
    decoder: str = ""

    @property
    def stages(self) -> int:
        """S, most tokens of a position."""
        return _known(self.weights)[1]

    @property
    def digest(self) -> bytes:
        """8 bytes that tell these weights from others."""
        return _known(self.weights)[0]

    @property
    def _engine(self) -> Engine:
        return engine(self.weights)

    @cached_property
    def _coder(self) -> TokenCoder:
        machine = self._engine
        if self.prior == "transformer":
            self._transformer()
        return TokenCoder(machine.fixed, machine.usage, self.prior)

    def _transformer(self) -> FixedTokens:
        if (net := self._engine.fixed) is None:
            raise ComponentError(
                f"the weights {self.weights!r} have no transformer; export those of token-prior, or choose prior: "
                "order-0 or none and conceal: none"
            )
        return net

    @cached_property
    def painter(self) -> Engine:
        """The engine whose decoder draws the pictures. Raises ComponentError: it was trained for other codebooks."""
        if not self.decoder:
            return self._engine
        other, mine = engine(self.decoder), self._engine
        same = len(other.books) == len(mine.books) and all(
            np.array_equal(a, b) for a, b in zip(other.books, mine.books, strict=True)
        )
        if not same:
            raise ComponentError(
                f"the decoder {self.decoder!r} was trained for other codebooks than those of {self.weights!r}"
            )
        return other

    # ------------------------------------------------------------------------------------------- encoding

    def tokenise(self, images: np.ndarray) -> np.ndarray:
        """All tokens of pictures of any size, padded to multiples of 16.

        Args:    images [B, H, W, 3] uint8.
        Returns: [B, rows, columns, S] int16, see ``padded``.
        """
        found = cores.each(self._engine.encode, list(images))
        grid = padded(*images.shape[1:3])
        return np.stack(found) if found else np.zeros((0, *grid, self.stages), np.int16)

    def estimate(self, tokens: np.ndarray, layouts: Sequence[Layout]) -> list[np.ndarray]:
        """Bits of each body under its tables, of the base layer and of the rest.

        Args:    tokens [B, rows, columns, S]; B layouts.
        Returns: B times [N, 2].
        """
        return self._coder.bits(tokens, layouts)

    def pack(self, tokens: np.ndarray, layouts: Sequence[Layout]) -> list[Packed]:
        """Bodies of all packets. Args: tokens [B, rows, columns, S]; B layouts. Returns: B."""
        return self._coder.pack(tokens, layouts)

    def fit(
        self,
        tokens: np.ndarray,
        base: Layout,
        budgets: Sequence[int] | np.ndarray,
        overhead: int = 0,
        largest: int | None = None,
        sizes: Sizes | None = None,
    ) -> list[Layout | None]:
        """Layouts with as many tokens as fit, but for one in a hundred.

        Args:
          tokens:   [B, rows, columns, S].
          base:     the layout but for its tokens.
          budgets:  [B], bytes of all packets of a picture.
          overhead: bytes that each packet has besides its body.
          largest:  most bytes of a packet without its overhead.
          sizes:    bits [N, 2] of ``estimate`` -> bytes of packets without their overhead [N]; if not given, those of
                    the bodies.
        Returns: B layouts; None where not even ``base.least`` tokens fit.
        """
        searches = [
            _Search(
                base, self._bits_of_stages, int(budget) - overhead * base.packets, largest, sizes
            )
            for budget in budgets
        ]
        known: dict[Any, np.ndarray] = {}
        for _ in range(MOST_TRIES):
            open_ones = [b for b, search in enumerate(searches) if not search.done]
            if not open_ones:
                break
            layouts = [replace(base, tokens=searches[b].next) for b in open_ones]
            costs = self._coder.bits(tokens[open_ones], layouts, known, open_ones)
            for b, cost in zip(open_ones, costs, strict=True):
                searches[b].found(cost)
        return [
            None if search.fits is None else replace(base, tokens=search.fits)
            for search in searches
        ]

    @cached_property
    def _bits_of_stages(self) -> np.ndarray:
        """What a token of each stage costs on average at order 0, [S]: where a search starts."""
        shares = [u / u.sum() for u in self._engine.usage]
        return np.array([-(p * np.log2(p)).sum() for p in shares])

    # ------------------------------------------------------------------------------------------- decoding

    def unpack(
        self,
        bodies: Sequence[Sequence[bytes | None]],
        layouts: Sequence[Layout],
        heads: Sequence[np.ndarray] | None = None,
    ) -> list[Read]:
        """Tokens of what arrived. Never raises on any bytes.

        Args:
          bodies:  of each picture N, None where a packet is lost.
          layouts: B.
          heads:   B times [N] bool, where the protected first bytes of a body alone are there; nowhere if not given.
        Returns: B Reads.
        """
        return self._coder.unpack(bodies, layouts, heads)

    def conceal(
        self,
        reads: Sequence[Read],
        layouts: Sequence[Layout],
        height: int,
        width: int,
        seeds: FrameSeeds,
        how: Conceal = "one-shot",
        steps: int = 8,
        temperature: float = 1.0,
        samples: int = 4,
        blend: float = 1.0,
    ) -> np.ndarray:
        """Pictures of what arrived, also where nothing is missing.

        Args:
          reads, layouts: B, of equal grids.
          height, width:  of the pictures.
          seeds:          B; only their children "conceal" are used.
          how:            "none", "one-shot", "iterative", "posterior-mean" or "mean-token", see
                          ``linksim.codec.token_fill``.
          steps:          of a draw.
          temperature:    of a draw, >= 0.
          samples:        draws whose mean picture is the posterior mean.
          blend:          of "iterative": 1 a draw, 0 its expectation, between them what lies between.
        Returns: [B, height, width, 3] uint8.
        Raises: ValueError: no such concealment, steps or samples below 1, a negative temperature, blend not in 0..1.
        """
        if how not in CONCEALMENTS:
            raise ValueError(f"conceal must be one of {', '.join(CONCEALMENTS)}, got {how!r}")
        if steps < 1 or samples < 1 or not temperature >= 0:
            raise ValueError(
                f"steps and samples must be at least 1 and temperature at least 0, got {steps}, {samples}, "
                f"{temperature}"
            )
        if not 0 <= blend <= 1:
            raise ValueError(f"blend must be in 0..1, got {blend}")
        found = np.zeros((len(reads), height, width, 3), np.uint8)
        painter = self.painter
        many = max(1, POSITIONS_AT_ONCE // max((layout.positions for layout in layouts), default=1))
        for a in range(0, len(reads), many):
            part = slice(a, a + many)
            shown = self._samples(
                reads[part], layouts[part], seeds[part], how, steps, temperature, samples, blend
            )
            total = np.zeros((len(shown[0]), height, width, 3), np.float32)
            for sample in shown:
                drawn = cores.each(painter.synthesise, sample)
                total += np.stack([picture[:height, :width] for picture in drawn])
            found[part] = np.clip(np.rint(total / len(shown)), 0, 255)
        return found

    def _samples(
        self,
        reads: Sequence[Read],
        layouts: Sequence[Layout],
        seeds: FrameSeeds,
        how: Conceal,
        steps: int,
        temperature: float,
        samples: int,
        blend: float,
    ) -> list[list[Filled]]:
        """What pictures are drawn from, once or several times."""
        grid = reads[0].index.shape[:2]
        index = np.stack([read.index.reshape(-1, self.stages) for read in reads])
        if how in ("none", "mean-token"):
            codes = summed(self._engine.books, index)
            if how == "none":
                return [plain(codes, index, grid)]
            return [averaged(codes, index, self._engine.mean, layouts)]
        filler = Filler(self._transformer(), index, layouts)
        if how == "one-shot":
            return [filler.one_shot()]
        many = how == "posterior-mean"
        names = [("conceal", i) for i in range(samples if many else 1)]
        part = 1.0 if many else blend
        return [filler.iterative(seeds.child(*name), steps, temperature, part) for name in names]


def summed(books: Sequence[np.ndarray], index: np.ndarray) -> np.ndarray:
    """Sum of the codes that are there. index [..., S] int, -1 none -> [..., d] float32."""
    total = np.zeros((*index.shape[:-1], books[0].shape[1]), np.float32)
    for s, book in enumerate(books):
        known = index[..., s, None] >= 0
        total += np.where(known, book[np.maximum(index[..., s], 0)], np.float32(0))
    return total


def whole_bytes(cost: np.ndarray) -> np.ndarray:
    """Bytes of bodies: whole ones; the coder needs no more than that. Args: cost [N, 2] bits. Returns: [N]."""
    return np.ceil(cost.sum(1) / 8)


class _Search:
    """The most tokens that fit, by secants inside a bracket.

    Stages cost unequally much: secants go along what tokens cost at order 0 (``_worth``), not along their number.

    Args: base; bits: of a token of each stage, [S] at order 0; budget: bytes of all packets; largest: bytes of one, or
          None; sizes: see ``TokenCodec.fit``.
    """

    def __init__(
        self,
        base: Layout,
        bits: np.ndarray,
        budget: int,
        largest: int | None,
        sizes: Sizes | None,
    ) -> None:
        self.base, self.budget, self.largest, self.sizes = base, budget, largest, sizes
        self.fits: int | None = None
        self.fails = base.most + 1
        self.done = budget < base.packets  # a body has a byte at least
        each = np.repeat(np.maximum(bits, 1e-3), base.filled)
        self._worth = np.concatenate([[0.0], np.cumsum(each)])  # bits of the first so many tokens
        self.next = self._inside(self._tokens(8.0 * budget))  # where to look first
        self._points: list[tuple[int, float]] = []
        self._worst = 0.0  # body of the last try, against the largest allowed

    def _tokens(self, bits: float) -> int:
        """How many tokens cost so much at order 0."""
        return int(np.searchsorted(self._worth, bits, side="right")) - 1

    def _inside(self, tokens: int) -> int:
        low = self.base.least if self.fits is None else self.fits + 1
        return min(max(tokens, low), max(self.fails - 1, low))

    def found(self, cost: np.ndarray) -> None:
        """What the bodies cost with ``next`` tokens. Args: cost [N, 2] bits."""
        need = whole_bytes(cost) if self.sizes is None else self.sizes(cost)
        total = float(need.sum())
        self._worst = 0.0 if self.largest is None else float(need.max()) / self.largest
        fine = total <= self.budget and self._worst <= 1.0
        if fine:
            self.fits = self.next
        else:
            self.fails = self.next
        room = self.budget - total
        enough = fine and room <= max(SPARE_BYTES, SPARE * self.budget)
        self.done = (
            enough
            or self.fails <= self.base.least
            or (self.fits is not None and self.fails - self.fits <= 1)
        )
        bits = float(cost.sum()) if self.sizes is None else 8 * total - 4 * self.base.packets
        self._points.append((self.next, bits))
        if self.fits is None and len(self._points) >= MOST_TRIES - 2:
            self.next = self.base.least
        elif not self.done:
            self.next = self._inside(self._guess())

    def _guess(self) -> int:
        # half a byte a packet is lost to rounding
        target = 8.0 * self.budget - 4 * self.base.packets
        if self.fits is None:  # from above by ever larger steps, so that something is found
            target *= 1 - SPARE * ((1 << (len(self._points) - 1)) - 1)
        tokens, bits = self._points[-1]
        worth = self._worth[tokens]
        if self._worst > 1.0:
            return self._tokens(worth / self._worst) - 1
        slope = bits / worth
        if len(self._points) > 1 and self._points[-2][0] != tokens:
            before, less = self._points[-2]
            slope = min(max((bits - less) / (worth - self._worth[before]), 0.5 * slope), 2 * slope)
        return self._tokens(worth + (target - bits) / max(slope, 1e-3))
