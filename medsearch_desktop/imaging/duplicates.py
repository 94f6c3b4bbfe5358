"""Files that show one image twice, told by identifier and compared by their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydicom import uid

from medsearch_desktop.imaging import dicom_headers, dicom_pixels

# Images under one identifier are compared with so many others before them.
_MOST_COMPARED = 8
# Syntaxes whose pixels are stored alike, byte by byte.
_LITTLE_ENDIAN = {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian}


def without_copies(
    headers: Sequence[dicom_headers.Header],
) -> tuple[list[dicom_headers.Header], list[dicom_headers.Header], list[dicom_headers.Header]]:
    """Return the headers of different images, of copies, and of what was not compared.

    A copy has the identifier, the size, the place and the pixels of another
    image; packed otherwise, its pixels cannot be compared.
    """
    seen: dict[tuple[Any, ...], list[dicom_headers.Header]] = {}
    kept, copies = list[dicom_headers.Header](), list[dicom_headers.Header]()
    unlike = list[dicom_headers.Header]()
    for header in headers:
        shape = (header.rows, header.columns, header.photometric, header.dtype, header.bits)
        place = (header.instance, len(header.frames), header.frames[0].position)
        alike = seen.setdefault((header.sop_uid or header.path, shape, place), [])
        same = [_are_same(header, known) for known in alike[:_MOST_COMPARED]]
        (copies if True in same else unlike if None in same else kept).append(header)
        if True not in same and None not in same:
            alike.append(header)
    return kept, copies, unlike


def _are_same(one: dicom_headers.Header, other: dicom_headers.Header) -> bool | None:
    """Return whether two images have the same pixels, None where their packing differs."""
    if one.syntax != other.syntax and not {one.syntax, other.syntax} <= _LITTLE_ENDIAN:
        return None
    return dicom_pixels.are_same(one.path, other.path, one.extent, other.extent)
