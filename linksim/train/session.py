"""On what a run has been trained, and for how long: kept in its checkpoint, told in the model card."""

from __future__ import annotations

import json
import platform
from typing import Any

import numpy as np


def device_name() -> str:
    """The accelerator, or the processor, that Keras computes on in this process."""
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        kind = device.device_kind if device.platform != "cpu" else processor()
    elif backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
        kind = details.get("device_name", "GPU") if gpus else processor()
    else:
        kind = processor()
    return f"{kind}, KERAS_BACKEND={backend}"


def processor() -> str:
    """The processor's model, where the system tells it, and how many threads run on it."""
    import os

    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(line.split(":", 1)[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"CPU ({name}, {os.cpu_count()} threads)"


def read_sessions(arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The sessions in a checkpoint: device, first and last step, seconds. Empty for older ones."""
    return json.loads(str(arrays["sessions"])) if "sessions" in arrays else []


def by_device(sessions: list[dict[str, Any]], seconds: float) -> dict[str, float]:
    """Hours on each device. Args: seconds: of the whole run, some of which old checkpoints did not attribute."""
    hours: dict[str, float] = {}
    for session in sessions:
        device = session["device"]
        hours[device] = hours.get(device, 0.0) + session["seconds"] / 3600
    if (rest := seconds / 3600 - sum(hours.values())) > 0.005:
        hours["not recorded"] = rest
    return {device: round(value, 2) for device, value in hours.items()}
