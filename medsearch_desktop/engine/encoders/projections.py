"""The trained projections of the compact encoder: arrays that bring both towers to one space."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medsearch_desktop import errors

_NORM_EPSILON = 1e-5  # torch's layer_norm


class Heads:
    """The trained projections of both towers, as arrays.

    Each tower has `members` small networks. A member standardises the
    features, normalises them where it has TOWER.norm, applies its layers with
    GELU or ReLU between them, and brings the result to unit length; the
    members stand side by side in the vector, each with its weight. So the
    cosine of two vectors is the weighted mean of the members'.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        """Take arrays `weights`, TOWER.mean, TOWER.scale and TOWER.MEMBER.LAYER.weight and .bias.

        There may be TOWER.norm.weight and .bias; `gelu` means GELU between
        layers. Raises ValueError when one is missing or the towers do not fit.
        """
        self._arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
        try:
            self._weights = self._arrays["weights"]
            widths = {tower: self._widths(tower) for tower in ("image", "text")}
        except KeyError as error:
            raise ValueError(f"the heads hold no array {error}") from error
        if widths["image"] != widths["text"] or 0 in widths["image"]:
            raise ValueError("the heads of images and texts do not fit one another")
        self.dimension = sum(widths["image"])

    @staticmethod
    def read(path: Path) -> Heads:
        """Return the heads of a safetensors file; raises EncoderError if they are none."""
        import safetensors
        from safetensors.numpy import load_file

        try:
            return Heads(load_file(path))
        except (safetensors.SafetensorError, ValueError) as error:
            raise errors.EncoderError(path.parent.name, f"{path.name}: {error}") from error

    def _widths(self, tower: str) -> list[int]:
        return [
            len(self._arrays[f"{tower}.{member}.{self._layers(tower, member) - 1}.bias"])
            for member in range(len(self._weights))
        ]

    def _layers(self, tower: str, member: int) -> int:
        prefix = f"{tower}.{member}."
        return sum(n.startswith(prefix) and n.endswith(".weight") for n in self._arrays)

    def is_linear(self, tower: str) -> bool:
        """Say whether each member of a tower is linear, up to the length of what comes out."""
        is_single = all(self._layers(tower, m) == 1 for m in range(len(self._weights)))
        return is_single and f"{tower}.norm.weight" not in self._arrays

    def project(self, tower: str, features: np.ndarray) -> np.ndarray:
        """Return the unit vectors (n, d) of one tower's features (n, f)."""
        start = (features - self._arrays[f"{tower}.mean"]) / self._arrays[f"{tower}.scale"]
        if (gain := self._arrays.get(f"{tower}.norm.weight")) is not None:
            start = start - start.mean(axis=1, keepdims=True)
            start = start / np.sqrt(start.var(axis=1, keepdims=True) + _NORM_EPSILON)
            start = start * gain + self._arrays[f"{tower}.norm.bias"]
        parts = []
        for member, weight in enumerate(self._weights):
            values = start
            for layer in range(self._layers(tower, member)):
                prefix = f"{tower}.{member}.{layer}"
                values = self._bent(values) if layer else values
                values = values @ self._arrays[prefix + ".weight"].T
                values = values + self._arrays[prefix + ".bias"]
            parts.append(unit(values) * np.sqrt(weight))
        return unit(np.concatenate(parts, axis=1))

    def shares(self, activation: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Return float32 (h, w), whose mean is the cosine of an image (f, h, w) and a vector (d,).

        Only for an image tower that `is_linear`.
        """
        places = activation.reshape(len(activation), -1).T
        values = (places - self._arrays["image.mean"]) / self._arrays["image.scale"]
        found, start = np.zeros(len(values)), 0
        shares = self._weights / self._weights.sum()
        for member, weight in enumerate(shares):
            prefix = f"image.{member}.0"
            own = values @ self._arrays[prefix + ".weight"].T + self._arrays[prefix + ".bias"]
            length = max(float(np.linalg.norm(own.mean(axis=0))), 1e-12)
            found += np.sqrt(weight) * (own @ vector[start : start + own.shape[1]]) / length
            start += own.shape[1]
        return np.asarray(found.reshape(activation.shape[1:]), np.float32)

    def _bent(self, values: np.ndarray) -> np.ndarray:
        if "gelu" not in self._arrays:
            return np.asarray(np.maximum(values, 0), np.float32)
        # The form with tanh (Hendrycks and Gimpel, arXiv 1606.08415, section 2).
        inner = np.sqrt(2 / np.pi) * (values + 0.044715 * values**3)
        return np.asarray(0.5 * values * (1 + np.tanh(inner)), np.float32)


def unit(rows: np.ndarray) -> np.ndarray:
    """Return the rows at unit length; a row of zeros becomes the diagonal direction.

    One that is not finite stays so, to be told: it comes from damaged weights.
    """
    rows = np.asarray(rows, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    dead = lengths < 1e-12
    spread = np.float32(1 / np.sqrt(max(rows.shape[1], 1)))
    with np.errstate(invalid="ignore"):
        return np.where(dead, spread, rows / np.where(dead, 1, lengths)).astype(np.float32)
