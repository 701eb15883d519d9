from __future__ import annotations

import json
import warnings
from itertools import pairwise

import numpy as np
import pytest

from baselines import gallager, gallager_measure
from baselines.gallager import COUNTS, DEGREES, Gallager
from linksim import registry
from linksim.errors import BudgetError, MissingAssetError
from linksim.types import BlockPlan, ChannelCode

RATES = [1 / 4, 1 / 2, 2 / 3, 3 / 4]
SMALL = Gallager(block_bits=144)


def noisy_llr(coded: np.ndarray, es_n0_db: float, seed: int = 0) -> np.ndarray:
    """LLRs, ln p(1)/p(0), of coded bits sent as QPSK."""
    n0 = 10 ** (-es_n0_db / 10)
    rng = np.random.default_rng(seed)
    y = (1 - 2.0 * coded) / np.sqrt(2) + np.sqrt(n0 / 2) * rng.standard_normal(coded.shape)
    return (-4 * y / np.sqrt(2) / n0).astype(np.float32)


def sent(plan: BlockPlan, code: Gallager, batch: int = 3) -> tuple[np.ndarray, np.ndarray]:
    bits = np.random.default_rng(1).integers(0, 2, (batch, plan.info_bits), np.uint8)
    return bits, code.encode(bits, plan)


@pytest.mark.parametrize("rate", RATES)
def test_round_trip_without_noise(rate: float) -> None:
    plan = SMALL.plan(500, 2, rate)
    bits, coded = sent(plan, SMALL)
    assert coded.shape == (3, plan.coded_bits) and coded.dtype == np.uint8
    assert not coded[:, plan.num_code_blocks * 144 :].any()
    decoded, ok, good = SMALL.decode(np.where(coded, 9.0, -9.0).astype(np.float32), plan)
    assert ok.all() and (decoded == bits).all() and (good == plan.info_bits).all()
    assert plan.num_symbols == 500
    assert plan.info_bits + plan.crc_bits == pytest.approx(rate * 144 * plan.num_code_blocks)


@pytest.mark.parametrize("degrees", DEGREES)
def test_code_words_meet_every_check(degrees: tuple[int, int]) -> None:
    check, generator = gallager._matrices(144, *degrees)
    assert (check.sum(axis=0) == degrees[0]).all() and (check.sum(axis=1) == degrees[1]).all()
    assert not (check @ generator % 2).any()
    assert generator.shape[1] >= 144 - 144 * degrees[0] // degrees[1]


def test_corrects_noise_and_the_crc_sees_what_it_cannot() -> None:
    code = Gallager()
    plan = code.plan(600, 2, 0.5)
    bits, coded = sent(plan, code, batch=6)
    decoded, ok, _ = code.decode(noisy_llr(coded, 4.0), plan)
    assert ok.all() and (decoded == bits).all()
    decoded, ok, good = code.decode(noisy_llr(coded, -3.0), plan)
    assert not ok.any() and (decoded != bits).any(axis=1).all() and not good.any()


def test_a_word_does_not_depend_on_its_batch() -> None:
    code = Gallager()
    plan = code.plan(1200, 2, 0.5)
    _, coded = sent(plan, code, batch=8)
    llr = noisy_llr(coded, 1.9)
    together = code.decode(llr, plan)
    alone = [code.decode(llr[b : b + 1], plan) for b in range(8)]
    assert (together[0] == np.concatenate([bits for bits, _, _ in alone])).all()
    assert together[1].tolist() == [bool(ok[0]) for _, ok, _ in alone]


def test_agrees_with_pyldpcs_own_decoder() -> None:
    import pyldpc

    code = Gallager(block_bits=144, num_iter=10)
    check, _ = gallager._matrices(144, 3, 6)
    llr = noisy_llr(np.zeros((12, 144), np.uint8), 2.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # words that do not converge
        theirs = [
            pyldpc.decode(check, -row.astype(float) / 2, 0.0, maxiter=10)
            for row in np.clip(llr, -20, 20)
        ]
    assert (code.decode_words(llr, 3, 6) == np.array(theirs)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_any_llr_is_survived(bad: float) -> None:
    plan = SMALL.plan(144, 2, 0.5)
    _, ok, _ = SMALL.decode(np.full((2, plan.coded_bits), bad, np.float32), plan)
    assert ok.shape == (2,)


def test_crc_is_24a_of_38212() -> None:
    bits = np.zeros((1, 40), np.uint8)
    bits[0, -1] = 1
    assert int("".join(map(str, gallager._crc24a(bits)[0])), 2) == 0x864CFB


@pytest.mark.parametrize(
    ("symbols", "rate", "message"),
    [(20, 0.5, "too few for gallager's block"), (500, 0.9, "no code within 0.03 of rate 0.900")],
)
def test_what_cannot_be_served_is_said(symbols: int, rate: float, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        SMALL.plan(symbols, 2, rate)


def test_error_rates_are_measured_counts() -> None:
    assert COUNTS.exists(), f"{COUNTS} is missing: run python -m baselines.gallager_measure"
    table = json.loads(COUNTS.read_text())
    assert table["command"].startswith("python -m baselines.gallager_measure")
    for name, points in table["curves"].items():
        snr, errors, blocks = np.array(points).T
        assert (np.diff(snr) > 0).all() and (errors <= blocks).all(), name
        assert errors[0] / blocks[0] > 0.7 and errors[-1] / blocks[-1] < 0.05 and errors[-1] >= 40
    code = Gallager()
    grid = np.linspace(-10, 30, 200)
    for qm, rate in ((2, 0.25), (2, 0.5), (4, 0.5), (6, 0.75), (8, 0.75)):
        plan = code.plan(4000, qm, rate)
        curve = code.error_rate(grid, plan)
        assert (np.diff(curve) <= 0).all() and curve[0] == pytest.approx(1) and curve[-1] < 1e-3
    few, many = code.plan(600, 2, 0.5), code.plan(6000, 2, 0.5)
    assert code.error_rate(np.array(2.2), few) < code.error_rate(np.array(2.2), many)


def test_shipped_counts_can_be_measured_again() -> None:
    points = json.loads(COUNTS.read_text())["curves"]["n=576 iter=20 dv=3 dc=6 qm=2"]
    snr, errors, blocks = points[len(points) // 2]
    wrong, seen = gallager_measure.count(Gallager(), 3, 6, 2, snr, 10**9, 200)
    expected = seen * errors / blocks
    assert abs(wrong - expected) < 4 * np.sqrt(expected) + 3


def test_unmeasured_lengths_name_the_command() -> None:
    with pytest.raises(MissingAssetError, match=r"run python -m baselines.gallager_measure"):
        SMALL.error_rate(np.zeros(1), SMALL.plan(500, 2, 0.5))


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_measuring_maps_like_38211(bits: int) -> None:
    levels = gallager_measure.pam_levels(bits // 2)
    assert 2 * np.mean(levels**2) == pytest.approx(1)
    order = np.argsort(levels)
    flips = [bin(a ^ b).count("1") for a, b in pairwise(order)]
    assert set(flips) == {1}  # Gray
    assert levels[0] > 0  # 38.211: a leading 0 is positive
    if bits == 4:
        assert levels * np.sqrt(10) == pytest.approx([1, 3, -1, -3])


def test_is_registered_and_checks_its_parameters() -> None:
    assert isinstance(registry.create("channel_codes", "gallager"), ChannelCode)
    for wrong in ({"block_bits": 100}, {"num_iter": 0}):
        with pytest.raises(ValueError, match="got"):
            Gallager(**wrong)
