"""linksim: images go in, a link carries them, images come out.

Every system meets the same channel under the same budget. Importing this package is cheap: TensorFlow, Sionna,
pandas and matplotlib are loaded only by the rooms that need them, at first use.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("linksim")
except PackageNotFoundError:  # running from a bare checkout
    __version__ = "0+unknown"
