"""What a metric's numbers mean: title, unit, direction, averaging rule."""

from __future__ import annotations

from dataclasses import dataclass

from linksim import registry
from linksim.errors import LinksimError

PSNR_OF_MEAN_MSE = "psnr-of-mean-mse"

_TITLES = {
    "mse": "MSE",
    "psnr": "PSNR",
    PSNR_OF_MEAN_MSE: "PSNR of the mean MSE",
    "ssim": "SSIM",
    "ms-ssim": "MS-SSIM",
    "lpips-alex": "LPIPS (AlexNet)",
    "lpips-squeeze": "LPIPS (SqueezeNet)",
    "fid": "FID",
    "kid": "KID",
    "frechet-lpips-alex": "Fréchet distance of LPIPS-Alex features",
}


@dataclass(frozen=True)
class MetricInfo:
    """A metric for people.

    Args:
      name:             registry name.
      title:            for an axis or a heading.
      unit:             "dB" or "".
      higher_is_better: None where nobody knows (the metric's plug-in is not installed here).
      averaging:        how images become one number.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool | None
    averaging: str

    @property
    def label(self) -> str:
        """Title, unit and averaging rule, for an axis."""
        unit = f" [{self.unit}]" if self.unit else ""
        return f"{self.title}{unit}, {self.averaging}" if self.averaging else f"{self.title}{unit}"

    @property
    def hint(self) -> str:
        """Which direction is good."""
        if self.higher_is_better is None:
            return ""
        return "higher is better" if self.higher_is_better else "lower is better"


def describe(name: str) -> MetricInfo:
    """What is known of a metric; reads its class where it is registered here."""
    if name == PSNR_OF_MEAN_MSE:
        return MetricInfo(name, _TITLES[name], "dB", True, "")
    title = _TITLES.get(name, name)
    try:
        cls = registry.find("metrics", name).load()
    except LinksimError:  # a run made with a plug-in can still be read without it
        return MetricInfo(name, title, "", None, "mean of images")
    averaging = "whole set" if hasattr(cls, "extractor") else "mean of images"
    return MetricInfo(
        name,
        title,
        str(getattr(cls, "unit", "")),
        getattr(cls, "higher_is_better", None),
        str(getattr(cls, "averaging", averaging)),
    )
