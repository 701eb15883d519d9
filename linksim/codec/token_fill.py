"""What stands in for tokens that did not arrive: nothing, an estimate, or tokens drawn from the transformer.

    none            the decoder's learned vectors for what is not there, which it was trained to draw from
    mean-token      the mean of each stage's codes, and a decoder that is told of no loss
    one-shot        the mean of y_hat that the transformer expects, all lost positions at once
    iterative       tokens drawn in steps: at each, all lost positions are drawn, and the surest ones stay; or, by
                    ``blend``, what lies on the line between one-shot and them
    posterior-mean  the mean picture of several iterative draws

All of it runs in exact arithmetic, and a picture's draws come from its own seed, so a picture does not depend on its
company. Lost positions see everything that arrived, of all descriptions, in their tile. A position that was not sent at
all (fewer tokens than positions, or the transformer's choice) is filled in like a lost one.

Source: Chang et al., "MaskGIT" (2202.04200), Sec. 3.2: cosine schedule, confidence with annealed Gumbel noise. Freirich
et al. (2107.02555): between expectation and draw the line is optimal for a squared error and a Wasserstein distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from linksim.codec.fixed_tokens import FixedTokens, Rounds
from linksim.codec.token_layout import Layout, tiles
from linksim.seeds import FrameSeeds

Conceal = Literal["none", "one-shot", "iterative", "posterior-mean", "mean-token"]
CONCEALMENTS: tuple[Conceal, ...] = get_args(Conceal)


@dataclass(frozen=True)
class Filled:
    """What a picture is drawn from.

    Args: y_hat: [rows, columns, d] float64. there: [rows, columns, S] float32, 1 where a stage's code is in y_hat.
    """

    y_hat: np.ndarray
    there: np.ndarray


class Filler:
    """Fills in pictures of one grid side by side.

    Args:
      net:     the transformer in exact arithmetic.
      index:   [B, positions, S] int, -1 where nothing is known.
      layouts: B, of equal grids.
    """

    def __init__(self, net: FixedTokens, index: np.ndarray, layouts: Sequence[Layout]) -> None:
        self.net = net
        self.index = np.asarray(index, np.int64)
        self.grid = (layouts[0].rows, layouts[0].columns)
        self.depth = np.stack([_depth(layout) for layout in layouts])
        self.lost = (self.index[..., 0] < 0) & (self.depth > 0)
        tile = tiles(*self.grid)
        self._tiles = [np.flatnonzero(tile == t) for t in range(int(tile.max()) + 1)]

    def _asking(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows (picture * tiles + tile) with something lost, and where it is [r, m], -1 none."""
        return self._listed(self.lost)

    def _listed(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, places = [], []
        for b in range(len(wanted)):
            for t, part in enumerate(self._tiles):
                mine = part[wanted[b, part]]
                if len(mine):
                    rows.append(b * len(self._tiles) + t)
                    places.append(mine)
        position = np.full((len(rows), max(map(len, places), default=0)), -1, np.int64)
        for i, mine in enumerate(places):
            position[i, : len(mine)] = mine
        return np.array(rows, np.int64), position

    def _started(self) -> Rounds:
        """Sequences that hold what arrived, in the tiles where something is lost."""
        count = len(self.index) * len(self._tiles)
        rounds = Rounds(self.net, count, max(map(len, self._tiles)), self.grid)
        needed = np.zeros_like(self.lost)
        for part in self._tiles:
            needed[:, part] = self.lost[:, part].any(1, keepdims=True)
        rows, position = self._listed(needed & (self.index[..., 0] >= 0))
        if len(rows):
            picture = rows // len(self._tiles)
            rounds.tell(rows, position, self._tokens(self.index, picture, position))
        return rounds

    @staticmethod
    def _tokens(index: np.ndarray, picture: np.ndarray, position: np.ndarray) -> np.ndarray:
        found = index[picture[:, None], np.maximum(position, 0)]
        return np.where((position >= 0)[..., None], found, -1)

    def one_shot(self) -> list[Filled]:
        """The expected y_hat at lost positions, which g_s is still told are lost: that is how it was trained."""
        return self._filled(self._expected(), (self.index >= 0).sum(-1))

    def _expected(self) -> np.ndarray:
        """Codes of what is known, and the expected y_hat at lost positions. [B, positions, d] float64."""
        y_hat = self.net.code(self.index)
        rows, position = self._asking()
        if len(rows):
            estimate = self.net.estimate(self._started().ask(rows, position))
            picture = np.broadcast_to((rows // len(self._tiles))[:, None], position.shape)
            there = position >= 0
            y_hat[picture[there], position[there]] = estimate[there]
        return y_hat

    def iterative(
        self, seeds: FrameSeeds, steps: int, temperature: float, blend: float = 1.0
    ) -> list[Filled]:
        """Tokens drawn in steps, see ``draw``, or what lies between their expectation (blend 0) and them (1).

        g_s is told that they are lost all the same: it was trained with expectations there, and told otherwise it takes
        every seam between a drawn position and its neighbours for the picture's.
        """
        index = self.draw(seeds, steps, temperature)
        y_hat = self.net.code(index)
        if blend != 1:
            mean = self._expected()
            y_hat = mean + blend * (y_hat - mean)
        return self._filled(y_hat, (self.index >= 0).sum(-1))

    def draw(self, seeds: FrameSeeds, steps: int, temperature: float) -> np.ndarray:
        """Tokens for lost positions.

        Args:
          seeds:       one for each picture.
          steps:       at each, all positions still lost are drawn, and the surest stay, more at every step.
          temperature: of tokens (logits are divided by it) and of the noise on how sure they are; 0: the likeliest.
        Returns: [B, positions, S] int64, -1 beyond each position's stages.
        """
        index, left = self.index.copy(), self.lost.copy()
        if not left.any():
            return index
        rounds = self._started()
        total = left.sum(1)
        shape = (steps, index.shape[1], self.net.stages + 1)
        chance = [s.generator() if n else None for s, n in zip(seeds, total, strict=True)]
        for step in range(steps):
            # what each picture draws at a step does not depend on what is still lost
            u = np.stack(
                [np.zeros(shape[1:]) if g is None else g.random(shape[1:]) for g in chance]
            )
            rows, position = self._listed(left)
            if not len(rows):
                break
            state = rounds.ask(rows, position)
            picture = np.broadcast_to((rows // len(self._tiles))[:, None], position.shape)
            there = position >= 0
            who, where = picture[there], position[there]
            tokens, sure = self._drawn(
                state[there], self.depth[who, where], u[who, where], temperature
            )
            noise = -np.log(-np.log(np.clip(u[who, where, -1], 1e-12, 1 - 1e-12)))
            sure = sure + temperature * (1 - (step + 1) / steps) * noise
            keep = np.floor(total * math.cos(math.pi / 2 * (step + 1) / steps) + 1e-9).astype(int)
            stay = np.zeros(len(who), bool)
            for b in np.unique(who):
                mine = np.flatnonzero(who == b)
                count = len(mine) if step + 1 == steps else max(1, len(mine) - int(keep[b]))
                stay[mine[np.argsort(-sure[mine], kind="stable")[:count]]] = True
            index[who[stay], where[stay]] = tokens[stay]
            left[who[stay], where[stay]] = False
            if step + 1 < steps:
                kept = np.full(position.shape, False)
                kept[there] = stay
                self._tell(rounds, rows, np.where(kept, position, -1), index)
        return index

    def _tell(
        self, rounds: Rounds, rows: np.ndarray, position: np.ndarray, index: np.ndarray
    ) -> None:
        some = (position >= 0).any(1)
        rows, position = rows[some], position[some]
        width = int((position >= 0).sum(1).max(initial=0))
        first = np.argsort(position < 0, axis=1, kind="stable")[:, :width]
        position = np.take_along_axis(position, first, 1)
        tokens = self._tokens(index, rows // len(self._tiles), position)
        rounds.tell(rows, position, tokens)

    def _drawn(
        self, state: np.ndarray, depth: np.ndarray, u: np.ndarray, temperature: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [r, S] of positions with states [r, dim], and the mean log of their probabilities."""
        net = self.net
        tokens = np.full((len(state), net.stages), -1, np.int64)
        sure = np.zeros(len(state))
        for s in range(int(depth.max(initial=0))):
            here = np.flatnonzero(depth > s)
            weight = net.weight_of(state[here], net.prefix(tokens[here], s), s, temperature or 1.0)
            if temperature:
                ends = np.cumsum(weight, 1)  # integers: exact
                token = (ends <= np.floor(u[here, s, None] * ends[:, -1:])).sum(1)
            else:
                token = np.argmax(weight, 1)
            tokens[here, s] = token
            mine = np.take_along_axis(weight, token[:, None], 1)[:, 0]
            sure[here] += np.log(mine / weight.sum(1))
        return tokens, sure / np.maximum(depth, 1)

    def _filled(self, y_hat: np.ndarray, count: np.ndarray) -> list[Filled]:
        return filled(y_hat, count, self.grid, self.net.stages)


def plain(net_code: np.ndarray, index: np.ndarray, grid: tuple[int, int]) -> list[Filled]:
    """What arrived and nothing else. Args: net_code [B, positions, d], codes of index [B, positions, S]."""
    return filled(net_code, (index >= 0).sum(-1), grid, index.shape[-1])


def averaged(
    net_code: np.ndarray, index: np.ndarray, mean: np.ndarray, layouts: Sequence[Layout]
) -> list[Filled]:
    """What arrived, and the mean code of each stage for what did not. Args: see ``plain``; mean [S, d]."""
    depth = np.stack([_depth(layout) for layout in layouts])
    missing = np.where(index[..., 0] < 0, depth, 0)
    sums = np.concatenate([np.zeros_like(mean[:1]), mean.cumsum(0)])
    grid = (layouts[0].rows, layouts[0].columns)
    return filled(net_code + sums[missing], depth, grid, index.shape[-1])


def filled(
    y_hat: np.ndarray, count: np.ndarray, grid: tuple[int, int], stages: int
) -> list[Filled]:
    """Pictures with so many stages. Args: y_hat [B, positions, d]; count [B, positions]; grid; stages: S."""
    there = (np.arange(stages) < count[..., None]).astype(np.float32)
    return [
        Filled(y.reshape(*grid, -1), t.reshape(*grid, stages))
        for y, t in zip(y_hat, there, strict=True)
    ]


def _depth(layout: Layout) -> np.ndarray:
    """Stages that each position has or, had it been sent, would have. [positions] int64."""
    if layout.sent:
        return np.full(layout.positions, layout.tokens // layout.sent)
    return np.maximum(layout.depth, 1)
