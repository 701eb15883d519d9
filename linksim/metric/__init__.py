"""Metrics: pure functions on images and features, and confidence intervals."""
