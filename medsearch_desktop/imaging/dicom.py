"""Pixels of one DICOM file, frame by frame: stored values, colour as RGB of 8 bits."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import pydicom
import pydicom.encaps
import pydicom.pixels
from pydicom.dataset import Dataset

from medsearch_desktop import errors
from medsearch_desktop.imaging import dicom_frames, dicom_headers, files, syntaxes


class PixelFile:
    """An open DICOM file that gives any of its frames; close it after use."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._resources = contextlib.ExitStack()
        try:
            self._file, size = self._resources.enter_context(files.opened(path, whole=True))
            self._open(size)
        except BaseException:
            self._resources.close()
            raise

    def _open(self, size: int) -> None:
        found = dicom_headers.read_dataset(self._path, self._file, force=True)
        pixels = dicom_headers.pixels_at(self._path, found, self._file, size)
        if pixels is None:
            raise errors.UnreadableFileError(self._path, "The pixels are missing.")
        if pixels.offset < 0:
            pixels = self._inflated(found)
        self._pixels, self._dataset = pixels, pixels.dataset
        name = syntaxes.plugin(pixels.syntax)
        if name is None:
            reason = f"Its pixels are packed as {syntaxes.name(pixels.syntax)}, "
            raise errors.UnreadableFileError(self._path, reason + "which is not decoded here.")
        self._plugin = name
        self._decoder = syntaxes.decoder(pixels.syntax)
        self._options = _options(pixels)
        self._fragments: list[bytes] = []
        self._unread: Iterator[bytes] = iter(())
        if not syntaxes.is_native(pixels.syntax):
            self._file.seek(pixels.offset)
            self._unread = pydicom.encaps.generate_frames(
                self._file,
                number_of_frames=self._options["number_of_frames"],
                extended_offsets=_extended_offsets(self._dataset),
            )

    def _inflated(self, found: Dataset) -> dicom_headers.Pixels:
        """Return the pixels of a deflated file, which pydicom unpacks as a whole."""
        self._file.seek(0)
        whole = pydicom.dcmread(self._file, force=True)
        if "PixelData" not in whole:
            raise errors.UnreadableFileError(self._path, "The pixels are missing.")
        data = whole.PixelData
        self._file = io.BytesIO(data)
        syntax = dicom_headers.syntax_of(found)
        return dicom_headers.Pixels(syntax, "PixelData", whole["PixelData"].VR, 0, len(data), found)

    @property
    def frames(self) -> int:
        """Return how many frames the header declares."""
        return int(self._options["number_of_frames"])

    def frame(self, number: int) -> np.ndarray:
        """Return frame `number`: stored values (rows, columns), or uint8 (rows, columns, 3).

        Palettes are looked up and YBR becomes RGB; colours of more than 8 bits
        keep their highest 8. Raises UnreadableFileError.
        """
        if not 0 <= number < self.frames:
            raise errors.UnreadableFileError(self._path, f"It has no frame {number + 1}.")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self._shown(self._decoded(number))
        except (errors.UnreadableFileError, MemoryError):
            raise
        except Exception as error:
            name = syntaxes.name(self._pixels.syntax)
            reason = f"Its pixels ({name}) are damaged ({type(error).__name__})."
            raise errors.UnreadableFileError(self._path, reason) from error

    def close(self) -> None:
        """Close the file."""
        self._resources.close()

    def _decoded(self, number: int) -> np.ndarray:
        options = dict(self._options)
        source: IO[bytes] | bytes = self._file
        if syntaxes.is_native(self._pixels.syntax):
            self._file.seek(self._pixels.offset)
        else:
            source = pydicom.encaps.encapsulate([self._fragment(number)], has_bot=False)
            options["number_of_frames"], number = 1, 0
        # YBR is left to pydicom; a palette is an index and must not be touched.
        array, _ = self._decoder.as_array(
            source,
            index=number,
            decoding_plugin=self._plugin,
            **options,
        )
        return np.asarray(array)

    def _fragment(self, number: int) -> bytes:
        while len(self._fragments) <= number:
            try:
                self._fragments.append(next(self._unread))
            except StopIteration:
                have = len(self._fragments)
                reason = f"It declares {self.frames} frames and holds {have}."
                raise errors.UnreadableFileError(self._path, reason) from None
        return self._fragments[number]

    def _shown(self, array: np.ndarray) -> np.ndarray:
        bits = int(self._options.get("bits_stored", 8))
        if self._options["photometric_interpretation"] == "PALETTE COLOR":
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


def _options(pixels: dicom_headers.Pixels) -> dict[str, Any]:
    found = pixels.dataset
    depth = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(pixels.keyword)

    def whole(keyword: str, default: int) -> int:
        value = dicom_frames.number(found, keyword)
        return default if value is None else int(value)

    options: dict[str, Any] = {
        "transfer_syntax_uid": pydicom.uid.UID(pixels.syntax),
        "rows": whole("Rows", 0),
        "columns": whole("Columns", 0),
        "samples_per_pixel": whole("SamplesPerPixel", 1),
        "photometric_interpretation": dicom_frames.text(found, "PhotometricInterpretation")
        or "MONOCHROME2",
        "planar_configuration": whole("PlanarConfiguration", 0),
        "number_of_frames": whole("NumberOfFrames", 1) or 1,
        "bits_allocated": depth or whole("BitsAllocated", 16),
        "pixel_keyword": pixels.keyword,
        "pixel_vr": pixels.vr,
    }
    if depth is None:
        options["bits_stored"] = whole("BitsStored", options["bits_allocated"])
        options["pixel_representation"] = whole("PixelRepresentation", 0)
    return options


def _extended_offsets(found: Dataset) -> tuple[bytes, bytes] | None:
    if "ExtendedOffsetTable" in found and "ExtendedOffsetTableLengths" in found:
        return found.ExtendedOffsetTable, found.ExtendedOffsetTableLengths
    return None
