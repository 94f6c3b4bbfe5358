"""Which decoder reads which transfer syntax; JPEG by libjpeg-turbo as a plug-in of pydicom."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pydicom.pixels
from pydicom import uid

# Chosen: libjpeg-turbo 3 (IJG, BSD-3-Clause and zlib licences), which imagecodecs brings.
# Rejected: pylibjpeg-libjpeg (GPL-3) and GDCM (ends the process on damaged files).
# Pillow's libjpeg reads 8 bits only, and no lossless JPEG.

# The decoder is always named, so that pydicom never chooses one that happens to be installed.
_PLUGINS = {
    uid.RLELossless: "pylibjpeg",
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGExtended12Bit: "imagecodecs",
    uid.JPEGLossless: "imagecodecs",
    uid.JPEGLosslessSV1: "imagecodecs",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
}

_NATIVE = {
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
}


def is_native(syntax: str) -> bool:
    """Return True where the pixels are not compressed (a deflated file counts as native)."""
    return syntax in _NATIVE


def plugin(syntax: str) -> str | None:
    """Return the decoder of a syntax: "" for native pixels, None where there is none."""
    if syntax in _NATIVE:
        return ""
    return _PLUGINS.get(uid.UID(syntax))


# Named by the standard (DICOM PS3.6 A) since the dictionary in use was made.
_NEW_NAMES = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
}


def name(syntax: str) -> str:
    """Return the name of a syntax for a sentence on screen; a number that has none stays out."""
    named = _NEW_NAMES.get(syntax) or str(uid.UID(syntax).name)
    return "an unnamed encoding" if named in (syntax, "") else named


def decoder(syntax: str) -> pydicom.pixels.Decoder:
    """Return pydicom's decoder of a syntax, with our plug-in among its plug-ins."""
    found = pydicom.pixels.get_decoder(uid.UID(syntax))
    if syntax in DECODER_DEPENDENCIES and "imagecodecs" not in found.available_plugins:
        found.add_plugin("imagecodecs", (__name__, "decode_frame"))
    return found


# pydicom reads this name when a plug-in is added, to list what it needs.
DECODER_DEPENDENCIES = {
    uid.JPEGBaseline8Bit: ("imagecodecs",),
    uid.JPEGExtended12Bit: ("imagecodecs",),
    uid.JPEGLossless: ("imagecodecs",),
    uid.JPEGLosslessSV1: ("imagecodecs",),
}


def is_available(syntax: str) -> bool:
    """Return True for the transfer syntaxes decoded here (asked by pydicom)."""
    return syntax in DECODER_DEPENDENCIES


def is_jpeg(syntax: str) -> bool:
    """Return True for JPEG by Huffman codes, of which libjpeg fills what is missing in silence."""
    return syntax in DECODER_DEPENDENCIES


_END_OF_IMAGE, _FILLED = b"\xff\xd9", bytes(16)
# Codes and restart markers that libjpeg reads only where it still needs some. It begins with 0,
# so that a 0xFF before it stays a value.
_MORE = b"\0" + b"".join(bytes([*range(1, 255), 0xFF, mark]) for mark in range(0xD0, 0xD8))


def has_end(packed: bytes) -> bool:
    """Return True where a JPEG image has its end marker."""
    return packed.rfind(_END_OF_IMAGE) >= 0


def ends_early(packed: bytes, samples: int) -> bool:
    """Return True where a JPEG image has fewer codes than pixels, whether it has an end or not.

    Codes put behind its own change the picture only where some are missing: so
    nothing sound is found out, however grey its last rows are.
    """
    end = packed.rfind(_END_OF_IMAGE)
    codes = packed if end < 0 else packed[:end]
    if end < 0 and codes.endswith(_FILLED):
        codes = codes.rstrip(b"\0")  # zeros are codes too, but these fill a lost part of the file
    try:
        first = _samples(packed, samples)
        return not np.array_equal(first, _samples(codes + _MORE + _END_OF_IMAGE, samples))
    except imagecodecs.Jpeg8Error:
        return False


def _samples(packed: bytes, samples: int) -> np.ndarray:
    space = None if samples == 1 else "RGB"
    # Naming the same space twice keeps libjpeg from transforming anything.
    return np.asarray(imagecodecs.jpeg8_decode(packed, colorspace=space, outcolorspace=space))


def decode_frame(source: bytes, runner: Any) -> bytes:
    """Return the samples of one JPEG image, colour by pixel, with no colour transform.

    Called by pydicom, which owns `runner` and the colour space that the
    header declares; it is told when the depth differs from the header's.
    """
    samples = runner.samples_per_pixel
    image = _samples(source, samples)
    expected = (runner.rows, runner.columns)
    if image.shape[:2] != expected:
        raise ValueError(f"the image is {image.shape[:2]} and the header says {expected}")
    if image.dtype.itemsize * 8 != runner.bits_allocated:
        runner.set_option("bits_allocated", image.dtype.itemsize * 8)
    if samples > 1:
        runner.set_option("planar_configuration", 0)
    return np.ascontiguousarray(image).tobytes()
