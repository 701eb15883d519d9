"""The training task of the tokens' transformer: bits and estimates in any order, on tokens computed once.

The tokeniser stays as ``start_from`` has it, so its tokens of all training images, and of their mirror images, are
computed once and kept in the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from linksim.codec.token_layout import INTERLEAVES, Layout
from linksim.errors import ScenarioError
from linksim.model.index_prior import bits_of
from linksim.model.store import variables, write_arrays
from linksim.model.token_net import TokenNet
from linksim.model.token_prior import TokenPrior
from linksim.train.tokens_task import TokensTask

ORDERED = 0.55  # share of images in the rounds of a layout; the others in random ones
DESCRIPTIONS = {"all": 0.4, "one": 0.3, "some": 0.3}  # of layouts
PACKETS = 10  # of most layouts
BASE_ROUNDS = 3  # inside a packet
MOST_CUTS = 6  # of a random order
ESTIMATE = 0.5  # weight of the estimate's error beside bits a token
MODES = ("intra", "two", "layered")  # that validation reports
LEVELS = (1, 2, 3, 4, 6, 8, 10, 12)  # stages that validation reports
LOST = (0.2, 0.5)  # shares of positions lost in validation
PIECE = 64  # images encoded at once


@dataclass(frozen=True)
class Order:
    """Who predicts whom in one picture.

    Args: rounds, groups: [n] int, see ``linksim.model.token_prior``; depth: [n] int, stages at each position.
    """

    rounds: np.ndarray
    groups: np.ndarray
    depth: np.ndarray

    @classmethod
    def of(cls, layout: Layout) -> Order:
        """As a codec with this layout has it. Positions without tokens say nothing and are not asked."""
        return cls(layout.round_of, layout.packet_of % layout.descriptions, layout.depth)


@dataclass(frozen=True)
class TokenPriorTask(TokensTask):
    """Mean bits a token, and the error of the estimates; ``options`` are those of TokenConfig, ``prior`` among them."""

    figure_axes: ClassVar = ("stages", "intra")
    low_precision: ClassVar[tuple[str, ...]] = ()

    def network(self) -> TokenNet:
        """See TokensTask.network. Raises ScenarioError: options without a prior."""
        if self.config.options.get("prior") is None:
            raise ScenarioError(
                "must hold the prior's sizes ({}: the usual ones), got none", key="options.prior"
            )
        return super().network()

    def begin(self, net: TokenNet, loaded: frozenset[str]) -> None:
        """The prior begins at how often each code is used in all training images."""
        needed = set(net.parts) - {"prior"}
        if missing := sorted(needed - loaded):
            raise ScenarioError(
                f"must fill the tokeniser, {', '.join(missing)} lacks", key="start_from"
            )
        tokens = self.tokens(net)
        if "prior" in loaded:
            return
        usage = np.zeros((net.cfg.stages, net.cfg.codes))
        share = np.asarray(self.images.weights) / sum(self.images.weights)
        for weight, found in zip(share, tokens, strict=True):
            flat = found.reshape(-1, net.cfg.stages)
            for s in range(net.cfg.stages):
                counts = np.bincount(flat[:, s], minlength=net.cfg.codes)
                usage[s] += weight * counts / len(flat)
        books = [book.numpy() for book in net.books()]
        prior_of(net).start(books, list(usage), self.seed.child("prior").generator())

    def tokens(self, net: TokenNet) -> list[np.ndarray]:
        """Tokens of every source's pictures and of their mirror images, [2,N,h,w,S] int16 each, from the cache."""
        if "tokens" not in self._kept:
            self._kept["tokens"] = [
                self._tokens_of(net, source, array)
                for source, array in zip(self.config.train, self.images.arrays, strict=True)
            ]
        return self._kept["tokens"]

    @property
    def _kept(self) -> dict[str, Any]:
        return self.__dict__.setdefault("_memory", {})

    def _tokens_of(self, net: TokenNet, source: Any, array: np.ndarray) -> np.ndarray:
        how = (source, self.seed.key, array.shape, net.cfg.lagrange, net.cfg.survivors)
        stamp = hashlib.sha256(repr(how).encode())
        for i in (0, -1):
            stamp.update(np.ascontiguousarray(array[i]).tobytes())
        for path, variable in variables(net).items():
            if path.startswith(("g_a", "down", "q.")) and not path.endswith("/usage"):
                stamp.update(np.asarray(variable.numpy(), np.float16).tobytes())
        target = self.cache / f"tokens-{stamp.hexdigest()[:16]}.npz"
        if not target.is_file():
            found = np.stack([_encoded(net, array, flip) for flip in (False, True)])
            write_arrays(target, {"tokens": found}, compress=False)
        with np.load(target, allow_pickle=False) as file:
            return file["tokens"]

    def batch(self, step: int, net: TokenNet) -> dict[str, np.ndarray]:
        """Tokens and orders."""
        size = self.config.batch
        sources = self.tokens(net)
        drawn = self.images.draw(step, size)
        index = np.stack([sources[i][int(mirrored), place] for i, place, mirrored in drawn])
        rng = self.seed.child("orders", step).generator()
        # one draw per stratum: a batch covers all rates
        u = (rng.permutation(size) + rng.random(size)) / size
        grid = index.shape[1:3]
        orders = [random_order(grid, net.cfg.stages, v, rng) for v in u]
        return {"index": index.astype(np.int32)} | stacked(orders)

    def loss(self, net: TokenNet, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Mean over images of bits a token, and of the estimate's error against the mean's."""
        from keras import ops

        bits, wrong, spread = charged(net, batch)
        asked = ops.cast(batch["depth"], "float32")
        per_image = ops.sum(bits, (1, 2)) / ops.maximum(ops.sum(asked, 1), 1.0)
        rate, error = ops.mean(per_image), ops.mean(wrong) / (ops.mean(spread) + 1e-9)
        value = rate + ESTIMATE * error
        return value, {"loss": value, "bits": rate, "estimate": error}

    def turns(self, net: TokenNet) -> tuple[Any, ...]:
        """The prior alone."""
        from linksim.train.turn import Turn

        return (Turn(self.loss, ("prior",)),)

    def validate(self, net: TokenNet, images: np.ndarray) -> list[dict[str, float]]:
        """A row for each of ``LEVELS``: see ``validation_note``."""
        index = _encoded(net, images, False).astype(np.int32)
        return [prior_row(net, index, stages) for stages in LEVELS if stages <= net.cfg.stages]

    @property
    def validation_note(self) -> str:
        """What the card's validation rows are."""
        return (
            f"first {self.config.validation_images} images of {self.config.validation.path}; bits a token, estimated, "
            "when each position has so many stages: fixed length, order 0 (training frequencies), the transformer with "
            f"{PACKETS} dispersed packets in {PACKETS} descriptions (intra), 2 (two), 1 (layered); estimate_N: squared "
            "error of the estimate of a lost position's y_hat against the mean token's, N % of the positions lost"
        )


def prior_of(net: TokenNet) -> TokenPrior:
    """The network's prior, which must be there."""
    assert net.prior is not None
    return net.prior


def _encoded(net: TokenNet, images: np.ndarray, mirrored: bool) -> np.ndarray:
    """Tokens [N,h,w,S] int16."""
    pieces = []
    for start in range(0, len(images), PIECE):
        x = np.asarray(images[start : start + PIECE], np.float32)
        x = x[:, :, ::-1] if mirrored else x
        pieces.append(np.asarray(net.encode(x)).astype(np.int16))
    return np.concatenate(pieces)


def random_order(grid: tuple[int, int], stages: int, share: float, rng: Any) -> Order:
    """What training sees. Args: grid; stages: S; share: of all tokens, in 0..1."""
    positions = grid[0] * grid[1]
    count = 1 + int(share * stages * positions)
    if rng.random() < 0.5:  # a whole number of stages
        count = -(-count // positions) * positions
    if rng.random() < ORDERED:
        most = min(positions, count)
        packets = PACKETS if rng.random() < 0.7 else int(rng.integers(2, 17))
        packets = min(packets, most)
        kind = rng.choice(list(DESCRIPTIONS), p=list(DESCRIPTIONS.values()))
        some = int(rng.integers(1, min(5, packets) + 1))
        descriptions = {"all": packets, "one": 1, "some": some}[kind]
        interleave = INTERLEAVES[int(rng.choice(3, p=[0.25, 0.25, 0.5]))]
        rounds = BASE_ROUNDS if rng.random() < 0.7 else int(rng.integers(1, 5))
        return Order.of(
            Layout(*grid, packets, interleave, descriptions, count, stages, rounds=rounds)
        )
    order = rng.permutation(positions)
    if rng.random() < 0.3:  # runs of neighbours, as packets of neighbours are lost
        run = int(rng.integers(2, 14))
        order = np.argsort(rng.random(positions)[np.arange(positions) // run], kind="stable")
    cuts = np.sort(rng.integers(0, positions, int(rng.integers(1, MOST_CUTS + 1))))
    rank = np.empty(positions, np.int64)
    rank[order] = np.searchsorted(cuts, np.arange(positions), side="right")
    depth = np.full(positions, count // positions)
    depth[rng.permutation(positions)[: count % positions]] += 1
    return Order(np.where(depth > 0, rank, -1), np.zeros(positions, np.int64), depth)


def stacked(orders: Sequence[Order]) -> dict[str, np.ndarray]:
    """Orders as a batch holds them, [B,n] int32 each. A position without tokens forms a group of its own."""
    rounds = np.stack([order.rounds for order in orders])
    groups = np.stack([order.groups for order in orders])
    depth = np.stack([order.depth for order in orders])
    alone = 1000 + np.arange(rounds.shape[1])
    return {
        "rounds": rounds.astype(np.int32),
        "groups": np.where(rounds < 0, alone, groups).astype(np.int32),
        "depth": depth.astype(np.int32),
    }


def charged(net: TokenNet, batch: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """What the prior charges, and how far its estimates are off.

    Args:    batch: index [B,h,w,S]; rounds, groups, depth [B,n].
    Returns: bits [B,n,S], 0 where there is no token; squared errors of the estimates and of the batch's mean, [B,n],
             0 where there is no token.
    """
    from keras import ops

    prior, books, stages = prior_of(net), net.books(), net.cfg.stages
    _, rows, columns, _ = batch["index"].shape
    index = ops.reshape(batch["index"], (-1, rows * columns, stages))
    there = batch["depth"][..., None] > np.arange(stages)
    pieces = prior.pieces(ops.where(there, index, -1), books)
    content = sum(pieces[1:], pieces[0])
    query = ops.zeros_like(content) + ops.sum(prior.absent, 0)
    state = prior.states(content, query, batch["rounds"], batch["groups"], rows, columns)
    bits, y_hat = [], 0.0
    for s, prefix in enumerate(prior.prefixes(pieces)):
        logits = prior.logits(state, prefix, books[s], s)
        present = ops.cast(there[..., s], "float32")
        bits.append(bits_of(logits, index[..., s]) * present)
        y_hat = y_hat + ops.take(books[s], index[..., s], axis=0) * present[..., None]
    here = ops.cast(batch["depth"] > 0, "float32")
    mean = ops.sum(y_hat, (0, 1)) / ops.maximum(ops.sum(here), 1.0)
    wrong = ops.sum(ops.square(prior.estimate(state) - y_hat), -1) * here
    spread = ops.sum(ops.square(mean - y_hat), -1) * here
    return ops.stack(bits, -1), wrong, spread


def prior_row(net: TokenNet, index: np.ndarray, stages: int) -> dict[str, float]:
    """A row of validation. Args: index [N,h,w,S] int32; stages: that each position has."""
    grid = index.shape[1:3]
    positions = grid[0] * grid[1]
    total = index.size // net.cfg.stages * stages

    def run(order: Order) -> list[np.ndarray]:
        parts = []
        for start in range(0, len(index), 16):
            part = index[start : start + 16]
            found = charged(net, {"index": part} | stacked([order] * len(part)))
            parts.append([np.asarray(value) for value in found])
        return [np.concatenate(values) for values in zip(*parts, strict=True)]

    row = {"stages": float(stages), "fixed": float(net.cfg.bits), "order0": 0.0}
    for s in range(stages):
        usage = np.asarray(net.q.stages[s].usage, np.float64)
        share = (usage + 1e-3 * usage.mean()) / (usage.sum() * 1.001)
        row["order0"] -= float(np.log2(share[index[..., s]]).mean()) / stages
    packets = min(PACKETS, positions)
    for name, descriptions in zip(MODES, (packets, 2, 1), strict=True):
        layout = Layout(
            grid[0], grid[1], packets, "random", descriptions, stages * positions, net.cfg.stages
        )
        row[name] = float(run(Order.of(layout))[0].sum() / total)
    for share in LOST:
        gone = np.random.default_rng(1).permutation(positions) < round(share * positions)
        depth = np.full(positions, stages)
        _, wrong, spread = run(Order(gone.astype(int), np.zeros(positions, int), depth))
        row[f"estimate_{share * 100:.0f}"] = float(wrong[:, gone].sum() / spread[:, gone].sum())
    return row
