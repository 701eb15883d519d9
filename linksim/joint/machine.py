"""NTSCC's network at work: compiled per picture size, its symbols updated and refined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np

from linksim import quiet, registry
from linksim.errors import ComponentError
from linksim.graphs import Graphs, rows_of_part
from linksim.joint.slope import mse_slope, slope, update_noise, updated
from linksim.model.ntc_config import STRIDE
from linksim.seeds import Seed

NETWORKS = ("ntscc", "ntscc-update", "ntscc-perceptual", "deepjscc")  # whose weights fit
REFINE_RATE, REFINE_BETAS = 0.09, (0.5, 0.99)  # of Adam: the best on validation faces
REFINE_LPIPS = 8.0  # nats of ln MSE that one of LPIPS counts; on validation faces better than 32
UPDATES = 2  # of symbols by f_u, unless a scenario says how many
SLOPES = 1 << 21  # pixels with slopes at once: some 2 GB


class Machine:
    """The network of one set of weights, compiled per picture size.

    Args: weights: name or path; other: weights to mix with, and how much of ``weights`` there is in the mixture.
    """

    def __init__(self, weights: str, other: str = "", share: float = 1.0) -> None:
        quiet.load("keras")
        from linksim.model.ntscc import NtsccConfig, NtsccNet
        from linksim.model.store import assign, belongs, load_bundle

        bundle = load_bundle(weights)
        if (network := bundle.card.get("network")) not in NETWORKS:
            raise ComponentError(
                f"weights {weights!r} are of the network {network!r}, ntscc needs "
                f"{', '.join(NETWORKS[:-1])} or {NETWORKS[-1]}"
            )
        self.bundle, self.weights = bundle, weights
        architecture, arrays = dict(bundle.card["architecture"]), bundle.arrays
        if other:  # a receiver: f_u, which one of the two may lack, is the transmitter's
            architecture["blocks_u"] = 0
            arrays, rest = (
                {k: v for k, v in found.items() if not belongs(k, "f_u")}
                for found in (arrays, load_bundle(other).arrays)
            )
            if {k: v.shape for k, v in rest.items()} != {k: v.shape for k, v in arrays.items()}:
                raise ComponentError(f"weights {weights!r} and {other!r} are of different networks")
            arrays = {k: (1 - share) * rest[k] + share * v for k, v in arrays.items()}
        self.net = net = NtsccNet(NtsccConfig(**architecture))
        assign(net, arrays, what=f"weights {weights}")
        self._graphs = Graphs(lambda: net)
        self._functions: dict[str, Callable[..., Any]] = {
            "encode": self.net.encode,
            "decode": self.net.decode,
            "updated": partial(updated, self.net),
            "mse_slope": partial(mse_slope, self.net),
            "perceptual_slope": self._perceptual_slope,
        }

    @property
    def symbols(self) -> int:
        """Real symbols of an embedding at most."""
        return self.net.cfg.symbols

    @property
    def max_k(self) -> int:
        """Complex symbols of an embedding at most."""
        return self.net.cfg.max_k

    def _run(
        self, verb: str, rows: Sequence[np.ndarray], *whole: np.ndarray, pixels: int
    ) -> np.ndarray:
        """A verb on frames [B, ...], pictures of so many pixels; ``whole``: what all frames see."""
        function, size = self._functions[verb], rows_of_part(pixels)
        return self._graphs.shared(verb, rows, *whole, function=function, size=size)[0]

    def encode(self, x: np.ndarray, snr_db: np.ndarray, k: np.ndarray) -> np.ndarray:
        """See NtsccNet.encode."""
        if not len(x):
            return np.zeros((0, *k.shape[1:], self.symbols))
        return self._run("encode", (x, snr_db, k), pixels=x.shape[1] * x.shape[2])

    def updates(self, wanted: int | None) -> int:
        """How many updates there are. Args: wanted: None for the usual ones. Raises ComponentError: no f_u for them."""
        if self.net.f_u is None and wanted:
            raise ComponentError(
                f"weights {self.weights!r} have no f_u, which updates: {wanted} needs; ntscc has"
            )
        usual = 0 if self.net.f_u is None else UPDATES
        return usual if wanted is None else wanted

    def update(
        self, x: np.ndarray, s: np.ndarray, snr_db: np.ndarray, k: np.ndarray, updates: int
    ) -> np.ndarray:
        """Symbols moved so many times by f_u (``NtsccNet.updated``). Args: as in ``refine``. Returns: like s."""
        for i in range(updates):
            s = self._beside(x, s, snr_db, k, verb="updated", noise=update_noise(i, s.shape[1:]))
        return s

    def decode(self, r: np.ndarray, snr_db: np.ndarray, k: np.ndarray) -> np.ndarray:
        """See NtsccNet.decode."""
        return self._run("decode", (r, snr_db, k), pixels=STRIDE**2 * k.shape[1] * k.shape[2])

    def refine(
        self,
        x: np.ndarray,
        s: np.ndarray,
        snr_db: np.ndarray,
        k: np.ndarray,
        steps: int,
        aim: Literal["mse", "perceptual"] = "mse",
    ) -> np.ndarray:
        """Symbols moved down the gradient of a loss behind AWGN at the SNR believed, by Adam.

        Every other step draws noise and the next one sees its negative: what is linear in the noise then cancels from
        the slope. The noise is the same for all frames and in every run: a frame's symbols depend on its picture alone.

        Args:    x [B,H,W,3], padded; s of ``encode``; snr_db [B]; k [B,h,w]; steps; aim: see ``Ntscc.refine_for``.
        Returns: like s.
        Raises:  RunStateError: Keras runs on neither TensorFlow nor JAX. ComponentError: no weights of LPIPS here.
        """
        seed = Seed.root(0).child("ntscc", "refine")
        moved = np.asarray(s, np.float32)
        first, second = np.zeros_like(moved), np.zeros_like(moved)
        beta1, beta2 = REFINE_BETAS
        for step in range(steps):
            rng = seed.child(step // 2).generator()
            noise = rng.standard_normal((1, *s.shape[1:]), np.float32) * np.float32((-1) ** step)
            gradient = self._beside(x, moved, snr_db, k, verb=f"{aim}_slope", noise=noise)
            first += (1 - beta1) * (gradient - first)
            second += (1 - beta2) * (gradient**2 - second)
            size = np.sqrt(second / (1 - beta2 ** (step + 1))) + 1e-8
            rate = REFINE_RATE * (1 - step / steps) / (1 - beta1 ** (step + 1))
            moved = moved - np.float32(rate) * first / size
        return moved

    def _beside(self, x, s, snr_db, k, *, verb: str, noise: np.ndarray) -> np.ndarray:
        """A verb that takes slopes, of as many frames at once as there is memory for."""
        pixels = x.shape[1] * x.shape[2]
        many = max(1, SLOPES // pixels)
        parts = [[a[i : i + many] for a in (x, s, snr_db, k)] for i in range(0, len(x), many)]
        return np.concatenate([self._run(verb, part, noise, pixels=pixels) for part in parts])

    def _perceptual_slope(self, x, s, snr_db, k, noise):
        """As ``mse_slope``, of ln MSE and LPIPS-squeeze."""
        from linksim.model.ntscc import ln_mse

        lpips = lpips_squeeze()

        def loss(moved):
            x_hat = self.net.through(moved, snr_db, k, noise)
            return ln_mse(x, x_hat) + REFINE_LPIPS * lpips(x, x_hat)

        return slope(loss, s)


def lpips_squeeze() -> Any:
    """LPIPS-squeeze of tensors. Raises ComponentError: its weights are not here."""
    return registry.create("metrics", "lpips-squeeze").tensors


@lru_cache(maxsize=6)
def machine(weights: str, other: str = "", share: float = 1.0) -> Machine:
    """The network of shipped or exported weights, made once. Args: see Machine."""
    return Machine(weights, other, share)
