"""PNG, JPEG and TIFF pictures -> Series and pixels."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from medsearch_desktop import cases, errors
from medsearch_desktop.imaging import files, picture_checks, study

# The formats are named, so that no other reader of Pillow ever sees a user's file.
_FORMATS = ("PNG", "JPEG", "TIFF")
# A mammogram has 13 megapixels, a scanned film at 50 micrometres 60.
LARGEST_PIXELS = 200_000_000
# A stack of micro-CT has some thousand; each costs a quarter of a millisecond to count.
_MOST_PAGES = 3_000
_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
# Pillow's word for a MPO, a JPEG with a second picture behind the first.
_ONE_PICTURE = ("MPO", "JPEG", "PNG")
# TIFF 6.0: bits of each sample; 0 is white where this tag is 0; 1 is "unsigned integer".
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
# Pillow holds a pixel in four bytes, and each turn of its colours copies all of them.
_LINES = 256
# Of one page: rows, columns, samples, type, and whether 0 is white.
_Shape = tuple[int, int, int, str, bool]


def read_series(path: str) -> study.Study:
    """Return the Study of one picture file, a page a slice; raises UnreadableFileError."""
    with files.opened(path, whole=True) as (file, _):
        content = file.read()
    digest = hashlib.sha256(content).hexdigest()
    uid = f"picture:{digest[:16]}"
    name = PurePosixPath(path.replace("\\", "/")).name
    groups: dict[_Shape, list[int]] = {}
    marks = picture_checks.marks(content)
    with _opened(path) as image:
        is_lossy = (image.format or "") in ("JPEG", "MPO")
        pages, said = _pages(image)
        marks += [said] if said else []
        for page in range(pages):
            groups.setdefault(_shape(path, image, page, marks), []).append(page)
    if len(groups) > 1:
        marks.append(f"Its pages differ in size or kind: they form {len(groups)} stacks.")
    series = []
    for index, (shape, numbers) in enumerate(groups.items()):
        rows, columns, samples, dtype, is_inverted = shape
        series.append(
            study.Series(
                key=uid + (f"#{index + 1}" if index else ""),
                series_uid=uid,
                modality="",
                description=name,
                number=None,
                body_part="",
                slices=tuple(cases.ImageRef(path, page) for page in numbers),
                rows=rows,
                columns=columns,
                samples=samples,
                dtype=dtype,
                slope=(1.0,) * len(numbers),
                intercept=(0.0,) * len(numbers),
                windows=(study.WHOLE_8_BIT,) if (samples, dtype) == (1, "uint8") else (),
                is_inverted=is_inverted,
                is_lossy=is_lossy,
                marks=tuple(dict.fromkeys(marks)),
            )
        )
    return study.Study(study_uid=uid, series=tuple(series), paths=(path,), title=name)


class PixelFile:
    """An open picture file that gives its pages; close it after use."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._resources = contextlib.ExitStack()
        self._image = self._resources.enter_context(_opened(path))
        self.frames, _ = _pages(self._image)

    def frame(self, number: int) -> np.ndarray:
        """Return page `number` upright: grey (rows, columns) or uint8 (rows, columns, 3)."""
        if not 0 <= number < self.frames:
            raise errors.UnreadableFileError(self._path, f"It has no page {number + 1}.")
        with _as_unreadable(self._path):
            if self.frames > 1:
                self._image.seek(number)
            found = _pixels(self._image)
            # Asked after the reading: Pillow turns a TIFF itself.
            return np.ascontiguousarray(_TURNS[_orientation(self._image)](found))

    def close(self) -> None:
        """Close the file."""
        self._resources.close()


@contextlib.contextmanager
def _as_unreadable(path: str) -> Iterator[None]:
    """Turn what Pillow raises on damaged files into one error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (errors.UnreadableFileError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise errors.UnreadableFileError(path, "It is not a whole picture.") from error
    except Image.DecompressionBombError as error:
        raise errors.UnreadableFileError(path, "It has too many pixels to be a picture.") from error
    except Exception as error:
        raise errors.UnreadableFileError(path, _reason(error)) from error


def _reason(error: Exception) -> str:
    """Return what is wrong in a sentence; Pillow tells it by words only."""
    said = str(error).lower()
    if isinstance(error, EOFError) or "truncated" in said or "unexpected end" in said:
        return "The picture is cut short."
    if "too large" in said or "exceed" in said:
        return "The picture holds a text or profile that unpacks to far too much."
    return f"The picture is damaged ({type(error).__name__})."


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    # The limit below replaces Pillow's, which warns at half of it and logs.
    Image.MAX_IMAGE_PIXELS = LARGEST_PIXELS
    with files.opened(path, whole=True) as (file, _), _as_unreadable(path):
        image = Image.open(file, formats=_FORMATS)
        with image:
            if image.width * image.height > LARGEST_PIXELS:
                size = f"{image.width} x {image.height}"
                raise errors.UnreadableFileError(path, f"It has {size} pixels, which is too many.")
            yield image


def _pages(image: Image.Image) -> tuple[int, str]:
    """Return how many pages are shown, and what is wrong with the others, or ""."""
    if image.format in _ONE_PICTURE:
        more = int(getattr(image, "n_frames", 1))
        return 1, f"It holds {more:,} pictures: the first is shown." if more > 1 else ""
    said = f"It has more than {_MOST_PAGES:,} pages: the rest is left out."
    # Pillow's own count follows a chain of pages to its end, however long that is.
    page = 1
    while page <= _MOST_PAGES:
        try:
            image.seek(page)
        except EOFError:
            said = ""
            break
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001
            said = f"Page {page + 1} and what follows it are left out: {_reason(error)}"
            break
        page += 1
    image.seek(0)
    return min(page, _MOST_PAGES), said


def _orientation(image: Image.Image) -> int:
    """Return how the camera was held (EXIF 2.3, 4.6.4, tag Orientation): 1 is upright."""
    found = image.getexif().get(0x0112)
    return found if found in _TURNS else 1


def _shape(path: str, image: Image.Image, page: int, marks: list[str]) -> _Shape:
    if page:
        image.seek(page)
    if image.width * image.height > LARGEST_PIXELS or not image.width or not image.height:
        raise errors.UnreadableFileError(path, f"Page {page + 1} has no usable size.")
    rows, columns = image.height, image.width
    # It lies on its side; of a TIFF Pillow gives the size as it will be.
    if _orientation(image) >= 5 and image.format != "TIFF":
        rows, columns = columns, rows
    mode = image.mode
    if mode == "CMYK":
        marks.append("Its printing colours (CMYK) were turned into RGB.")
    if "A" in mode or "transparency" in image.info:
        marks.append("Transparent parts are shown on black.")
    samples, dtype = _kind(image)
    bits = _tag(image, _BITS)
    if dtype == "uint8" and len(bits) > 1 and max(bits) > 8:
        marks.append(f"Colours of {max(bits)} bits are shown with 8.")
    # Pillow turns the values of 8 bits itself, and only these.
    is_inverted = samples == 1 and dtype != "uint8" and _tag(image, _PHOTOMETRIC) == (0,)
    return rows, columns, samples, dtype, is_inverted


def _tag(image: Image.Image, number: int) -> tuple[int, ...]:
    """Return the values of a tag of a TIFF, () where it has none."""
    found = getattr(image, "tag_v2", {}).get(number, ())
    return found if isinstance(found, tuple) else (found,)


def _kind(image: Image.Image) -> tuple[int, str]:
    """Return (samples, dtype) that `_pixels` gives for a picture."""
    mode = image.mode
    if mode in _SIXTEEN:
        return 1, "uint16"
    if mode == "I":
        is_unsigned = _tag(image, _BITS) == (32,) and _tag(image, _SAMPLE_FORMAT) in ((), (1,))
        return 1, "uint32" if is_unsigned else "int32"
    if mode == "F":
        return 1, "float32"
    if mode in ("1", "L", "LA", "La") and "transparency" not in image.info:
        return 1, "uint8"
    return 3, "uint8"


def _pixels(image: Image.Image) -> np.ndarray:
    """Return the pixels as they lie in the file, (rows, columns) or (rows, columns, 3).

    A few lines at a time, so that a large picture is held but twice.
    """
    samples, dtype = _kind(image)
    shape = (image.height, image.width) if samples == 1 else (image.height, image.width, 3)
    found = np.empty(shape, dtype)
    for top in range(0, image.height, _LINES):
        bottom = min(top + _LINES, image.height)
        lines = image.crop((0, top, image.width, bottom))
        if dtype == "uint8":
            lines = _plain(lines, "L" if samples == 1 else "RGB")
        found[top:bottom] = np.asarray(lines).astype(dtype, copy=False)
    return found


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """Return a picture in `mode`, its transparent parts on black."""
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        over = image.convert("RGBA")
        ground = Image.new("RGBA", over.size, (0, 0, 0, 255))
        image = Image.alpha_composite(ground, over)
    return image if image.mode == mode else image.convert(mode)


# EXIF 2.3, 4.6.4: where the first row and the first column of the file lie.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda found: found,
    2: lambda found: found[:, ::-1],
    3: lambda found: found[::-1, ::-1],
    4: lambda found: found[::-1],
    5: lambda found: found.swapaxes(0, 1),
    6: lambda found: found.swapaxes(0, 1)[:, ::-1],
    7: lambda found: found.swapaxes(0, 1)[::-1, ::-1],
    8: lambda found: found.swapaxes(0, 1)[::-1],
}
