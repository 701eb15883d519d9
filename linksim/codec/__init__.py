"""Learned source codecs: images <-> packets."""
