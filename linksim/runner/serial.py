"""A run in this process: one shard at a time meets every point."""

from __future__ import annotations

from linksim.runner.board import Board, Failure, Progress
from linksim.runner.cell import Bench, CellResult
from linksim.runner.components import reason


def run_here(board: Board, bench: Bench, progress: Progress | None) -> None:
    """Compute what ``board`` wants."""
    for s, shard in enumerate(board.shards):
        for p, point in enumerate(board.points):
            if not board.wants(p, s):
                continue
            if progress is not None:
                progress(board.settled, board.total, point.title)
            try:
                result: CellResult | Failure = bench.simulate(
                    point,
                    shard,
                    board.cell(p, s),
                    pictures=board.scenario.in_grid(point),
                    references=board.lacks_references(s),
                )
            except (KeyboardInterrupt, SystemExit, MemoryError):
                raise
            except Exception as error:
                result = Failure(reason(error))
            board.offer(p, s, result)
        if board.uses(s) and (missing := board.lacks_references(s)):
            board.keep_references(s, CellResult(references=bench.references(shard, missing)))
