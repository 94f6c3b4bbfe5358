"""What patients' files say reaches no place but those that the README names."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import nibabel
import phantoms
import pytest
import toy_encoder
import whole_session
from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset

# Values of headers that name or describe a patient, and what may be kept of each: nothing.
NAMING = {
    "PatientName": "Canaryname^Vorname",
    "PatientID": "CANARY-ID-4711",
    "OtherPatientIDs": "CANARY-OTHER-ID",
    "PatientBirthDate": "19370418",
    "PatientAddress": "Canarystraße 7",
    "PatientComments": "CANARY-COMMENT",
    "AccessionNumber": "CANARYACC",
    "ImageComments": "CANARY-IMAGE-COMMENT",
    "InstitutionName": "CANARY-CLINIC",
    "ReferringPhysicianName": "Canarydoctor^Frieda",
    "OperatorsName": "Canaryoperator^Max",
    "DeviceSerialNumber": "CANARYSERIAL",
}
PRIVATE_TAG = "CANARY-PRIVATE-TAG"
DESCRIBING = {"StudyDescription": "CANARYSTUDY head", "SeriesDescription": "CANARYSERIES axial"}
FOLDER, FILE = "Canaryfolder, Änne (1937)", "Canaryfile Änne"
OTHERS = {
    "nifti descrip": "CANARY-DESCRIP",
    "nifti intent": "CANARY-INTENT",
    "nifti aux": "CANARY-AUX",
    "png text": "CANARY-PNG-TEXT",
    "exif": "CANARY-EXIF",
    "clipboard": whole_session.CLIPBOARD,
    "fault": whole_session.FAULT,
}
# What our design keeps, and where; the README says so. All else is kept nowhere.
KEPT = {
    ("folder name", "collection"),  # where the originals lie
    ("file name", "collection"),
    ("folder name", "shelf"),  # of recent questions and of favourites
    ("file name", "shelf"),
    ("SeriesDescription", "collection"),  # what a case is called and found by
    ("SeriesDescription", "shelf"),  # the title of a favourite
}


# The indexer with the toy encoder allowed.
_INDEX = "import sys, toy_encoder; from indexer import __main__ as index; sys.exit(index.main())"


def _values() -> dict[str, str]:
    # A name is looked for by its parts too.
    parts = {f"{key} first": NAMING[key].split("^")[0] for key in NAMING if "^" in NAMING[key]}
    described = {key: words.split()[0] for key, words in DESCRIBING.items()}
    return {
        **NAMING, **parts, **described, **OTHERS, "private tag": PRIVATE_TAG,
        "folder name": "Canaryfolder", "file name": "Canaryfile",
    }  # fmt: skip


def _write_patient(folder: Path) -> Path:
    """Write studies, a volume and pictures of one patient whose every text is a canary."""

    def name(found: Dataset, _: int) -> None:
        found.SpecificCharacterSet = "ISO_IR 192"
        for key, value in (NAMING | DESCRIBING).items():
            setattr(found, key, value)
        block = found.private_block(0x0011, "CANARY MAKER", create=True)
        block.add_new(0x01, "LO", PRIVATE_TAG)

    series = phantoms.write_ct_series(folder, slices=3, size=(32, 32), change=name)
    for path in series:
        path.rename(path.with_name(f"{FILE} {path.name}"))
    volume = phantoms.write_nifti(folder / f"{FILE}.nii.gz", (12, 12, 6))
    loaded = nibabel.load(volume)
    loaded.header["descrip"] = OTHERS["nifti descrip"].encode()
    loaded.header["intent_name"] = OTHERS["nifti intent"].encode()
    loaded.header["aux_file"] = OTHERS["nifti aux"].encode()
    nibabel.Nifti1Image(loaded.get_fdata(), loaded.affine, loaded.header).to_filename(volume)
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", OTHERS["png text"])
    phantoms.write_picture(folder / f"{FILE}.png", pnginfo=text)
    exif = Image.Exif()
    exif[0x010E] = OTHERS["exif"]
    phantoms.write_picture(folder / f"{FILE}.jpg", exif=exif)
    broken = folder / f"{FILE} broken.dcm"
    whole = (folder / f"{FILE} {series[0].name}").read_bytes()
    broken.write_bytes(whole[: whole.index(b"CANARYACC") + 20])
    return broken


@dataclass
class Session:
    """A session of the program and the indexer that has ended, and all the places it could use."""

    home: Path
    collection: Path
    places: tuple[Path, ...]
    said: str
    notes: dict[str, list[str]]

    def kept(self) -> Iterator[tuple[str, str, Path]]:
        """Give (which value, which of our stores, the file) for each value found in a file."""
        wanted = [
            (key, value.encode(encoding))
            for key, value in _values().items()
            for encoding in ("utf-8", "utf-16-le", "latin-1")
        ]
        for place in self.places:
            for path in place.rglob("*"):
                content = os.fsencode(path.relative_to(place))
                if path.is_file() and not path.is_symlink():
                    content += b"\n" + path.read_bytes()
                for key in {key for key, value in wanted if value in content}:
                    yield key, self._store(path), path

    def _store(self, path: Path) -> str:
        if path.is_relative_to(self.collection):
            return "collection"
        if not path.is_relative_to(self.home):
            return str(path)
        top = path.relative_to(self.home).parts[0]
        return "shelf" if top.startswith("shelf") or top == "backups" else top


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A real session of the window and the indexer with files of one patient."""
    top = tmp_path_factory.mktemp("privacy")
    broken = _write_patient(top / "files" / FOLDER)
    home, users, passing, here = (top / name for name in ("home", "user", "passing", "here"))
    for folder in (users, passing, here):
        folder.mkdir()
    environment = {
        **os.environ,
        "HOME": str(users),
        "MEDSEARCH_HOME": str(home),
        "QT_QPA_PLATFORM": "offscreen",
        "TMPDIR": str(passing),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        environment.pop(name, None)
    said = ""
    # As on machines that dump whatever crashes.
    dumping = (
        ("sh", "-c", 'ulimit -c "$(ulimit -Hc)"; exec "$@"', "sh") if os.name == "posix" else ()
    )

    def run(*arguments: object) -> None:
        nonlocal said
        done = subprocess.run(
            [*dumping, sys.executable, *map(str, arguments)], check=False, capture_output=True,
            text=True, env=environment, cwd=here, timeout=300,
        )  # fmt: skip
        said += done.stdout + done.stderr
        assert done.returncode in (0, 3), done.stderr

    collection = home / "collections" / "cases"
    index = (
        "-c",
        "import toy_encoder; from indexer import __main__ as i; raise SystemExit(i.main())",
    )
    files = broken.parent
    run(*index, "build", files, "--out", collection, "--encoder", toy_encoder.NAME, "--quiet")
    picture = files / f"{FILE}.png"
    run(*index, "search", collection, "--image", picture, "--quiet")
    notes = top / "notes.json"
    series = [path for path in files.glob("*.dcm") if path != broken]
    run(whole_session.__file__, notes, broken, "--collection", collection, *series)
    told = json.loads(notes.read_text("utf-8"))
    return Session(home, collection, (home, users, passing, here), said, told)


_PICKING = """
import sys
from pathlib import Path
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget
from medsearch_desktop import settings
from medsearch_desktop.gui import dialogs

folder = Path(sys.argv[2])

def pick():
    dialog = QApplication.activeModalWidget()
    if not isinstance(dialog, QFileDialog):
        QTimer.singleShot(50, pick)
        return
    dialog.setDirectory(str(folder))
    dialog.selectFile(str(folder / "one.png"))
    dialog.done(1)

with settings.temporary(settings.folders(sys.argv[1])):
    application = QApplication([])
    parent = QWidget()
    QTimer.singleShot(0, pick)
    chosen = dialogs.choose_new_file(parent, "Save", "two.png")
    QTimer.singleShot(0, pick)
    dialogs.choose_files(parent)
    QTimer.singleShot(0, pick)
    dialogs.choose_folder(parent, "Folder")
    print(chosen)
    del parent, application
"""


def test_that_the_folders_a_dialog_has_been_in_are_written_nowhere(tmp_path: Path):
    home, user, folder = (tmp_path / name for name in ("home", "user", "Canaryfolder"))
    for made in (home, user, folder):
        made.mkdir()
    (folder / "one.png").touch()
    environment = {**os.environ, "HOME": str(user), "QT_QPA_PLATFORM": "offscreen"}
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", _PICKING, str(home), str(folder)],
        capture_output=True, text=True, check=False, timeout=120, env=environment, cwd=user,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(folder / "one.png")  # it was there
    files = [path for top in (home, user) for path in top.rglob("*") if path.is_file()]
    assert not [path for path in files if b"Canary" in path.read_bytes()]
    assert not list(user.rglob("QtProject*"))


def test_that_the_session_did_all_it_should(session: Session):
    wanted = {"asked", "liked", "pasted", "refused", "lost SIGABRT", "lost SIGKILL", "faulted"}
    assert set(session.notes["did"]) == wanted
    assert (session.home / "window.ini").is_file()
    assert (session.home / "logs" / "window.log").read_text("utf-8")


def test_that_what_files_say_is_kept_where_the_readme_says_and_nowhere_else(session: Session):
    found = {(key, store) for key, store, _ in session.kept()}
    assert found <= KEPT
    # The search sees what is there: each thing we keep on purpose is found.
    assert {key for key, _ in found} == {key for key, _ in KEPT}


def test_that_logs_hold_no_word_of_any_file(session: Session):
    text = b"".join(path.read_bytes() for path in (session.home / "logs").iterdir())
    assert b"ValueError" in text
    assert not [key for key, value in _values().items() if value.encode() in text]


def test_that_nothing_is_said_of_a_patient_outside_the_window(session: Session):
    """Titles, command lines, temporary names and the terminal can be read by others."""
    seen = [session.said]
    for kind in ("titles", "commands", "temporary"):
        seen += session.notes[kind]
    assert any("MedSearch" in words for words in seen)
    text = "\n".join(seen)
    assert not [key for key, value in _values().items() if value in text]


def test_that_thumbnails_hold_pixels_alone(session: Session):
    allowed = {"[]", "['jfif', 'jfif_density', 'jfif_unit', 'jfif_version']"}
    assert session.notes["thumbnails"]
    assert {words.rsplit(" ", 1)[0] for words in session.notes["thumbnails"]} <= allowed
    assert {words.rsplit(" ", 1)[1] for words in session.notes["thumbnails"]} == {"{}"}
    with sqlite3.connect(session.home / "shelf.db") as shelf:
        rows = shelf.execute("SELECT thumbnail FROM favourites").fetchall()
    shelf.close()
    assert rows
    for (content,) in rows:
        with Image.open(BytesIO(content)) as picture:
            assert not dict(picture.getexif())
            assert not {"Comment", "comment", "exif"} & set(picture.info)


def test_that_every_file_of_the_data_folder_is_the_users_alone(session: Session):
    """A new collection, the shelf, logs, the choice and window.ini among them."""
    paths = [session.home, *session.home.rglob("*")]
    wide = {str(p): oct(p.lstat().st_mode) for p in paths if p.lstat().st_mode & 0o077}
    assert not wide
    executable = [p for p in paths if p.is_file() and stat.S_IMODE(p.stat().st_mode) != 0o600]
    assert not executable


def test_that_nothing_passing_and_no_memory_is_left_behind(session: Session):
    home, _, passing, here = session.places
    assert not list((home / "temp").iterdir())
    assert not list(passing.iterdir())
    # A core file would lie where the program was started: the search process was aborted.
    assert not list(here.iterdir())
    assert not (home / "window.socket").exists()


_HOLDING = """
import os, signal
from medsearch_desktop.imaging import blocks
held = [blocks.Block("x", 1_000_000) for _ in range(3)]
print(" ".join(block.name for block in held), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_that_a_killed_program_leaves_no_shared_memory(tmp_path: Path):
    shared = Path("/dev/shm")
    if not shared.is_dir():
        pytest.skip("shared memory has no folder here")
    done = subprocess.run(
        [sys.executable, "-c", _HOLDING], capture_output=True, text=True, check=False, timeout=60
    )
    names = done.stdout.split()
    assert (done.returncode, len(names)) == (-9, 3)
    # Whoever outlives the program (the tracker of the standard library) removes them.
    end = time.monotonic() + 30
    while any((shared / name).exists() for name in names) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [name for name in names if (shared / name).exists()]
