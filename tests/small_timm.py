"""Small random image-only models as timm and transformers publish them, as folders on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MEAN, STD = [0.5307, 0.5307, 0.5307], [0.2583, 0.2583, 0.2583]
DINO = {
    "architectures": ["Dinov2Model"],
    "model_type": "dinov2",
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "mlp_ratio": 2,
    "image_size": 56,
    "patch_size": 14,
    "layerscale_value": 1.0,
}


def timm(folder: Path, architecture: str = "test_vit.r160_in1k", *, seed: int = 1) -> Path:
    """Write a folder as timm publishes a model with its classifier."""
    from medsearch_desktop.engine.encoders import torchvision_shim

    torchvision_shim.declare_operators()
    import timm as library
    import torch

    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    model = library.create_model(architecture.partition(".")[0], pretrained=False, num_classes=7)
    shown = {
        "input_size": [3, 160, 160],
        "crop_pct": 0.95,
        "crop_mode": "center",
        "interpolation": "bicubic",
        "mean": MEAN,
        "std": STD,
    }
    described = {"architecture": architecture, "num_classes": 7, "pretrained_cfg": shown}
    if hasattr(model, "global_pool") and isinstance(model.global_pool, str):
        described["global_pool"] = model.global_pool
    (folder / "config.json").write_text(json.dumps(described), "utf-8")
    return _saved(folder, model.state_dict())


def dinov2(folder: Path, suffix: str = ".safetensors", *, seed: int = 1) -> Path:
    """Write a folder as RAD-DINO is published: DINOv2 of transformers."""
    from medsearch_desktop.engine.encoders import torchvision_shim

    torchvision_shim.declare_operators()
    import torch
    import transformers

    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    model = transformers.Dinov2Model(transformers.Dinov2Config(**DINO))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    (folder / "config.json").write_text(json.dumps(DINO), "utf-8")
    seen = {
        "image_processor_type": "BitImageProcessor",
        "do_center_crop": True,
        "size": {"shortest_edge": 56},
        "crop_size": {"height": 56, "width": 56},
        "image_mean": MEAN,
        "image_std": STD,
        "resample": 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(seen), "utf-8")
    return _saved(folder, model.state_dict(), suffix)


def _saved(folder: Path, state: dict[str, Any], suffix: str = ".safetensors") -> Path:
    whole = {key: tensor.contiguous().clone() for key, tensor in state.items()}
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(whole, folder / "model.safetensors")
    else:
        import torch

        torch.save(whole, folder / "pytorch_model.bin")
    return folder
