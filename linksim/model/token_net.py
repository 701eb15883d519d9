"""Pictures as tokens: a residual vector quantiser between the transforms of NTC.

::

    x --> g_a --> down --> y --> residual quantiser --> S indices at each position
                                                              |  (some are lost)
    x_hat <-- g_s <-- mend <-- + <-- up <-- y_hat = sum of the codes that are there
                               ^
                               +-- lost: a learned vector for every stage that is not

Every position of a grid 16 times smaller than the picture has S tokens: indices of a coarse code and of what each code
before it left over. A decoder that has the first s of them has a picture: one model for all rates, fixed length
log2(codes) bits a token. y is on the scale of the picture's coefficients under an orthonormal transform, in 0..1, so
that the quantiser's error is about the picture's.

``there`` says which tokens have arrived: a rate that ends inside a stage and a packet that was lost look alike to g_s,
which is told the mean number of stages in place of NTC's quality. ``mend``, where weights have it, looks at all
positions, and at which stages each has, before g_s draws its neighbourhoods.

Sizes: x [B,H,W,3] in 0..255 with H, W multiples of 16; y, y_hat [B,H/16,W/16,dim]; index, there [B,H/16,W/16,S].
About 2.2 M parameters.

Source: van den Oord et al. (2017), VQ-VAE; Lee et al. (2022), residual quantisation of images.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from linksim.model.attention import Block
from linksim.model.layers import conv, hat_basis
from linksim.model.ntc import STRIDE, Analysis, Synthesis
from linksim.model.quantiser import ResidualQuantiser
from linksim.model.token_config import MEND_HEADS, TokenConfig
from linksim.model.token_prior import TokenPrior

__all__ = ["STRIDE", "TokenConfig", "TokenNet"]

MEND_WINDOW = 8


class Mend(keras.layers.Layer):
    """Attention over positions, each told which of its stages are there. The identity, nearly, at the start.

    Args: name: full dotted name; width: channels; stages: S; blocks: how many.
    """

    def __init__(self, name: str, width: int, stages: int, blocks: int) -> None:
        super().__init__(name=name)
        self.blocks = [
            Block(
                f"{name}.block{i}",
                width=width,
                heads=MEND_HEADS,
                window=MEND_WINDOW,
                hidden=2 * width,
                condition=stages,
                shift=i % 2 == 1,
            )
            for i in range(blocks)
        ]

    def call(self, t, there):
        """t [B,h,w,width], there [B,h,w,S] 0 or 1 -> [B,h,w,width]."""
        for block in self.blocks:
            t = block(t, there)
        return t


class TokenNet(keras.Model):
    """The tokeniser and, if the weights have one, the prior; ``parts`` are the separable pieces."""

    def __init__(self, cfg: TokenConfig | None = None) -> None:
        super().__init__(name="tokens")
        self.cfg = cfg = cfg or TokenConfig()
        latent = cfg.transforms.latent
        self.g_a = Analysis(cfg.transforms)
        self.g_s = Synthesis(cfg.transforms)
        self.down = conv("down", latent, cfg.dim, 1)
        self.up = conv("up", cfg.dim, latent, 1)
        self.lost = conv("lost", cfg.stages, latent, 1, scale=0.0)
        self.mend = Mend("mend", latent, cfg.stages, cfg.mend) if cfg.mend else None
        self.q = ResidualQuantiser(
            "q",
            cfg.dim,
            (cfg.codes,) * cfg.stages,
            (1,) * cfg.stages,
            cfg.bands,
            cfg.lagrange,
        )
        self.prior = TokenPrior(cfg.prior, cfg.stages, cfg.codes, cfg.dim) if cfg.prior else None
        self.built = True

    @property
    def parts(self) -> dict[str, keras.layers.Layer]:
        """Name -> layer, in a fixed order."""
        names = ["g_a", "g_s", "down", "up", "lost", "q"]
        names += ["mend"] * bool(self.cfg.mend) + ["prior"] * bool(self.cfg.prior)
        return {name: getattr(self, name) for name in names}

    def books(self) -> list[Any]:
        """Codebook of each stage, [K, dim]."""
        return [stage.codebook for stage in self.q.stages]

    def latents(self, x):
        """x [B,H,W,3] 0..255 -> what g_a says, [B,h,w,latent]."""
        quality = ops.zeros_like(x[:, 0, 0, 0]) + self.cfg.view
        return self.g_a(x / 255.0 - 0.5, hat_basis(quality, self.cfg.transforms.anchors))

    def analyse(self, x):
        """x [B,H,W,3] 0..255 -> y."""
        return self.down(self.latents(x))

    def encode(self, x):
        """What the transmitter does: all tokens, [B,h,w,S] int32."""
        return ops.stack(self.q.search(self.analyse(x), self.cfg.survivors), -1)

    def codes_of(self, index, there):
        """Sum of the codes that are there. Args: index [B,h,w,S] int, any where there [B,h,w,S] is 0."""
        y_hat: Any = 0.0
        for s, book in enumerate(self.books()):
            code = ops.take(book, ops.maximum(index[..., s], 0), axis=0)
            y_hat = y_hat + code * there[..., s : s + 1]
        return y_hat

    def synthesise(self, y_hat, there):
        """What the receiver does: y_hat, there [B,h,w,S] 0 or 1 -> x_hat 0..255, not clipped."""
        share = ops.mean(there, (1, 2, 3))
        phi = hat_basis(share, self.cfg.transforms.anchors)
        latents = self.up(y_hat) + self.lost(1.0 - there)
        if self.mend is not None:
            latents = self.mend(latents, there)
        return (self.g_s(latents, phi) + 0.5) * 255.0

    def estimate(self, index, there, lost):
        """What the prior expects of y_hat where positions are lost, given all that is there; without gradient.

        Args:    index [B,h,w,S] int; there [B,h,w,S] 0 or 1; lost [B,h,w] 0 or 1.
        Returns: [B,h,w,dim], zero where not lost.
        """
        assert self.prior is not None
        _, rows, columns, stages = index.shape
        count = rows * columns
        known = ops.reshape(there, (-1, count, stages)) > 0
        pieces = self.prior.pieces(
            ops.where(known, ops.reshape(index, (-1, count, stages)), -1), self.books()
        )
        content = sum(pieces[1:], pieces[0])
        query = ops.zeros_like(content) + ops.sum(self.prior.absent, 0)
        asked = ops.reshape(lost, (-1, count)) > 0
        heard = known[..., 0]
        rounds = ops.where(asked, 1, ops.where(heard, 0, -1))
        alone = ops.arange(count, dtype="int32") + 1000  # what nobody may hear
        groups = ops.where(ops.logical_or(asked, heard), 0, alone)
        state = self.prior.states(content, query, rounds, groups, rows, columns)
        found = ops.reshape(self.prior.estimate(state), (-1, rows, columns, self.cfg.dim))
        return ops.stop_gradient(found) * lost[..., None]

    def call(self, x, there, filled=None):
        """Training pass.

        Args:    x [B,H,W,3] float32 0..255; there [B,h,w,S] 0 or 1; filled [B,h,w] 0 or 1, lost positions that show
                 what the prior expects (needs one).
        Returns: x_hat [B,H,W,3]; y; y_hat without gradient; inputs and indices of the quantiser's stages.
        """
        y = self.analyse(x)
        parts, inputs, _, indices = self.q(y, survivors=self.cfg.survivors)
        y_hat = sum(part * there[..., s : s + 1] for s, part in enumerate(parts))
        shown = y_hat
        if self.prior is not None and filled is not None:
            shown = y_hat + self.estimate(ops.stack(indices, -1), there, filled)
        return self.synthesise(shown, there), y, ops.stop_gradient(y_hat), inputs, indices


def there_at(stages: int, level: float, order: np.ndarray) -> np.ndarray:
    """The first ``level`` tokens of every position, a broken number in the first positions of an order.

    Args:    stages: S; level: in 0..S; order [h, w] int, a permutation of 0..h w - 1.
    Returns: [h, w, S] float32, 0 or 1.
    """
    count = np.floor(level) + (order < round((level - np.floor(level)) * order.size))
    return (np.arange(stages) < count[..., None]).astype(np.float32)
