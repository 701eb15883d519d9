"""A law that every component of a kind obeys, as a measurement: what it gives, and how tables say it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Outcome = tuple[bool, float, float, str]  # passed, measured, expected, in words


class Broken(Exception):
    """A law that a component breaks outright; the message says how."""


class NotApplicable(Exception):
    """A law that says nothing about this component; the message gives the reason."""


@dataclass(frozen=True)
class LawResult:
    """One law, measured.

    Args:
      name:     the law.
      passed:   whether it holds; true where it does not apply.
      measured: the number measured, NaN where the law is a yes or no.
      expected: what it should be, likewise.
      text:     in words, with the tolerance or what was seen; or why the law does not apply.
      applies:  whether the law says something about this component.
    """

    name: str
    passed: bool
    measured: float
    expected: float
    text: str
    applies: bool = True

    @property
    def verdict(self) -> str:
        """ "passed", "FAILED" or "n/a"."""
        return ("passed" if self.passed else "FAILED") if self.applies else "n/a"


def yes(passed: bool, text: str) -> Outcome:
    """An outcome without a number."""
    return passed, math.nan, math.nan, text


def measure(name: str, law: Callable[[], Outcome]) -> LawResult:
    """The result of a law. Raises nothing, whatever a component under it does."""
    nan = math.nan
    try:
        passed, measured, expected, text = law()
    except NotApplicable as reason:
        return LawResult(name, True, nan, nan, str(reason), applies=False)
    except Broken as broken:
        return LawResult(name, False, nan, nan, str(broken))
    except (Exception, SystemExit) as error:  # a plug-in may raise anything; the table says what
        said = " ".join(str(error).split())
        return LawResult(name, False, nan, nan, f"raised {type(error).__name__}: {said}")
    return LawResult(name, bool(passed), float(measured), float(expected), text)
