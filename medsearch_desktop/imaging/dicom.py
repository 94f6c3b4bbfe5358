"""Pixels of one DICOM file, frame by frame: stored values, colour as RGB of 8 bits."""

from __future__ import annotations

import contextlib
import warnings
from typing import IO, NoReturn

import numpy as np
import pydicom
import pydicom.encaps
import pydicom.pixels
from pydicom.dataset import Dataset

from medsearch_desktop import errors
from medsearch_desktop.imaging import (
    codestreams,
    dicom_frames,
    dicom_headers,
    dicom_pixels,
    files,
    fragments,
    mosaic,
    preflight,
    syntaxes,
)


class PixelFile:
    """An open DICOM file that gives any of its frames; close it after use."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._resources = contextlib.ExitStack()
        try:
            file, size = self._resources.enter_context(files.opened(path, whole=True))
            self._open(file, size)
        except BaseException:
            self._resources.close()
            raise

    def _open(self, file: IO[bytes], size: int) -> None:
        checked = preflight.check(self._path, file, size)
        self._dataset = dicom_headers.read_dataset(self._path, checked.head, force=True)
        self._layout = dicom_pixels.layout(self._path, self._dataset, checked)
        name = syntaxes.plugin(checked.syntax)
        if name is None:
            reason = f"Its pixels are packed as {syntaxes.name(checked.syntax)}, "
            raise errors.UnreadableFileError(self._path, reason + "which is not decoded here.")
        self._plugin = name
        self._decoder = syntaxes.decoder(checked.syntax)
        self._file, lying = checked.file, self._layout
        self._fragments: tuple[fragments.Places, ...] = ()
        if lying.length < 0:
            found = fragments.find(self._file, lying.offset, checked.size)
            extended = _extended_offsets(self._dataset)
            start = codestreams.start(lying.syntax)
            self._fragments = fragments.frames(self._file, found, lying.frames, extended, start)
            self._whole = min(len(self._fragments), lying.frames)
        else:
            self._whole = dicom_pixels.whole_frames(self._path, self._file, checked.size, lying, [])
        if lying.photometric == "PALETTE COLOR":
            dicom_pixels.check_palette(self._path, self._dataset)
        kind = dicom_frames.strings(self._dataset, "ImageType")
        self._tiles: mosaic.Tiles | None = None
        if "MOSAIC" in (part.upper() for part in kind):
            self._tiles = mosaic.tiles(self._dataset, lying.rows, lying.columns)
        self._mosaic: np.ndarray | None = None

    @property
    def frames(self) -> int:
        """Return how many images the header declares: frames, or tiles of a mosaic."""
        return self._tiles.count if self._tiles else self._layout.frames

    def frame(self, number: int) -> np.ndarray:
        """Return frame `number`: stored values (rows, columns), or uint8 (rows, columns, 3).

        Palettes are looked up and YBR becomes RGB; colours of more than 8 bits
        keep their highest 8. Raises UnreadableFileError.
        """
        if not 0 <= number < self.frames:
            raise errors.UnreadableFileError(self._path, f"It has no frame {number + 1}.")
        if self._tiles is None:
            return self._stored(number)
        if self._mosaic is None:
            self._mosaic = self._stored(0)
        return np.ascontiguousarray(mosaic.tile(self._mosaic, self._tiles, number))

    def _stored(self, number: int) -> np.ndarray:
        if number >= self._whole:
            reason = f"The file is cut short: frame {number + 1} is not there as a whole."
            raise errors.UnreadableFileError(self._path, reason)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self._shown(self._decoded(number))
        except (errors.UnreadableFileError, MemoryError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a panic of Rust code is no Exception
            self._refuse(f"are damaged ({type(error).__name__})", error)

    def _refuse(self, what: str, cause: BaseException | None = None) -> NoReturn:
        reason = f"Its pixels ({syntaxes.name(self._layout.syntax)}) {what}."
        raise errors.UnreadableFileError(self._path, reason) from cause

    def close(self) -> None:
        """Close the file."""
        self._resources.close()

    def _decoded(self, number: int) -> np.ndarray:
        options = self._layout.options()
        options["number_of_frames"] = self._whole
        source: IO[bytes] | bytes = self._file
        packed = b""
        if self._fragments:
            packed = self._packed(number)
            source = pydicom.encaps.encapsulate([packed], has_bot=False)
            options["number_of_frames"], number = 1, 0
        else:
            self._file.seek(self._layout.offset)
        # YBR is left to pydicom; a palette is an index and must not be touched.
        array, _ = self._decoder.as_array(
            source,
            index=number,
            decoding_plugin=self._plugin,
            **options,
        )
        self._check_end(packed, np.asarray(array))
        return np.asarray(array)

    def _check_end(self, packed: bytes, array: np.ndarray) -> None:
        """Refuse a JPEG image that lacks codes: then its last pixel is libjpeg's fill.

        Whole images without an end marker are common enough to be read. A cut
        within the last row, with an end marker behind it, is not looked for.
        """
        lying = self._layout
        if not syntaxes.is_jpeg(lying.syntax) or (told := codestreams.told(packed)) is None:
            return
        # What is missing becomes the middle of the range; signed values may be moved by it.
        fill = (1 << (told.bits - 1)) & (mask := (1 << min(told.bits, lying.stored)) - 1)
        last = array[-1, -1].astype(np.int64)
        is_odd = bool(np.all((last & mask) == fill)) or not syntaxes.has_end(packed)
        if is_odd and syntaxes.ends_early(packed, lying.samples):
            self._refuse("are cut short: their codes end before the picture does")

    def _packed(self, number: int) -> bytes:
        parts = list[bytes]()
        for place, length in self._fragments[number]:
            self._file.seek(place)
            parts.append(self._file.read(length))
        packed = b"".join(parts)
        if wrong := codestreams.fault(packed, self._layout.syntax, self._layout.told()):
            self._refuse(f"do not fit its header: {wrong}")
        return packed

    def _shown(self, array: np.ndarray) -> np.ndarray:
        bits = self._layout.stored
        if self._layout.photometric == "PALETTE COLOR":
            array = pydicom.pixels.apply_color_lut(array, self._dataset)
            wide = max(
                int(
                    dicom_frames.numbers(self._dataset, f"{name}PaletteColorLookupTableDescriptor")[
                        2
                    ]
                )
                for name in ("Red", "Green", "Blue")
            )
            bits = wide if array.dtype.itemsize > 1 else 8
        if array.ndim == 3 and array.dtype != np.uint8:
            array = (array >> max(bits - 8, 0)).astype(np.uint8)
        return np.ascontiguousarray(array)


def _extended_offsets(found: Dataset) -> tuple[bytes, bytes] | None:
    if "ExtendedOffsetTable" in found and "ExtendedOffsetTableLengths" in found:
        tables = found.ExtendedOffsetTable, found.ExtendedOffsetTableLengths
        return tables if all(isinstance(table, bytes) for table in tables) else None
    return None
