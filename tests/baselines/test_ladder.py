"""The ladder's rules, on a toy codec whose encoder costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines import ladder, store
from baselines.header import Header
from baselines.ladder import Coded, LadderCodec
from linksim.errors import ImageError, LinksimError
from linksim.types import Codec, Delivered, Status


@dataclass(frozen=True)
class Toy(LadderCodec):
    """Keeps the top q bits of every sample; the payload is bytes of the samples, repeated by nothing."""

    step: int = 1

    codec: ClassVar[str] = "toy"

    def qualities(self) -> dict[int, tuple[int, ...]]:
        return {1: tuple(range(4, 38, self.step)), 2: tuple(range(4, 21, self.step))}

    def version(self) -> str:
        return "toy 1"

    def min_bits(self, height: int, width: int) -> int:
        return 8 * 4

    def compress(self, images: Sequence[np.ndarray], quality: int) -> list[Coded]:
        """One grey level, then as many samples as the quality says, the rest being that level."""
        out = []
        for image in images:
            flat = image.reshape(-1)
            kept = flat[: quality * flat.size // 40]
            out.append((bytes([int(flat.mean())]) + kept.tobytes(), 0))
        return out

    def decompress(self, payload: bytes, header: Header, whole: bool) -> np.ndarray | None:
        rows, columns = header.coded
        flat = np.full(rows * columns * 3, payload[0], np.uint8)
        kept = np.frombuffer(payload[1:], np.uint8)
        flat[: kept.size] = kept
        return flat.reshape(rows, columns, 3)


IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    ladder._ladders.clear()
    ladder._pictures.clear()
    ladder._prepared.clear()


def everything(codec: LadderCodec, budget: int, images: np.ndarray = IMAGES):  # type: ignore[no-untyped-def]
    packets = codec.encode(images, np.full(len(images), budget, np.int64))
    data = tuple(tuple(p.data for p in row) for row in packets.of)
    return packets, codec.decode(Delivered(data, tuple((True,) * len(row) for row in data)))


def test_is_a_codec() -> None:
    assert isinstance(Toy(), Codec)


@pytest.mark.parametrize("mode", ["auto", "full", "lazy"])
@settings(deadline=None)
@given(budget=st.integers(0, 8 * 900))
def test_budget_is_never_exceeded(mode: str, budget: int) -> None:
    packets, decoded = everything(Toy(ladder=mode), budget)  # type: ignore[arg-type]
    for row, image, status in zip(packets.of, decoded.images, decoded.status, strict=True):
        assert sum(p.num_bits for p in row) <= budget
        assert (status == Status.OK) == bool(row)
        assert all(p.header_bytes == 3 for p in row)
        assert image is None or image.shape == (16, 16, 3)


def test_full_ladder_takes_the_least_mse_that_fits() -> None:
    codec = Toy()
    keys = codec._keys(IMAGES)
    rungs = codec._with(IMAGES, keys, dict.fromkeys(keys, codec._all()))
    for budget in (100, 250, 500, 800):
        _, decoded = everything(codec, 8 * budget)
        mse = codec.distortion(IMAGES, np.array([8 * budget]))[:, 0]
        for b, key in enumerate(codec._keys(IMAGES)):
            best = min(r.mse for r in rungs[key].values() if len(r.data) <= budget)
            assert mse[b] == best
            image = decoded.images[b]
            assert image is not None
            assert np.mean((image.astype(float) - IMAGES[b]) ** 2) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("mode", ["auto", "full", "lazy"])
def test_outage(mode: str) -> None:
    codec = Toy(ladder=mode, step=2)  # type: ignore[arg-type]
    packets, decoded = everything(codec, 8 * 20)
    assert packets.of == ((), (), ())
    assert decoded.images == (None, None, None)
    assert set(decoded.status) == {Status.OUTAGE}
    assert np.isinf(codec.distortion(IMAGES, np.array([8 * 20]))).all()


def test_second_sweep_encodes_nothing_even_in_another_process() -> None:
    codec, schemes = Toy(step=3), 8 * np.arange(60, 800, 20)
    codec.prepare(IMAGES, schemes)
    everything(codec, 8 * 300)
    before = ladder.encodings()
    assert before
    forget_what_another_process_would_not_have()
    for budget in schemes:
        codec.prepare(IMAGES, schemes)
        everything(Toy(step=3), budget)
    codec.distortion(IMAGES, schemes)
    assert ladder.encodings() == before


def forget_what_another_process_would_not_have() -> None:
    ladder._ladders.clear()
    ladder._prepared.clear()


def test_a_full_ladder_serves_every_other_budget_too() -> None:
    codec = Toy(step=3, ladder="full")
    images = IMAGES ^ 5
    before = ladder.encodings()
    everything(codec, 8 * 300, images)
    assert ladder.encodings() - before == len(images) * len(codec._all())
    forget_what_another_process_would_not_have()
    for mode in ("full", "auto", "lazy"):
        for budget in range(100, 800, 50):
            everything(Toy(step=3, ladder=mode), 8 * budget, images)  # type: ignore[arg-type]
    assert ladder.encodings() - before == len(images) * len(codec._all())


def test_lazy_ladders_encode_few_rungs_and_agree_whatever_is_cached() -> None:
    images = IMAGES[:1] ^ 11
    before = ladder.encodings()
    first, _ = everything(Toy(ladder="lazy", step=2), 8 * 400, images)
    few = ladder.encodings() - before
    everything(Toy(step=2, ladder="full"), 8 * 400, images)  # fills the same ladder whole
    assert 0 < few < (ladder.encodings() - before) / 2
    again, _ = everything(Toy(ladder="lazy", step=2), 8 * 400, images)
    assert again == first


def test_lazy_ladders_prepare_nothing() -> None:
    before = ladder.encodings()
    Toy(ladder="lazy").prepare(IMAGES ^ 7, 8 * np.arange(100, 800, 60))
    assert ladder.encodings() == before


def test_distortion_is_that_of_the_picture_sent() -> None:
    budgets = 8 * np.arange(10, 800, 60)
    images = IMAGES ^ 9
    promised = Toy(ladder="lazy").distortion(images, budgets)
    for m, budget in enumerate(budgets):
        _, decoded = everything(Toy(), budget, images)
        for b, image in enumerate(decoded.images):
            error = np.inf if image is None else np.mean((image.astype(float) - images[b]) ** 2)
            assert promised[b, m] == pytest.approx(error, rel=1e-6)


def test_equal_images_in_a_batch_are_encoded_once() -> None:
    images = IMAGES[[0, 0, 0]] ^ 1
    before = ladder.encodings()
    packets, _ = everything(Toy(ladder="full"), 8 * 400, images)
    assert ladder.encodings() - before == len(Toy()._all())
    assert packets.of[0] == packets.of[2]


def test_content_shape_and_parameters_are_in_the_key() -> None:
    image = IMAGES[:1]
    reshaped = image.reshape(1, 8, 32, 3)
    keys = [
        Toy()._keys(image),
        Toy()._keys(image ^ 1),
        Toy()._keys(reshaped),
        Toy(step=2)._keys(image),
    ]
    assert len({k[0] for k in keys}) == 4
    assert Toy(ladder="lazy")._keys(image) == Toy()._keys(image)


def test_a_damaged_ladder_is_rebuilt() -> None:
    codec = Toy(step=5, ladder="full")
    first, _ = everything(codec, 8 * 300)
    path = store.path_of("toy", codec._keys(IMAGES)[0])
    path.write_bytes(path.read_bytes()[:-30])
    ladder._ladders.clear()
    before = ladder.encodings()
    assert everything(codec, 8 * 300)[0] == first
    assert ladder.encodings() - before == len(codec._all())
    ladder._ladders.clear()
    assert store.load("toy", codec._keys(IMAGES)[0])


def test_a_failing_encoder_keeps_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    images = IMAGES ^ 3
    compress = Toy.compress

    def sometimes(self: Toy, images: Sequence[np.ndarray], quality: int) -> list[Coded]:
        if quality == 20:
            raise LinksimError("the encoder fell over")
        return compress(self, images, quality)

    monkeypatch.setenv("LINKSIM_CODEC_JOBS", "1")
    monkeypatch.setattr(Toy, "compress", sometimes)
    with pytest.raises(LinksimError, match="fell over"):
        everything(Toy(ladder="full"), 8 * 300, images)
    assert store.load("toy", Toy()._keys(images)[0])


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((2, 8, 8, 4), np.uint8),
        np.zeros((1, 8, 8, 3)),
        np.zeros((1, 0, 8, 3), np.uint8),
    ],
)
def test_images_of_another_form_are_refused_in_one_line(wrong: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"take \[B, H, W, 3\] uint8 images, got") as caught:
        Toy().encode(wrong, np.full(len(wrong), 8000))
    assert "\n" not in str(caught.value)


def test_jobs_variable_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKSIM_CODEC_JOBS", "none")
    with pytest.raises(LinksimError, match="LINKSIM_CODEC_JOBS must be a number"):
        ladder.workers()
