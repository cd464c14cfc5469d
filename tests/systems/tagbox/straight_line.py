"""The package's front end and networks written straight down in NumPy from a bundle's arrays, one patch, no torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Power of a periodic Hann window of 512 every 256 samples, ends mirrored, in Slaney's bands: (frame, 96)."""
    padded = np.pad(wave.astype(np.float64), 256, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    frames = [padded[i : i + 512] * window for i in range(0, len(padded) - 511, 256)]
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2

    def hertz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top = 15 + 27 * np.log(8.0) / np.log(6.4)
    edges = [hertz(top * i / 97) for i in range(98)]
    bank = np.zeros((257, 96))
    for band in range(96):
        low, middle, high = edges[band : band + 3]
        for bin_ in range(257):
            at = bin_ * 16_000 / 512
            if low < at < high:
                share = (at - low) / (middle - low) if at <= middle else (high - at) / (high - middle)
                bank[bin_, band] = share * 2 / (high - low)
    return np.log10(10_000 * (power @ bank) + 1)


def norm(x: np.ndarray, arrays: Arrays, number: int) -> np.ndarray:
    name = "batch_normalization" + (f"_{number}" if number else "")
    mean, variance, gamma, beta = (
        arrays[f"{name}/{part}"] for part in ("moving_mean", "moving_variance", "gamma", "beta")
    )
    return (x - mean) / np.sqrt(variance + 0.001) * gamma + beta


def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """ReLU of what a kernel (height, width, in, out) makes of (row, column, in), without padding."""
    height, width = kernel.shape[:2]
    rows, columns = x.shape[0] - height + 1, x.shape[1] - width + 1
    y = np.zeros((rows, columns, kernel.shape[3]))
    for i in range(height):
        for j in range(width):
            y += x[i : i + rows, j : j + columns] @ kernel[i, j]
    return np.maximum(y + bias, 0)


def musicnn(features: np.ndarray, arrays: Arrays) -> dict[str, np.ndarray]:
    """(187, 96) -> logits and the penultimate layer."""
    x = norm(features[:, :, None], arrays, 0)
    parts = []
    for i, (before, after) in enumerate(((3, 3), (3, 3), (63, 64), (31, 32), (15, 16))):
        name = "conv2d" + (f"_{i}" if i else "")
        padded = np.pad(x, ((before, after), (0, 0), (0, 0)))
        parts.append(norm(convolved(padded, arrays[f"{name}/kernel"], arrays[f"{name}/bias"]), arrays, i + 1).max(1))
    front = np.concatenate(parts, 1)
    sums, y = [front], front
    for i in (5, 6, 7):
        padded = np.pad(y, ((3, 3), (0, 0)))[:, :, None]
        kernel, bias = arrays[f"conv2d_{i}/kernel"], arrays[f"conv2d_{i}/bias"]
        new = norm(convolved(padded, kernel, bias)[:, 0], arrays, i + 1)
        y = new if i == 5 else new + y
        sums.append(y)
    every = np.concatenate(sums, 1)
    pooled = norm(np.stack([every.max(0), every.mean(0)], 1).reshape(-1), arrays, 9)
    last = norm(np.maximum(pooled @ arrays["dense/kernel"] + arrays["dense/bias"], 0), arrays, 10)
    return {"logits": last @ arrays["dense_1/kernel"] + arrays["dense_1/bias"], "penultimate": last, "cnn3": y.T}


def vgg(features: np.ndarray, arrays: Arrays) -> dict[str, np.ndarray]:
    """(187, 96) -> logits and the last pooling."""
    x = norm(features[:, :, None], arrays, 0)
    for i, (height, width, step) in enumerate(((4, 1, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (4, 4, 4)), start=1):
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        x = norm(convolved(padded, arrays[f"{i}CNN/kernel"], arrays[f"{i}CNN/bias"]), arrays, i)
        rows = range(0, x.shape[0] - height + 1, step)
        columns = range(0, x.shape[1] - width + 1, step)
        x = np.array([[x[r : r + height, c : c + width].max((0, 1)) for c in columns] for r in rows])
    return {"logits": x.reshape(-1) @ arrays["dense/kernel"] + arrays["dense/bias"], "pool5": x.transpose(2, 0, 1)}
