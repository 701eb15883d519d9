"""What makes a fine-tune perceptual: LPIPS-squeeze and a patch discriminator beside the task's own loss.

    generator:      own loss + beta_lpips L - beta_adversarial mean D(x_hat), L = LPIPS(x, x_hat) or its logarithm
    discriminator:  mean max(0, 1 - D(x)) + mean max(0, 1 + D(x_hat))

They move in turn, each with an optimiser of its own; the discriminator sees the pictures that the generator has just
made. Trained on squeeze, scored on alex, so that the score is not what was optimised.

Source: Zhang et al. (2018); Lim & Ye (2017), hinge loss; Mentzer et al. (2020), HiFiC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from linksim.errors import ScenarioError
from linksim.model.critic import PatchCritic

LPIPS_FLOOR = 0.01  # inside the logarithm


@dataclass(frozen=True)
class Perceptual:
    """Weights of the perceptual terms, from ``options.perceptual`` of a recipe.

    Args:
      lpips:       beta of LPIPS.
      adversarial: beta of the discriminator's; 0: there is none.
      relative:    L is ln(LPIPS + 0.01): pictures that are nearly right count as much as poor ones, as in a log MSE.
      critic_rate: factor of its learning rate.
      width:       of its first layer.
    """

    lpips: float = 1.0
    adversarial: float = 0.0
    relative: bool = False
    critic_rate: float = 1.0
    width: int = 32

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Perceptual:
        """Raises ScenarioError for keys or values that make no sense."""
        given = options.get("perceptual", {})
        known = [f.name for f in fields(cls)]
        if not isinstance(given, Mapping) or set(given) - set(known):
            raise ScenarioError(
                f"must be a mapping with keys of {known}, got {given!r}", key="options.perceptual"
            )
        made = cls(**given)
        if made.lpips < 0 or made.adversarial < 0 or made.critic_rate <= 0 or made.width < 1:
            raise ScenarioError(
                f"betas must be >= 0, critic_rate and width above 0, got {dict(given)}",
                key="options.perceptual",
            )
        return made


class WithCritic:
    """A network and the discriminator that it is trained against, as one set of parts.

    Args: net: the network in use; critic.
    """

    def __init__(self, net: Any, critic: PatchCritic) -> None:
        self.net, self.critic, self.cfg = net, critic, net.cfg

    @property
    def parts(self) -> dict[str, Any]:
        """The network's parts, and the critic."""
        return {**self.net.parts, "critic": self.critic}


def squeeze(x: Any, x_hat: Any) -> Any:
    """LPIPS-squeeze of two batches on the 0..255 scale, differentiable. Returns: [B]."""
    from linksim.metric.lpips import tensor_distance

    return tensor_distance("squeeze", x, x_hat)


def generator_terms(net: WithCritic, how: Perceptual, x: Any, x_hat: Any) -> tuple[Any, dict]:
    """What the perceptual terms add to the generator's loss, and figures. Args: x, x_hat on the 0..255 scale."""
    from keras import ops

    figures = {}
    value: Any = 0.0
    if how.lpips:
        distance = squeeze(x, x_hat)
        figures["lpips"] = ops.mean(distance)
        term = ops.mean(ops.log(distance + LPIPS_FLOOR)) if how.relative else figures["lpips"]
        value = value + how.lpips * term
    if how.adversarial:
        figures["fooled"] = ops.mean(net.critic(x_hat / 127.5 - 1.0))
        value = value - how.adversarial * figures["fooled"]
    return value, figures


def critic_loss(net: WithCritic, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Hinge loss of the discriminator. Args: batch: ``x``, and ``x_hat`` as the generator's turn carries it."""
    from keras import ops

    real = net.critic(ops.cast(batch["x"], "float32") / 127.5 - 1.0)
    made = net.critic(ops.stop_gradient(batch["x_hat"]) / 127.5 - 1.0)
    value = ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + made))
    return value, {"critic": value, "state": net.critic.updates()}
