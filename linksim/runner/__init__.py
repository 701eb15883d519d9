"""Runs a scenario: points x shards of images = cells, each cell one part on disk.

    scenario -> points x shards -> Board: what is decided, what is not
                                     |  ^
                     serial, or      v  |  rows, features, pictures
                     parallel:  Bench, one in each process: one shard meets one point

A cell is content-addressed: its id hashes everything that determines its rows (point, images, realisations, root seed,
metrics, version). A cell that is on disk is never computed again, one that is not is computed in isolation, so a run
that was killed and resumed has the rows of one that was not, and many workers have those of one. Of each point the
shards are decided and written in their order: what ends a point (its stopping rule, an error) ends it at the same shard
whoever computed it. Only this side of a run writes; dask.distributed is imported where there are workers alone.
"""

from linksim.runner.ahead import Preview, preview
from linksim.runner.cell import cell_id
from linksim.runner.deal import Share
from linksim.runner.images import Shard, open_metrics, open_source, shards
from linksim.runner.session import RunSummary, run

__all__ = [
    "Preview",
    "RunSummary",
    "Shard",
    "Share",
    "cell_id",
    "open_metrics",
    "open_source",
    "preview",
    "run",
    "shards",
]
