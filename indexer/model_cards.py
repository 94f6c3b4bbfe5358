"""Licence, source and limits of a downloaded model: its own card's, or those of its publication."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

_MOST_CARD = 1 << 20
_UNKNOWN = "Its makers' limits were not found: read its own model card before you rely on it."


@dataclass(frozen=True)
class Card:
    """What the user is shown of a model."""

    licence: str
    source: str
    limits: str


# In the model's configuration -> what its publishers say (huggingface.co, the repository named).
_PUBLISHED = (
    (
        re.compile("BiomedNLP-(Biomed|PubMed)BERT"),
        Card(
            "MIT",
            "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
            "For research: its makers call any deployed use, commercial or not, out of scope. "
            "Trained on figures of PubMed Central and their English captions.",
        ),
    ),
    (
        re.compile('timm/ViT-[^"]*SigLIP'),
        Card(
            "Apache-2.0",
            "timm/ViT-B-16-SigLIP and its kin",
            "Trained on pictures of the web, not on medical images.",
        ),
    ),
    (
        re.compile(r'"quick_gelu": true'),
        Card(
            "",
            "",
            "Trained from CLIP of OpenAI, whose makers call any deployed use out of scope; "
            "texts in English, at most 77 word pieces.",
        ),
    ),
)


def write(folder: Path, name: str, kind: str, config: Path) -> None:
    """Write model.toml into a folder that has none: an open_clip or an image_only model."""
    own = _licence(folder)
    found = _of_pictures(config) if kind == "image_only" else _of_pairs(config)
    rows = {
        "name": name,
        "kind": kind,
        "licence": own or found.licence,
        "source": found.source,
        "limits": found.limits,
    }
    lines = [f"{key} = {_quoted(value)}\n" for key, value in rows.items() if value]
    (folder / "model.toml").write_text("".join(lines), "utf-8")


def _of_pairs(config: Path) -> Card:
    text = config.read_text("utf-8", "replace")
    text = json.dumps(json.loads(text))  # one way of writing spaces
    known = next((card for words, card in _PUBLISHED if words.search(text)), None)
    return known or Card("", "", _UNKNOWN)


def _of_pictures(config: Path) -> Card:
    described = json.loads(config.read_text("utf-8", "replace"))
    shown = described.get("pretrained_cfg")
    licence = shown.get("license") if isinstance(shown, dict) else None
    source = f"timm/{described['architecture']}" if "architecture" in described else ""
    return Card(
        str(licence or ""), source, f"Finds pictures by pictures; reads no words. {_UNKNOWN}"
    )


def _licence(folder: Path) -> str:
    """Return the licence that the head of a model card names (README.md of a repository).

    One that is called "other" there has its name in a line of its own.
    """
    card = folder / "README.md"
    if not card.is_file():
        return ""
    with card.open(encoding="utf-8", errors="replace") as file:
        head = re.match(r"---\n(.*?)\n---", file.read(_MOST_CARD), re.DOTALL)
    named = {
        key: re.search(rf"^{key}: *[\"']?([\w.+-]{{1,60}})[\"']? *$", head[1], re.MULTILINE)
        for key in ("license", "license_name")
        if head
    }
    said = [found[1] for found in named.values() if found and found[1] != "other"]
    return said[0] if said else ""


def _quoted(value: str) -> str:
    """Return a basic string of TOML."""
    plain = "".join(letter if letter.isprintable() else " " for letter in value)
    return json.dumps(plain, ensure_ascii=False)
