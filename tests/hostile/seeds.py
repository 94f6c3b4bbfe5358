"""Whole files that are mutated: phantoms in every encoding we open, and small ones of the pack."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import phantoms
import pydicom
import pydicom.filewriter
from PIL import Image
from pydicom import uid

# What is larger makes mutants slow to write and to read, and damages the same code.
_LARGEST_OF_PACK = 64_000
_MOST_OF_PACK = 24


@dataclass(frozen=True)
class Seed:
    """A whole file: `family` is "dicom", "nifti" or "picture"; `uids` are those it holds."""

    name: str
    family: str
    suffix: str
    data: bytes
    uids: tuple[bytes, ...] = ()


def _values(bits: int) -> np.ndarray:
    rows, columns = np.mgrid[:64, :48]
    noise = np.random.default_rng(bits).integers(0, 1 << (bits - 3), (64, 48))
    return (rows * (1 << (bits - 8)) + columns + noise).astype(np.uint16 if bits > 8 else np.uint8)


_ENCODINGS: dict[str, tuple[str, Callable[[np.ndarray], bytes], int]] = {
    "baseline": (uid.JPEGBaseline8Bit, imagecodecs.jpeg8_encode, 8),
    "extended": (
        uid.JPEGExtended12Bit,
        lambda a: imagecodecs.jpeg8_encode(a, bitspersample=12),
        12,
    ),
    "lossless": (uid.JPEGLosslessSV1, lambda a: imagecodecs.jpeg8_encode(a, lossless=True), 16),
    "jpeg-ls": (uid.JPEGLSLossless, imagecodecs.jpegls_encode, 12),
    "j2k-lossless": (
        uid.JPEG2000Lossless,
        lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k"),
        12,
    ),
    "j2k-lossy": (
        uid.JPEG2000,
        lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k", level=60, reversible=False),
        12,
    ),
    "htj2k": (uid.HTJ2KLossless, imagecodecs.htj2k_encode, 12),
}


def all_of(folder: Path) -> list[Seed]:
    """Write the seeds below an empty folder and return them, those of the pack where it is."""
    return [*_dicom(folder), *_nifti(folder), *_pictures(folder), *_of_pack()]


def _dicom(folder: Path) -> Iterator[Seed]:
    for name, syntax in (
        ("explicit", uid.ExplicitVRLittleEndian),
        ("implicit", uid.ImplicitVRLittleEndian),
        ("deflated", uid.DeflatedExplicitVRLittleEndian),
    ):
        (path,) = phantoms.write_ct_series(
            folder / name, slices=1, size=(64, 48), name=name, syntax=syntax
        )
        yield _read(name, path)
    yield _big_endian(folder)
    path = phantoms.write_dicom_image(folder / "rle.dcm", np.stack([_values(12)] * 3), stored=12)
    found = pydicom.dcmread(path)
    found.compress(uid.RLELossless, generate_instance_uid=False)
    yield _read("rle", phantoms.save(found, path))
    colour = phantoms.write_dicom_image(folder / "colour.dcm", phantoms.picture())
    yield _read("colour", colour)
    for name, (syntax, encode, bits) in _ENCODINGS.items():
        values = _values(bits)
        path = phantoms.write_dicom_image(folder / f"{name}.dcm", values, stored=bits)
        found = pydicom.dcmread(path)
        phantoms.encapsulate(found, [encode(values)], syntax)
        yield _read(name, phantoms.save(found, path))


def _big_endian(folder: Path) -> Seed:
    """Return a slice in big-endian order; writing swaps no pixels, so they are swapped here."""
    (path,) = phantoms.write_ct_series(folder / "big", slices=1, size=(64, 48), name="big")
    found = pydicom.dcmread(path)
    found.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    found.PixelData = np.frombuffer(found.PixelData, "<u2").astype(">u2").tobytes()
    pydicom.filewriter.dcmwrite(
        path, found, implicit_vr=False, little_endian=False, force_encoding=True
    )
    return _read("big-endian", path)


def _read(name: str, path: Path) -> Seed:
    """Return a DICOM file with the UIDs that a copy of it must not share."""
    found = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    uids = tuple(str(found[key].value).encode() for key in names if found.get(key))
    return Seed(name, "dicom", ".dcm", path.read_bytes(), uids)


def _nifti(folder: Path) -> Iterator[Seed]:
    for name, shape in (
        ("volume.nii", (12, 10, 8)),
        ("packed.nii.gz", (12, 10, 8)),
        ("four.nii.gz", (12, 10, 4, 3)),
    ):
        path = phantoms.write_nifti(folder / name, shape)
        data = path.read_bytes()
        if path.suffix == ".gz":
            # A packed file holds the time of its making.
            data = gzip.compress(gzip.decompress(data), mtime=0)
        yield Seed(name, "nifti", "".join(path.suffixes), data)


def _pictures(folder: Path) -> Iterator[Seed]:
    for name in ("picture.png", "picture.jpg", "picture.tif"):
        path = phantoms.write_picture(folder / name)
        yield Seed(name, "picture", path.suffix, path.read_bytes())
    first, *others = (Image.fromarray(phantoms.picture((20 + k, 30))) for k in range(3))
    first.save(folder / "pages.tif", save_all=True, append_images=others)
    yield Seed("pages.tif", "picture", ".tif", (folder / "pages.tif").read_bytes())
    deep = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30))
    deep.save(folder / "deep.png")
    yield Seed("deep.png", "picture", ".png", (folder / "deep.png").read_bytes())


def _of_pack() -> Iterator[Seed]:
    if not (folder := os.environ.get("MEDSEARCH_TEST_DATA")):
        return
    found = sorted(Path(folder).glob("dicom-*/**/*.dcm"))
    small = [path for path in found if path.stat().st_size <= _LARGEST_OF_PACK]
    for path in small[:_MOST_OF_PACK]:
        yield _read(path.name, path)
