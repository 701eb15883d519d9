"""Latents of one picture, moved by the encoder to where they cost less and show more.

A network codes all pictures alike; the encoder, which has the decoder's weights, can look for better integers for the
one at hand. Rounding has no gradient, so each latent is drawn between its two neighbouring integers, softly, and the
draw gets harder from step to step: stochastic Gumbel annealing. The decoder need not know.

Annealing takes some twenty steps to overtake few steps that go straight down the slope which the latents have where
they are rounded, each half as far as the one before; equal ones would run away, since rounding hides what they do.

# deviates: Adam divides a slope by its own size; here by that and its picture's together, for within some dozen steps
# the many latents that hardly matter would otherwise walk at random (measured: -0.5 to -2.5 dB instead of +0.2 to 0.4).

Source: Yang, Bamler & Mandt (2020), "Improving inference for neural image compression", NeurIPS, Sec. 3.2; Campos et
al. (2019).
"""

from __future__ import annotations

import numpy as np

from linksim.errors import RunStateError
from linksim.graphs import Graphs, rows_of_part
from linksim.seeds import Seed

RATE, BETAS = 0.07, (0.9, 0.99)  # of Adam, in quantisation steps; chosen on validation faces
HOT, COLD = 0.4, 0.15  # temperature at the first and at the last step
AIM = 1.4  # times lambda of the level: coarser steps, better filled; worth 0.03 dB at equal bits on validation faces
FEW = 20  # steps up to which there is no annealing
HALVINGS = 8  # of these: later ones would move nothing
DOWN = 2e-3  # of the first of few: quantisation steps by bits a step; chosen on validation faces
EDGE = 1e-4  # what keeps atanh finite next to an integer


class Refiner:
    """The search on one network.

    Args: graphs: of an NtcNet with its weights.
    """

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs

    def refine(
        self,
        images: np.ndarray,
        y: np.ndarray,
        z: np.ndarray,
        phi: np.ndarray,
        lagrangian: np.ndarray,
        steps: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Better latents for each picture's R + lambda D.

        Up to ``FEW`` steps move y alone. Of more, every other one draws noise and the next one sees its negative, which
        is another draw of the same law and cancels what is linear in the noise from the slope. The noise is the same
        for all pictures and in every run: a picture's latents depend on it alone.

        Args:
          images:     [B,H,W,3] uint8; what is padded besides has no distortion.
          y, z:       of ``NtcNet.analyse``, before rounding; z in quantisation steps.
          phi:        [B,K]; lagrangian [B], lambda of R [bits a pixel] + lambda MSE.
          steps:      down the slope; more than ``FEW``: of Adam.
        Returns: y, z.
        Raises:  RunStateError: Keras does not run on TensorFlow.
        """
        import keras

        if (backend := keras.backend.backend()) != "tensorflow":
            raise RunStateError(
                f"refine needs KERAS_BACKEND=tensorflow, this process has {backend}"
            )
        gain = np.exp(phi @ np.asarray(self._graphs.net.gain.table, np.float64))[:, None, None]
        seed = Seed.root(0).child("ntc", "refine")
        fixed = [np.asarray(a, np.float32) for a in (images, phi, lagrangian)]
        moved = [np.asarray(y * gain, np.float32), np.asarray(z, np.float32)]
        together = rows_of_part(images.shape[1] * images.shape[2])
        if steps <= FEW:
            pixels = np.float32(images.shape[1] * images.shape[2])
            for step in range(min(steps, HALVINGS)):
                slope = self._graphs.shared(
                    "slope", (*moved, *fixed), function=self._rounded_slope, size=together
                )[0]
                moved[0] = moved[0] - np.float32(DOWN / 2**step) * pixels * slope
            return moved[0] / gain, z
        first, second = ([np.zeros_like(m) for m in moved] for _ in range(2))
        for step in range(steps):
            share = step / max(steps - 1, 1)
            temperature = np.float32(HOT * (COLD / HOT) ** share)
            rng, sign = seed.child(step // 2).generator(), np.float32((-1) ** step)
            # the difference of two Gumbel variables is logistic
            noise = [sign * rng.logistic(size=(1, *m.shape[1:])).astype(np.float32) for m in moved]
            given = (*moved, *fixed)
            slopes = self._graphs.shared(
                "slopes", given, *noise, temperature, function=self._gradient, size=together
            )
            for j, slope in enumerate(slopes):
                first[j] += (1 - BETAS[0]) * (slope - first[j])
                second[j] += (1 - BETAS[1]) * (slope**2 - second[j])
                square = second[j] / (1 - BETAS[1] ** (step + 1))
                size = np.sqrt(square) + np.sqrt(square.mean((1, 2, 3), keepdims=True))
                rate = RATE * (1 - step / steps) / (1 - BETAS[0] ** (step + 1))
                moved[j] = moved[j] - np.float32(rate) * first[j] / np.maximum(size, 1e-12)
        return moved[0] / gain, moved[1]

    def _gradient(self, u, z, x, phi, lagrangian, noise_u, noise_z, temperature):
        import tensorflow as tf

        def rounding(value, noise):
            return softly(value, noise, temperature)

        with tf.GradientTape() as tape:
            tape.watch([u, z])
            cost = self._cost(u, z, x, phi, lagrangian, rounding, noise_u, noise_z)
        return tape.gradient(cost, [u, z])

    def _rounded_slope(self, u, z, x, phi, lagrangian):
        import tensorflow as tf

        from linksim.model.ntc import straight_through

        def rounding(value, _noise):
            return straight_through(value)

        with tf.GradientTape() as tape:
            tape.watch(u)
            cost = self._cost(u, z, x, phi, lagrangian, rounding, u, z)
        return tape.gradient(cost, u)

    def _cost(self, u, z, x, phi, lagrangian, rounding, noise_u, noise_z):
        """Sum over pictures of R [bits a pixel] + lambda MSE."""
        from keras import ops

        bits, x_hat = self._graphs.net.drawn(u, z, phi, rounding, noise_u, noise_z)
        _, height, width, _ = x.shape
        mse = ops.mean(ops.square(x_hat[:, :height, :width] - x), (1, 2, 3))
        return ops.sum(bits / (height * width) + lagrangian * mse)


def softly(value, noise, temperature):
    """A draw between the two integers around a value, as near to one of them as the temperature is low.

    Args: noise: logistic, like value. Returns: like value, with gradients.
    """
    from keras import ops

    below = ops.stop_gradient(ops.floor(value))
    part = ops.clip(value - below, EDGE, 1.0 - EDGE)
    # log odds of the upper integer: atanh of how near each is, over the temperature
    odds = ops.arctanh(part) - ops.arctanh(1.0 - part)
    return below + ops.sigmoid((odds / temperature + noise) / temperature)
