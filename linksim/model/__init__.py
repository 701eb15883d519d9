"""Keras 3 networks, entropy models and LPIPS, in keras.ops alone (no tensorflow, no sionna)."""
