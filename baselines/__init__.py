"""Separated systems and published curves, written on linksim's public interfaces as a third party would."""
