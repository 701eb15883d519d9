"""Training and export of the learned systems."""
