"""Bootstrap and Clopper-Pearson intervals: coverage, references, clusters, edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from linksim.metric.interval import bootstrap_mean, clopper_pearson, paired_difference


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_bootstrap_is_that_of_scipy(method: str) -> None:
    values = np.random.default_rng(3).exponential(size=40)
    want = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=20000,
        method="BCa" if method == "bca" else method,
        random_state=np.random.default_rng(0),
    ).confidence_interval
    got = bootstrap_mean(values, num_resamples=20000, method=method)  # type: ignore[arg-type]
    np.testing.assert_allclose(got, want, atol=0.02 * (want.high - want.low))


def test_coverage() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(400):
        low, high = bootstrap_mean(rng.normal(3, 2, 60), seed=trial, num_resamples=400)
        covered += low <= 3 <= high
    low, high = stats.binom.ppf(
        [1e-4, 1 - 1e-4], 400, 0.94
    )  # the bootstrap at N = 60 is a little short
    assert low <= covered <= high


def test_realisations_of_one_image_are_one_draw() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=50)
    repeated = np.repeat(values, 20)
    images = np.repeat([f"image{i}" for i in range(50)], 20)
    alone = bootstrap_mean(values)
    together = bootstrap_mean(repeated, images)
    # Names sort as text, so that the draws differ: equal widths up to the resampling's noise.
    assert np.diff(together)[0] == pytest.approx(np.diff(alone)[0], rel=0.1)
    assert np.diff(bootstrap_mean(repeated))[0] < np.diff(together)[0] / 3


def test_unequal_clusters_are_weighted_by_their_frames() -> None:
    values, images = np.array([0.0, 0.0, 0.0, 1.0]), np.array([7, 7, 7, 8])
    low, high = bootstrap_mean(values, images, method="percentile")
    assert (low, high) == (0, 1)


def test_deterministic_and_blockwise() -> None:
    values = np.random.default_rng(0).normal(size=3000)  # needs more than one block
    first = bootstrap_mean(values, seed=5)
    assert first == bootstrap_mean(values, seed=5)
    assert first != bootstrap_mean(values, seed=6)
    half = 1.96 / math.sqrt(3000)
    assert first.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert first.high == pytest.approx(values.mean() + half, abs=0.1 * half)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12))
def test_ends_lie_within_the_data(values: list[float]) -> None:
    low, high = bootstrap_mean(values, num_resamples=200)
    room = 1e-9 * max(map(abs, values))
    assert min(values) - room <= low <= high <= max(values) + room


def test_degenerate() -> None:
    assert all(math.isnan(end) for end in bootstrap_mean([3.0]))
    assert all(math.isnan(end) for end in bootstrap_mean([3.0, 4.0], ["a", "a"]))
    assert bootstrap_mean([3.0, 3.0, 3.0]) == (3, 3)
    assert all(np.isfinite(bootstrap_mean([0.0] * 30 + [1.0])))


def test_refused() -> None:
    for values in ([], [[1.0]], [1.0, math.nan], [1.0, math.inf]):
        with pytest.raises(ValueError, match="values must be"):
            bootstrap_mean(values)
    with pytest.raises(ValueError, match="clusters must be"):
        bootstrap_mean([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="level"):
        bootstrap_mean([1.0, 2.0], level=95)
    with pytest.raises(ValueError, match="num_resamples"):
        bootstrap_mean([1.0, 2.0], num_resamples=0)
    with pytest.raises(ValueError, match="method"):
        bootstrap_mean([1.0, 2.0], method="t")  # type: ignore[arg-type]


def test_paired_difference_takes_the_images_out() -> None:
    rng = np.random.default_rng(4)
    base = rng.normal(30, 5, 80)  # images differ by far more than systems do
    first, second = base + 0.3 + rng.normal(0, 0.2, 80), base
    gap = paired_difference(first, second)
    assert gap.value == pytest.approx(np.mean(first - second))
    assert 0 < gap.low < gap.value < gap.high
    alone = bootstrap_mean(first)
    assert alone.low < base.mean()  # without pairing one could not tell
    with pytest.raises(ValueError, match="one shape"):
        paired_difference(first, second[:-1])


@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([0.9, 0.95, 0.99]))
def test_clopper_pearson_is_that_of_scipy(trials: int, share: float, level: float) -> None:
    errors = round(share * trials)
    want = stats.binomtest(errors, trials).proportion_ci(level, "exact")
    np.testing.assert_allclose(clopper_pearson(errors, trials, level), want, atol=1e-12)


def test_clopper_pearson_edges() -> None:
    assert clopper_pearson(0, 0) == (0, 1)
    assert clopper_pearson(0, 100).low == 0
    assert clopper_pearson(0, 100).high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert clopper_pearson(7, 7).high == 1
    for errors, trials in ((-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="errors must be"):
            clopper_pearson(errors, trials)
    with pytest.raises(ValueError, match="level"):
        clopper_pearson(1, 3, 1.0)
