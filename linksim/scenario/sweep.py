"""Sweep values: a single value, a list, or start/stop/step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from linksim.scenario.document import KeyPath, number

MAX_VALUES = 10_000


class SweepError(ValueError):
    """A sweep that cannot be used. Args: path: where below the axis' key the mistake stands."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path: KeyPath = path


def is_range(value: Any) -> bool:
    """Whether a value is written as start/stop/step."""
    return isinstance(value, Mapping) and bool(value) and set(value) <= {"start", "stop", "step"}


def expand(value: Any, parse: Callable[[Any], Any] = number) -> tuple[Any, ...]:
    """The values of a sweep, in the order written.

    Args:    parse: turns one value into what is swept; raises ValueError.
    Returns: at least one value, none twice.
    Raises:  SweepError.
    """
    if is_range(value):
        found = tuple(_parsed(v, parse) for v in _range(value))
    elif isinstance(value, list | tuple):
        found = tuple(_parsed(v, parse, i) for i, v in enumerate(value))
    else:
        found = (_parsed(value, parse),)
    if not found:
        raise SweepError("the sweep is empty; give at least one value")
    for i, item in enumerate(found):
        if item in found[:i]:
            raise SweepError(f"{item!r} is given twice; keep one", *([i] if len(found) > 1 else []))
    return found


def _parsed(value: Any, parse: Callable[[Any], Any], *path: int) -> Any:
    try:
        return parse(value)
    except SweepError:
        raise
    except ValueError as error:
        raise SweepError(str(error), *path) from None


def _range(given: Mapping[str, Any]) -> list[float]:
    """start, start + step, ... up to and including stop."""
    missing = [k for k in ("start", "stop", "step") if k not in given]
    if missing:
        raise SweepError(f"a range needs start, stop and step; {' and '.join(missing)} missing")
    ends = {}
    for key in ("start", "stop", "step"):
        try:
            ends[key] = number(given[key])
        except ValueError as error:
            raise SweepError(str(error), key) from None
    start, stop, step = ends["start"], ends["stop"], ends["step"]
    if step == 0:
        raise SweepError("must not be 0", "step")
    steps = (stop - start) / step
    if steps < -1e-9:
        raise SweepError(
            f"the sweep is empty: from {start:g} to {stop:g} in steps of {step:g}; turn the sign of step"
        )
    if steps >= MAX_VALUES:
        raise SweepError(f"gives {steps:.3g} values, more than {MAX_VALUES}; raise step")
    # Rounded, so that 0.1 steps give 0.3 and not 0.30000000000000004.
    return [round(start + i * step, 10) for i in range(int(steps + 1e-9) + 1)]


def db(value: Any) -> float:
    """An SNR in dB. Raises ValueError unless finite and within +-200."""
    found = number(value)
    if abs(found) > 200:
        raise ValueError(f"must be between -200 and 200 dB, got {value!r}")
    return found


def positive(value: Any) -> float:
    """A budget. Raises ValueError unless finite and above 0."""
    found = number(value)
    if found <= 0:
        raise ValueError(f"must be above 0, got {value!r}")
    return found


def probability(value: Any) -> float:
    """A rate. Raises ValueError unless within 0..1."""
    found = number(value)
    if not 0 <= found <= 1:
        raise ValueError(f"must be between 0 and 1, got {value!r}")
    return found


def anything(value: Any) -> Any:
    """A parameter of a system: its class checks it."""
    return value


@dataclass(frozen=True)
class Believed:
    """What the transmitter takes the SNR for: ``absolute`` values, or the true one plus ``offsets``, dB."""

    offsets: tuple[float, ...] = (0.0,)
    absolute: tuple[float, ...] = ()

    @property
    def is_truth(self) -> bool:
        """Whether it always believes the true SNR, so that the table needs no column for it."""
        return not self.absolute and self.offsets == (0.0,)

    def at(self, es_n0_db: float) -> tuple[float, ...]:
        """The believed values at one true SNR."""
        return self.absolute or tuple(round(es_n0_db + offset, 10) for offset in self.offsets)

    def written(self) -> Any:
        """As a scenario writes it."""
        return list(self.absolute) if self.absolute else {"offset_db": list(self.offsets)}

    @classmethod
    def read(cls, value: Any) -> Believed:
        """From a scenario. Raises SweepError."""
        if isinstance(value, Mapping) and not is_range(value):
            if set(value) != {"offset_db"}:
                raise SweepError(
                    "must be a list of dB values, start/stop/step, or {offset_db: dB}, got "
                    f"{dict(value)!r}"
                )
            try:
                return cls(offsets=expand(value["offset_db"], db))
            except SweepError as error:
                raise SweepError(str(error), "offset_db", *error.path) from None
        return cls(absolute=expand(value, db))
