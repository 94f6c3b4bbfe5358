"""Hostile NIfTI files, and volumes of other formats that are named and not opened."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel
import numpy as np
import phantoms

from hostile.expected import Hostile, hostile

Writer = Callable[[Path], Sequence[Path]]

# Places in a NIfTI-1 header (nifti1.h).
_SIZE, _DIM, _DATATYPE, _BITPIX, _PIXDIM = 0, 40, 70, 72, 76
_VOX_OFFSET, _SLOPE, _QFORM, _SROW, _MAGIC = 108, 112, 252, 280, 344
_NAN, _INF = float("nan"), float("inf")


def _shorts(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}h", *values)


def _floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def _patched(*changes: tuple[int, bytes], name: str = "volume.nii") -> Writer:
    """Write a sound volume of 20 x 24 x 10 with some bytes replaced, packed for .nii.gz."""

    def write(folder: Path) -> list[Path]:
        path = phantoms.write_nifti(folder / "volume.nii")
        raw = bytearray(path.read_bytes())
        for offset, value in changes:
            raw[offset : offset + len(value)] = value
        path.unlink()
        path = folder / name
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return [path]

    return write


def _packed(change: Callable[[bytes], bytes], shape: Sequence[int] = (20, 24, 10)) -> Writer:
    """Write a packed volume of noise and change the packed bytes."""

    def write(folder: Path) -> list[Path]:
        chance = np.random.default_rng(1)
        noise = chance.integers(-1000, 1000, shape, dtype=np.int16)
        path = folder / "volume.nii.gz"
        nibabel.Nifti1Image(noise, np.diag([2, 2, 2, 1])).to_filename(path)
        path.write_bytes(change(path.read_bytes()))
        return [path]

    return write


def _content(name: str, content: bytes) -> Writer:
    def write(folder: Path) -> list[Path]:
        (folder / name).write_bytes(content)
        return [folder / name]

    return write


def _values(values: np.ndarray, name: str = "volume.nii") -> Writer:
    def write(folder: Path) -> list[Path]:
        nibabel.Nifti1Image(values, np.eye(4)).to_filename(folder / name)
        return [folder / name]

    return write


def _second(change: tuple[int, bytes] | None = None) -> Writer:
    """Write a NIfTI-2 file, with some bytes replaced."""

    def write(folder: Path) -> list[Path]:
        values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
        path = folder / "second.nii"
        nibabel.Nifti2Image(values, np.eye(4)).to_filename(path)
        if change is not None:
            raw = bytearray(path.read_bytes())
            raw[change[0] : change[0] + len(change[1])] = change[1]
            path.write_bytes(raw)
        return [path]

    return write


def _swapped(folder: Path) -> list[Path]:
    image = nibabel.load(phantoms.write_nifti(folder / "volume.nii"))
    turned = nibabel.Nifti1Image(
        np.asarray(image.dataobj), image.affine, image.header.as_byteswapped()
    )
    (folder / "volume.nii").unlink()
    turned.to_filename(folder / "swapped.nii")
    return [folder / "swapped.nii"]


def _pair(without: str, keep: str) -> Writer:
    def write(folder: Path) -> list[Path]:
        phantoms.write_nifti(folder / "volume.hdr")
        (folder / f"volume{without}").unlink()
        return [folder / f"volume{keep}"]

    return write


def _other_pair(header: str, values: str, *dropped: str) -> Writer:
    """Write a sound pair under other names, packed where they end with .gz."""

    def write(folder: Path) -> list[Path]:
        phantoms.write_nifti(folder / "volume.hdr")
        for old, new in (("volume.hdr", header), ("volume.img", values)):
            raw = (folder / old).read_bytes()
            (folder / old).unlink()
            (folder / new).write_bytes(gzip.compress(raw) if new.lower().endswith(".gz") else raw)
        return [folder / name for name in dropped]

    return write


def _extension(size: int, length: int) -> Writer:
    """Write a volume with one extension of `length` bytes that says it has `size`."""

    def write(folder: Path) -> list[Path]:
        path = phantoms.write_nifti(folder / "volume.nii")
        raw = bytearray(path.read_bytes())
        behind = b"\1\0\0\0" + struct.pack("<2i", size, 6) + b" " * (length - 8)
        raw[_VOX_OFFSET : _VOX_OFFSET + 4] = _floats(348 + len(behind))
        path.write_bytes(raw[:348] + behind + raw[352:])
        return [path]

    return write


def _cut(folder: Path) -> list[Path]:
    path = phantoms.write_nifti(folder / "volume.nii")
    # Four whole slices of ten are left.
    path.write_bytes(path.read_bytes()[: 352 + 4 * 20 * 24 * 2])
    return [path]


def _analyze(folder: Path) -> list[Path]:
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nibabel.AnalyzeImage(values, np.eye(4)).to_filename(folder / "old.hdr")
    return [folder / "old.hdr"]


def _bomb(folder: Path) -> list[Path]:
    """Write 1 GiB of zeros behind the values of a small volume, packed to 1 MB."""
    path = phantoms.write_nifti(folder / "volume.nii")
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = engine.compress(path.read_bytes())
    nothing = bytes(1 << 24)
    packed += b"".join(engine.compress(nothing) for _ in range(64)) + engine.flush()
    path.unlink()
    (folder / "bomb.nii.gz").write_bytes(packed)
    return [folder / "bomb.nii.gz"]


def _wrong_checksum(data: bytes) -> bytes:
    return data[:-8] + bytes([data[-8] ^ 0xFF]) + data[-7:]


def _two_members(data: bytes) -> bytes:
    raw = gzip.decompress(data)
    return gzip.compress(raw[:5000]) + gzip.compress(raw[5000:])


def _flipped_inside(data: bytes) -> bytes:
    middle = len(data) * 2 // 3
    return data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :]


_HUGE = _shorts(3, 32767, 32767, 32767, 1, 1, 1, 1)
_FLOATS_WITH_HOLES = np.array([_NAN, _INF, -_INF, 1e30] * 15, np.float32).reshape(3, 4, 5)
_COLOURS = np.zeros((4, 5, 3), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
_CLEAR = np.zeros((4, 5, 3), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")]))
_METAIMAGE = b"ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementDataFile = LOCAL\n"
_MGH = struct.pack(">7i", 1, 4, 4, 4, 1, 0, 0) + bytes(400)

CASES: tuple[Hostile, ...] = (
    hostile("nii-cut-to-four-slices", _cut, "refused", words="cut short: it needs"),
    hostile("nii-header-only", _content("a.nii", b"\x5c\1\0\0" + bytes(96)), "refused"),
    hostile("nii-gz-cut", _packed(lambda d: d[: len(d) // 2]), "marked", words="packing", series=1),
    hostile("nii-gz-cut-in-its-header", _packed(lambda d: d[:60]), "refused", words="packing"),
    hostile("nii-gz-checksum", _packed(_wrong_checksum), "marked", words="checksum", series=1),
    hostile(
        "nii-gz-checksum-behind-later-time-points",
        _packed(_wrong_checksum, (20, 24, 10, 6)),
        "marked",
        words="6 volumes.*[Tt]he checksum",
        series=1,
    ),
    hostile(
        "nii-gz-checksum-of-one-slice",
        _packed(_wrong_checksum, (20, 24, 1)),
        "refused",
        words="sum",
    ),
    hostile("nii-gz-damaged-inside", _packed(_flipped_inside), "marked", words="packing"),
    hostile("nii-gz-garbage-behind", _packed(lambda d: d + b"left over" * 9), "opened", series=1),
    hostile("nii-gz-two-members", _packed(_two_members), "opened", series=1),
    hostile("nii-gz-bomb-behind-the-values", _bomb, "marked", words="far more", series=1),
    hostile(
        "nii-gz-huge-dimensions",
        _patched((_DIM, _HUGE), name="a.nii.gz"),
        "refused",
        words="too large",
    ),
    hostile("nii-huge-dimensions", _patched((_DIM, _HUGE)), "refused", words="too large"),
    hostile(
        "nii-negative-dimension",
        _patched((_DIM, _shorts(3, 5, -4, 3, 1, 1, 1, 1))),
        "refused",
        words="no usable size",
    ),
    hostile(
        "nii-zero-dimension",
        _patched((_DIM, _shorts(3, 0, 4, 3, 1, 1, 1, 1))),
        "refused",
        words="no usable size",
    ),
    hostile("nii-no-dimension", _patched((_DIM, _shorts(0))), "refused", words="no usable size"),
    hostile("nii-ninety-dimensions", _patched((_DIM, _shorts(90))), "refused", words="usable size"),
    hostile(
        "nii-seven-dimensions",
        _patched((_DIM, _shorts(7, 20, 24, 2, 5, 1, 1, 1))),
        "marked",
        words="5 volumes",
        series=1,
    ),
    hostile("nii-offset-nan", _patched((_VOX_OFFSET, _floats(_NAN))), "refused", words="nowhere"),
    hostile("nii-offset-1e30", _patched((_VOX_OFFSET, _floats(1e30))), "refused", words="nowhere"),
    hostile(
        "nii-offset-negative", _patched((_VOX_OFFSET, _floats(-9))), "refused", words="nowhere"
    ),
    hostile(
        "nii-offset-in-the-header",
        _patched((_VOX_OFFSET, _floats(16))),
        "marked",
        words="inside the header",
        series=1,
    ),
    hostile("nii-wrong-magic", _patched((_MAGIC, b"what")), "refused", words="Analyze|no NIfTI"),
    hostile("nii-wrong-header-size", _patched((_SIZE, b"\1\2\3\4")), "refused", words="wrong size"),
    hostile("nii-swapped-bytes", _swapped, "opened", series=1),
    hostile("nii-unknown-type", _patched((_DATATYPE, _shorts(77))), "refused", words="type 77"),
    hostile("nii-complex", _patched((_DATATYPE, _shorts(32))), "refused", words="complex"),
    hostile(
        "nii-type-and-bits-differ",
        _patched((_BITPIX, _shorts(64))),
        "marked",
        words="contradicts itself",
        series=1,
    ),
    hostile("nii-rgb", _values(_COLOURS), "opened", series=1),
    hostile("nii-rgba", _values(_CLEAR), "marked", words="transparency", series=1),
    hostile("nii-values-that-are-no-numbers", _values(_FLOATS_WITH_HOLES), "opened", series=1),
    hostile(
        "nii-all-values-are-no-numbers",
        _values(np.full((3, 4, 5), _NAN, np.float64)),
        "opened",
        series=1,
    ),
    hostile("nii-slope-nan", _patched((_SLOPE, _floats(_NAN))), "opened", series=1),
    hostile(
        "nii-intercept-nan",
        _patched((_SLOPE, _floats(1.0, _NAN))),
        "marked",
        words="scale of its values",
        series=1,
    ),
    hostile(
        "nii-vector",
        _values(np.ones((6, 5, 4, 1, 3), np.float32)),
        "marked",
        words="3 values a voxel; the first is shown",
        series=1,
    ),
    hostile("nii-slope-zero", _patched((_SLOPE, _floats(0.0))), "opened", series=1),
    hostile(
        "nii-slope-infinite",
        _patched((_SLOPE, _floats(_INF))),
        "marked",
        words="scale of its values",
        series=1,
    ),
    hostile(
        "nii-affine-nan",
        _patched((_SROW, _floats(*[_NAN] * 12))),
        "marked",
        words="orientation is damaged",
        series=1,
    ),
    hostile(
        "nii-affine-zero",
        _patched((_SROW, bytes(48))),
        "marked",
        words="orientation is damaged",
        series=1,
    ),
    hostile(
        "nii-affine-flat",
        _patched((_SROW, _floats(2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 2, 0))),
        "marked",
        words="orientation is damaged",
        series=1,
    ),
    hostile(
        "nii-affine-of-kilometres",
        _patched((_SROW, _floats(1e9, 0, 0, 0, 0, 1e9, 0, 0, 0, 0, 1e9, 0))),
        "marked",
        words="orientation is damaged",
        series=1,
    ),
    hostile(
        "nii-no-orientation-and-spacing-zero",
        _patched((_QFORM, _shorts(0, 0)), (_PIXDIM + 4, _floats(0, 0, 0))),
        "marked",
        words="nothing can be measured",
        series=1,
    ),
    hostile(
        "nii-spacing-nan",
        _patched((_PIXDIM + 4, _floats(_NAN, _NAN, _NAN))),
        "marked",
        words="no usable voxel size",
        series=1,
    ),
    hostile("nii-two-dimensions", _values(np.ones((6, 5), np.uint8)), "opened", series=1),
    hostile(
        "nii-four-dimensions",
        lambda folder: [phantoms.write_nifti(folder / "a.nii.gz", (5, 4, 3, 6))],
        "marked",
        words="6 volumes",
        series=1,
    ),
    hostile("nii-extension-of-two-gigabytes", _extension(0x7FFFFFF0, 32), "opened", series=1),
    hostile("nii-extension-of-negative-size", _extension(-16, 32), "opened", series=1),
    hostile("hdr-without-img", _pair(".img", ".hdr"), "refused", words=r"\.img"),
    hostile("img-without-hdr", _pair(".hdr", ".img"), "refused", words=r"\.hdr"),
    hostile(
        "img-beside-its-hdr",
        _other_pair("volume.hdr", "volume.img", "volume.img"),
        "opened",
        "left out",
        series=1,
    ),
    hostile(
        "img-dropped-with-its-hdr",
        _other_pair("volume.hdr", "volume.img", "volume.img", "volume.hdr"),
        "opened",
        "left out",
        series=1,
    ),
    hostile(
        "pair-in-capitals",
        _other_pair("VOLUME.HDR", "VOLUME.IMG", ""),
        "opened",
        "left out",
        series=1,
    ),
    hostile(
        "pair-packed",
        _other_pair("volume.hdr.gz", "volume.img.gz", ""),
        "opened",
        "left out",
        series=1,
    ),
    hostile("nifti-2", _second(), "opened", series=1),
    # dim[1] of NIfTI-2 has 64 bits.
    hostile(
        "nifti-2-huge", _second((24, struct.pack("<q", 1 << 60))), "refused", words="too large"
    ),
    hostile("analyze", _analyze, "refused", words="Analyze 7.5"),
    hostile("mgh", _content("brain.mgh", _MGH), "refused", words="MGH"),
    hostile("mgz", _content("brain.mgz", gzip.compress(_MGH)), "refused", words="MGH"),
    hostile("nrrd", _content("a.nrrd", b"NRRD0004\ntype: short\n"), "refused", words="NRRD"),
    hostile("metaimage", _content("a.mha", _METAIMAGE), "refused", words="MetaImage"),
    hostile("minc", _content("a.mnc", b"CDF\1" + bytes(64)), "refused", words="MINC"),
    hostile("minc-2", _content("b.mnc", b"\x89HDF\r\n\x1a\n" + bytes(64)), "refused", words="MINC"),
)
