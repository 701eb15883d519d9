"""What the tree search for tokens is worth, on pictures that are always here."""

from __future__ import annotations

from linksim.bench.pictures import photos
from linksim.bench.token_search import main, measure
from linksim.codec.tokens import TokenCodec


def test_the_search_buys_error_and_lpips_for_a_few_bits():
    codec = TokenCodec(decoder="tokens-perceptual")
    one, eight = measure(codec, photos(12), (1, 8), (8,))
    assert (one["survivors"], eight["survivors"], one["pictures"]) == (1, 8, 12)
    assert eight["error"] < 0.98 * one["error"] and eight["psnr"] > one["psnr"]
    assert one["bits_a_token"] < eight["bits_a_token"] < 1.06 * one["bits_a_token"]
    assert eight["lpips-alex"] < 0.98 * one["lpips-alex"]


def test_a_set_that_is_not_there_is_told(capsys):
    assert main(["/no/such.tar"]) == 2
    assert "/no/such.tar" in capsys.readouterr().err
