"""What the command line shows: progress on stderr, tables on stdout. rich is imported at first use."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

DONE, FAILED_POINTS, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130  # exit statuses


class TextOrJson(StrEnum):
    """Forms of a listing."""

    text = "text"
    json = "json"


Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key, such as axes.es_n0_db=[0,5]. Repeatable.",
    ),
]

PLAIN_WIDTH = 160  # of tables that go into a file or a pipe
PLAIN_SECONDS = 5.0  # between two lines of progress there
SLOW_SECONDS = 30.0  # after which something that makes no progress is named, and again after each further while
_EARLY = 0.05  # of the cells: the first ones compile and encode, and say nothing of the others


def say(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)


def plugins_on_stderr() -> AbstractContextManager[Any]:
    """What plug-ins print goes to stderr inside a ``with`` block: stdout is for data."""
    return contextlib.redirect_stdout(sys.stderr)


def print_json(value: Any) -> None:
    """``value`` on stdout."""
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def console() -> Console:
    """Where data go: stdout."""
    from rich.console import Console

    return Console(
        width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, soft_wrap=False
    )


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    title: str | None = None,
    styles: Mapping[str, str] | None = None,
) -> None:
    """A table on stdout. Args: styles: of cells with just that text, as rich names them."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, (styles or {}).get(cell, "")) for cell in row))
    console().print(table)


def duration(seconds: float) -> str:
    """4.2 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


class RunProgress(AbstractContextManager["RunProgress"]):
    """Live progress of a run on stderr: a bar on a terminal, a line every few seconds elsewhere.

    Call it with (cells done, cells in all, what is under way). It also sees to it that Ctrl-C ends the run: compiled
    code may turn the KeyboardInterrupt into an error of its own, which looks like a failed point; the next call then
    raises it again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._printed = float("-inf")
        self._seen: deque[tuple[float, int]] = deque()
        self._bar: Any = None
        self._task: Any = None
        self._interrupted = False
        self._old_handler: Any = None
        self._last = ("preparing", self._started)  # what is under way, and since when
        self._ended = threading.Event()

    def __enter__(self) -> RunProgress:
        usual = (
            signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )  # not so in the background
        if usual and threading.current_thread() is threading.main_thread():
            self._old_handler = signal.signal(signal.SIGINT, self._interrupt)
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
            )

            self._bar = Progress(
                BarColumn(30),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.description}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("preparing", total=None, left="")
            self._bar.start()
        else:
            threading.Thread(target=self._name_the_slow, daemon=True).start()
        return self

    def _name_the_slow(self) -> None:
        """Say so where one thing takes long: a plug-in may sleep, and nothing else would tell."""
        told = 0.0
        while not self._ended.wait(min(1.0, SLOW_SECONDS / 4)):
            text, since = self._last
            spent = self._clock() - since
            told = 0.0 if spent < SLOW_SECONDS else told
            if spent >= told + SLOW_SECONDS:
                told = spent
                say(f"still at {text}, for {duration(spent)}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._old_handler is not None:
            signal.signal(signal.SIGINT, self._old_handler)
        if self._bar is not None:
            self._bar.stop()

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def __call__(self, done: int, total: int, text: str) -> None:
        """Show where the run is. Raises KeyboardInterrupt: if there was one, and it did not get through."""
        if self._interrupted:
            raise KeyboardInterrupt
        self._last = (text, self._clock())
        left = self._left(done, total)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, description=text, left=left)
            return
        now = self._clock()
        if now - self._printed >= PLAIN_SECONDS or done == total:
            self._printed = now
            spent = duration(now - self._started)
            say(f"{done}/{total} cells, {spent}{', ' if left else ''}{left}: {text}")

    def _left(self, done: int, total: int) -> str:
        """The time left at the pace of the last minute: cells found on disk pass in no time, which must not count."""
        now = self._clock()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > 60:
            self._seen.popleft()
        then, before = self._seen[0]
        gone = done - before
        if done >= total or gone <= 0 or now - then < 2 or done < _EARLY * total:
            return ""
        return f"about {duration((now - then) / gone * (total - done))} left"


class TrainProgress(AbstractContextManager["TrainProgress"]):
    """Live progress of a training run on stderr: a bar on a terminal, a line at every log elsewhere.

    ``with TrainProgress() as p: train(..., progress=p.of)``; see ``linksim.train.progress.Progress``.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._batch = 1

    def of(self, config: Any) -> TrainProgress:
        """Itself, told the recipe."""
        self._batch = config.batch
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self._bar = Progress(
                BarColumn(30),
                MofNCompleteColumn(),
                TextColumn("{task.description}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("preparing", total=config.steps)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        """A line worth keeping."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            say(text)

    def update(self, step: int, steps: int, figures: Mapping[str, float], speed: float) -> None:
        """Where the run is; speed [images/s]."""
        left = duration((steps - step) * self._batch / max(speed, 1e-9))
        shown = " ".join(f"{name} {value:.4f}" for name, value in figures.items())
        text = f"{shown}, {speed:.1f} images/s, {left} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, total=steps, description=text)
        else:
            say(f"step {step}/{steps} {text}")
