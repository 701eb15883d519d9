"""Errors that a user can meet. Each message says what was wrong, what was got and what would do."""

from __future__ import annotations

from pathlib import Path


class LinksimError(Exception):
    """Base of every error that linksim raises on purpose; the CLI prints its message in one line."""


class ScenarioError(LinksimError, ValueError):
    """A scenario that cannot be run, with the place of the mistake.

    Args:
      message: what was wrong, what was got, what would do.
      file:    the scenario file, if any.
      line:    1-based line in that file, if known.
      key:     dotted path of the key, if known.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        key: str | None = None,
    ) -> None:
        self.message, self.file, self.line, self.key = message, file, line, key
        place = ":".join(str(part) for part in (file, line) if part is not None)
        super().__init__(": ".join(part for part in (place, key, message) if part))


class BudgetError(LinksimError, ValueError):
    """A budget (cbr or bpp) too small for the system that should meet it."""


class UnknownNameError(LinksimError, ValueError):
    """A name that no component is registered under; the message offers the nearest."""


class DuplicateNameError(LinksimError, ValueError):
    """Two components registered under one name; the message names both."""


class ComponentError(LinksimError, ValueError):
    """Parameters that a component refuses, or a plug-in that cannot be loaded."""


class MissingAssetError(LinksimError):
    """A file (weights, images, a program) that is not on this machine; the message names the fix."""


class ImageError(LinksimError, ValueError):
    """An image that cannot be read or has the wrong form."""


class TimeLimitError(LinksimError):
    """A cell or a test of a plug-in that took longer than it may."""


class RunStateError(LinksimError):
    """A results folder in a state that does not allow what was asked."""


class ClusterError(LinksimError):
    """Workers that cannot be had: an address that does not answer, a package or program that is missing."""
