"""The NTC codec: budgets, sizes, exactness, damage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures_small import pictures

from linksim.codec.engine import LEVELS, engine, painter
from linksim.codec.ntc import HALF, QUARTER, WHOLE, Ntc, estimate, pack, read_varint, varint
from linksim.codec.ntc_refine import AIM
from linksim.errors import ComponentError, MissingAssetError
from linksim.types import Delivered, Packets, Status


def delivered(packets: Packets) -> Delivered:
    data = tuple(tuple(p.data for p in row) for row in packets.of)
    return Delivered(data, tuple((True,) * len(row) for row in data))


def test_budgets_are_met_and_filled(codec):
    images = pictures(6, 128, 128)
    machine = engine(codec.weights)
    small = [estimate(s, 128, 128) for s in machine.analyse(images, [4] * 6)]
    large = [estimate(s, 128, 128) for s in machine.analyse(images, [120] * 6)]
    share = np.linspace(0.02, 0.98, 6)
    budget = np.ceil(np.array(small) + 24 + share * (np.array(large) - small)).astype(np.int64)
    bits = codec.encode(images, budget).num_bits()
    assert (bits <= budget).all()
    assert (bits / budget > 0.93).all()


def test_decoding_gives_the_encoders_picture(codec):
    images = pictures(3, 128, 128)
    machine = engine(codec.weights)
    made = machine.analyse(images, [10, 60, 120])
    packets = Packets(tuple((pack(machine, s, 128, 128),) for s in made))
    decoded = codec.decode(delivered(packets))
    assert decoded.status == (Status.OK,) * 3
    for symbols, picture in zip(made, decoded.images, strict=True):
        assert np.array_equal(picture, machine.synthesise(symbols, 128, 128))


def test_quality_pays(codec):
    image = pictures(1, 64, 64)
    bits = [1500, 4000, 12000]
    mse = codec.distortion(image, np.array(bits))[0]
    assert np.isfinite(mse).all() and (np.diff(mse) <= 0).all()


@pytest.mark.parametrize("level", [0, 40, 90, LEVELS])
def test_size_is_the_estimate(weights, level):
    machine = engine(weights)
    for symbols in machine.analyse(pictures(4, 128, 128), [level] * 4):
        bits = pack(machine, symbols, 128, 128).num_bits
        model = estimate(symbols, 128, 128)
        assert model <= bits <= model + 16
        assert bits <= 1.02 * model or model < 800


@pytest.mark.parametrize("size", [(1, 1), (37, 101), (128, 128), (130, 65)])
def test_any_size_travels(codec, size):
    images = pictures(2, *size)
    packets = codec.encode(images, np.full(2, 60_000))
    decoded = codec.decode(delivered(packets))
    assert [i.shape for i in decoded.images] == [images.shape[1:]] * 2


def test_refined_latents_are_better_and_any_decoder_shows_them():
    images = pictures(3, 64, 64)
    machine = engine("ntc")
    costs = {}
    for steps in (0, 3, 40):
        found = machine.analyse(images, [30, 60, 90], steps)
        error = [
            np.mean(np.square(machine.synthesise(s, 64, 64) - i.astype(float)))
            for s, i in zip(found, images, strict=True)
        ]
        weight = [AIM * machine.config.lagrangian(s.level / LEVELS) for s in found]
        bits = np.array([s.bits for s in found]) / 64**2
        costs[steps] = bits + np.multiply(weight, error)
    for steps, most in ((3, 0.99), (40, 0.98)):
        assert (costs[steps] <= costs[0]).all()
        assert costs[steps].sum() < most * costs[0].sum()

    refined = Ntc("ntc", refine=10)
    budget = np.full(3, 6000)
    packets = refined.encode(images, budget)
    assert (packets.num_bits() <= budget).all()
    assert packets.of[1] == refined.encode(images[1:2], budget[:1]).of[0]
    assert packets.of != Ntc("ntc").encode(images, budget).of
    here, there = (c.decode(delivered(packets)) for c in (refined, Ntc("ntc")))
    assert here.status == (Status.OK,) * 3
    assert all(np.array_equal(a, b) for a, b in zip(here.images, there.images, strict=True))


@pytest.mark.parametrize("size", [(37, 101), (1, 1)])
def test_what_is_padded_has_no_say_in_refinement(size):
    images = pictures(1, *size)
    packets = Ntc("ntc", refine=3).encode(images, np.full(1, 60_000))
    assert Ntc("ntc").decode(delivered(packets)).images[0].shape == images.shape[1:]


@pytest.mark.parametrize("steps", [-1, 1001])
def test_refine_is_a_number_of_steps(steps):
    with pytest.raises(ValueError, match=r"refine must be 0\.\.1000 steps, got"):
        Ntc(refine=steps)


def test_other_weights_draw_the_same_packets(weights, brighter, other_weights):
    """Blending is linear in the weights: its ends are the two decoders, the packets are the encoder's."""
    images, budget = pictures(2, 64, 80), np.full(2, 9000)
    packets = Ntc(weights).encode(images, budget)

    def shown(**how):
        codec = Ntc(weights, **how)
        assert codec.encode(images, budget).of == packets.of
        return np.stack(codec.decode(delivered(packets)).images).astype(int)

    mine, theirs = shown(), shown(decoder=brighter)
    assert theirs.std() > 1.1 * mine.std()
    assert np.array_equal(shown(decoder=brighter, blend=0.0), mine)
    between = painter(weights, brighter, 0.25).bundle.arrays["g_s.linear/log_scale"]
    first = engine(weights).bundle.arrays["g_s.linear/log_scale"]
    assert np.allclose(between, first + 0.25 * np.log(2), atol=1e-3)
    half = shown(decoder=brighter, blend=0.5)
    assert mine.std() < half.std() < theirs.std()
    # the curve that shares of a budget follow is that of the pictures that are shown
    whole = np.array([9000.0])
    assert (
        Ntc(weights, decoder=brighter).distortion(images, whole)
        != Ntc(weights).distortion(images, whole)
    ).all()
    with pytest.raises(ComponentError, match="trained for other latents"):
        Ntc(weights, decoder=other_weights).decode(delivered(packets))
    with pytest.raises(ValueError, match=r"blend must be 0\.\.1, got 1\.5"):
        Ntc(blend=1.5)


def test_below_the_lowest_level_pictures_are_coded_smaller():
    codec, images = Ntc("ntc"), pictures(3, 97, 128)
    assert WHOLE.count == LEVELS + 1
    assert codec.quality_levels() == (QUARTER.count, HALF.count, WHOLE.count)
    assert QUARTER.first + QUARTER.count == 256 and HALF.first + HALF.count == QUARTER.first
    errors = []
    for bits in (280, 350, 450, 560, 900, 2400):
        budget = np.full(3, bits)
        packets = codec.encode(images, budget)
        assert (packets.num_bits() <= budget).all()
        shown = codec.decode(delivered(packets))
        assert shown.status == (Status.OK,) * 3
        assert all(picture.shape == images[0].shape for picture in shown.images)
        found = (np.stack(shown.images).astype(float) - images) ** 2
        errors.append(found.mean((1, 2, 3)))
        # one picture alone, and what a share of a budget goes by
        assert codec.encode(images[1:2], budget[:1]).of[0] == packets.of[1]
        assert np.allclose(
            np.log(codec.distortion(images, budget[:1])[:, 0] / errors[-1]), 0, atol=0.4
        )
    # where tiers meet, the larger size may be the worse one
    assert (np.diff(errors[:3], axis=0) < 0).all() and (np.diff(errors[-2:], axis=0) < 0).all()
    assert (np.diff(errors, axis=0) < 0.25 * np.array(errors[:-1])).all()
    for level in (0, QUARTER.count, QUARTER.count + HALF.count):  # the lowest of each tier
        packets = codec.encode_at(images, level)
        assert codec.decode(delivered(packets)).status == (Status.OK,) * 3
        assert packets.of[0][0].data[1] in (QUARTER.first, HALF.first, WHOLE.first)

    # a tier is used where no level of the next one fits
    large = pictures(1, 250, 300)
    half, whole = (
        codec.encode_at(large, level).num_bits()
        for level in (QUARTER.count, QUARTER.count + HALF.count)
    )
    for budget, tier in ((half - 1, QUARTER), (half, HALF), (whole - 1, HALF), (whole, WHOLE)):
        (packet,) = codec.encode(large, budget).of[0]
        assert tier.first <= packet.data[1] < tier.first + tier.count


def test_too_small_a_budget_is_an_outage(codec):
    images = pictures(2, 128, 128)
    least = codec.min_bits(128, 128)
    packets = codec.encode(images, np.array([least - 1, 10]))
    assert packets.of == ((), ())
    decoded = codec.decode(delivered(packets))
    assert decoded.status == (Status.OUTAGE,) * 2
    assert np.isinf(codec.distortion(images, np.array([least - 1]))).all()


def test_an_empty_batch(codec):
    assert len(codec.encode(np.zeros((0, 128, 128, 3), np.uint8), np.zeros(0, np.int64))) == 0
    assert codec.decode(Delivered()).images == ()


def test_a_lost_packet_is_a_failed_picture(codec):
    packets = codec.encode(pictures(1, 64, 64), np.array([9000]))
    data = packets.of[0][0].data
    decoded = codec.decode(Delivered(((data[:20],),), ((False,),)))
    assert decoded.images == (None,) and decoded.status == (Status.FAILED,)


def test_batch_order_and_company_change_nothing(codec):
    images = pictures(5, 128, 128)
    packets = codec.encode(images, np.full(5, 6000))
    together = codec.decode(delivered(packets)).images
    order = [3, 0, 4, 2, 1]
    shuffled = codec.decode(delivered(Packets(tuple(packets.of[i] for i in order)))).images
    for place, i in enumerate(order):
        alone = codec.decode(delivered(Packets((packets.of[i],)))).images[0]
        assert np.array_equal(shuffled[place], together[i]) and np.array_equal(alone, together[i])


CHILD = """
import sys, json, hashlib
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
from linksim.codec.engine import engine
from linksim.codec.ntc import unpack
from linksim.codec.ntc import read_varint
weights, *packets = json.load(sys.stdin)
machine = engine(weights)
out = []
for text in packets:
    data = bytes.fromhex(text)
    s = machine.read(data[4:], data[1], 128, 128)
    picture = unpack(machine, data)
    digest = hashlib.sha256(s.z.tobytes() + s.s.tobytes() + s.mu.tobytes()).hexdigest()
    out.append([digest, hashlib.sha256(picture.tobytes()).hexdigest()])
print(json.dumps(out))
"""


def test_another_process_with_other_threads_decodes_the_same(weights):
    import hashlib

    machine = engine(weights)
    made = machine.analyse(pictures(3, 128, 128), [5, 64, 110])
    data = [pack(machine, s, 128, 128).data for s in made]
    result = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([weights, *(d.hex() for d in reversed(data))]),
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=True,
    )
    there = list(reversed(json.loads(result.stdout)))
    for symbols, (digest, picture) in zip(made, there, strict=True):
        content = symbols.z.tobytes() + symbols.s.tobytes() + symbols.mu.tobytes()
        assert digest == hashlib.sha256(content).hexdigest()
        here = machine.synthesise(symbols, 128, 128)
        assert picture == hashlib.sha256(here.tobytes()).hexdigest()


def test_another_models_packets_fail(codec, other_weights):
    packets = codec.encode(pictures(8, 64, 64), np.full(8, 9000))
    decoded = Ntc(other_weights).decode(delivered(packets))
    assert decoded.status.count(Status.FAILED) >= 7  # one in 256 slips through the check


@given(st.binary(max_size=120))
@settings(max_examples=40, deadline=None)
def test_arbitrary_bytes_never_raise(codec, data):
    decoded = codec.decode(Delivered(((data,),), ((True,),)))
    assert decoded.status[0] in (Status.OK, Status.FAILED)


def test_damage_is_seen(codec):
    data = codec.encode(pictures(1, 64, 64), np.array([9000])).of[0][0].data
    rng = np.random.default_rng(0)
    damaged = []
    for _ in range(40):
        copy = bytearray(data)
        copy[rng.integers(len(copy) - 4)] ^= 1 << rng.integers(8)
        damaged.append((bytes(copy),))
    damaged += [(data[:n],) for n in range(0, len(data) - 4, 50)]
    decoded = codec.decode(Delivered(tuple(damaged), ((True,),) * len(damaged)))
    assert decoded.status.count(Status.FAILED) >= len(damaged) - 4


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**21 - 1])
def test_varints_return(value):
    assert read_varint(b"x" + varint(value) + b"y", 1) == (value, 1 + len(varint(value)))


def test_endless_varints_end():
    with pytest.raises(ValueError, match="size"):
        read_varint(b"\xff" * 9, 0)


def test_missing_and_damaged_weights_say_so(weights, tmp_path):
    with pytest.raises(MissingAssetError, match="no-such"):
        Ntc("no-such").encode(pictures(1, 64, 64), np.array([9000]))
    copy = tmp_path / "cut.npz"
    copy.write_bytes(Path(weights).read_bytes()[:-100])
    copy.with_suffix(".json").write_text(Path(weights).with_suffix(".json").read_text())
    with pytest.raises(ComponentError, match="truncated or of another version"):
        engine(str(copy))


def test_weights_of_another_network_are_refused(weights, tmp_path):
    copy = tmp_path / "else.npz"
    copy.write_bytes(Path(weights).read_bytes())
    card = json.loads(Path(weights).with_suffix(".json").read_text()) | {"network": "ntscc"}
    copy.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ComponentError, match="ntscc"):
        engine(str(copy))
