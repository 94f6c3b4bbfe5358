"""A CT of 300 slices asked of the built-in encoder: from a packed file, and from DICOM."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import figures
import nibabel
import numpy as np
import phantoms
import psutil

from medsearch_desktop import queries
from medsearch_desktop.engine import views
from medsearch_desktop.engine.encoders import base, compact
from medsearch_desktop.imaging import isolated

SLICES, SIDE = 300, 512
_REPEATS = 3
# Noise that packs to about 85 MB, as the CT does that the bar was set with.
_NOISE_HU = 18.0


def thorax() -> np.ndarray:
    """Return a CT-like volume, int16 (z, y, x) in HU: air, tissue, two lungs and a spine."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    noise = draw.normal(0, _NOISE_HU, (8, SIDE, SIDE)).astype(np.float32)
    voxels = np.empty((SLICES, SIDE, SIDE), np.int16)
    for z in range(SLICES):
        size = 0.75 + 0.1 * np.sin(z / 40)
        plane = np.full((SIDE, SIDE), -1000.0, np.float32)
        plane[(x / size) ** 2 + (y / (0.7 * size)) ** 2 < 1] = 40
        for centre in (-0.33, 0.33):
            lung = ((x - centre) / 0.25) ** 2 + (y / 0.4) ** 2 < np.sin(np.pi * z / SLICES)
            plane[lung] = -800
        plane[x**2 + (y - 0.4) ** 2 < 0.01] = 500
        voxels[z] = np.clip(plane + np.roll(noise[z % 8], 31 * z, axis=1), -1024, 3000)
    return voxels


def cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU seconds that one call costs this process and its children, live or ended."""
    began = _spent()
    work()
    return _spent() - began


def _spent() -> float:
    own = psutil.Process()
    spent = sum(own.cpu_times()[:4])
    for child in own.children(recursive=True):
        spent += sum(child.cpu_times()[:2])
    return float(spent)


def _write_dicom(folder: Path, voxels: np.ndarray) -> None:
    """Write the volume as uncompressed slices: one that phantoms make, with other pixels."""
    (first,) = phantoms.write_ct_series(folder, slices=1, size=(SIDE, SIDE))
    found = phantoms.read(first)
    first.unlink()
    slope, intercept = float(found.RescaleSlope), float(found.RescaleIntercept)
    for z, plane in enumerate(voxels):
        x, y, _ = (float(value) for value in found.ImagePositionPatient)
        found.ImagePositionPatient = [x, y, 1.0 * z]
        found.InstanceNumber = z + 1
        uid = phantoms.uid("bench", z)
        found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = uid
        phantoms.set_pixels(found, ((plane - intercept) / slope).astype(np.uint16))
        phantoms.save(found, folder / f"{z:04d}.dcm")


def _encoded(encoder: base.Encoder, pictures: Iterator[views.Picture]) -> np.ndarray:
    recipe = views.recipe_for(encoder.card)
    return base.picture_vectors(encoder, [picture.encoded(recipe) for picture in pictures])


def measure() -> Iterator[figures.Figure]:
    """Yield the CPU time of a whole packed CT, and that of the first slices out of DICOM files."""
    encoder = compact.Compact(device="cpu")
    with tempfile.TemporaryDirectory() as folder, isolated.Readers(1) as readers:
        voxels = thorax()
        packed = Path(folder) / "ct.nii.gz"
        affine = np.diag([-0.7, -0.7, 1.0, 1.0])
        nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), affine), packed)
        megabytes = packed.stat().st_size / 1e6
        list(readers.open_paths([packed]))  # the reader stands, as it does in the window

        def whole() -> None:
            term = queries.VolumeTerm(str(packed))
            found = _encoded(encoder, (picture for _, picture in views.render(term, readers)))
            assert len(found) == views.SLICES

        name = f"{SIDE}x{SIDE}x{SLICES} CT from a .nii.gz of {megabytes:.0f} MB to its vectors"
        yield figures.Figure(name, min(cpu_s(whole) for _ in range(_REPEATS)), "s CPU", 2.5)
        packed.unlink()

        slices = Path(folder) / "ct"
        _write_dicom(slices, voxels)
        del voxels
        opened: list[object] = []
        headers = cpu_s(
            lambda: opened.append(views.open_series(queries.VolumeTerm(str(slices)), readers)[1])
        )
        yield figures.Figure(f"headers of {SLICES} uncompressed DICOM slices", headers, "s CPU")
        (series,) = opened

        def first() -> None:
            rendered = views.render_series(series, readers)  # type: ignore[arg-type]
            pictures = (next(rendered)[1] for _ in range(views.FIRST_SLICES))
            assert len(_encoded(encoder, pictures)) == views.FIRST_SLICES

        spent = min(cpu_s(first) for _ in range(_REPEATS))
        name = f"first {views.FIRST_SLICES} slices of them to vectors, headers known"
        yield figures.Figure(name, spent, "s CPU", 0.4)

        def all_slices() -> None:
            rendered = views.render_series(series, readers)  # type: ignore[arg-type]
            _encoded(encoder, (picture for _, picture in rendered))

        began = time.perf_counter()
        spent = cpu_s(all_slices)
        took = time.perf_counter() - began
        name = f"all {views.SLICES} slices of them to vectors ({took:.1f} s by the clock)"
        yield figures.Figure(name, spent, "s CPU")


if __name__ == "__main__":
    import sys

    for figure in measure():
        sys.stdout.write(figure.line() + "\n")
