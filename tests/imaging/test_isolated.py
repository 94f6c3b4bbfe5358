"""Reader processes: what they give, and what happens when one is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np
import phantoms
import psutil
import pytest
from pydicom.data import get_testdata_file

from medsearch_desktop import cases, errors
from medsearch_desktop.imaging import isolated, reader_client, reader_process, study


@pytest.fixture
def readers() -> Iterator[isolated.Readers]:
    with isolated.Readers() as opened:
        yield opened


def _children() -> list[psutil.Process]:
    """The reader processes of this one (multiprocessing keeps a helper of its own)."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any("spawn_main" in word for word in child.cmdline()):
                found.append(child)
    return found


def _series(readers: isolated.Readers, *paths: Path) -> study.Series:
    (found,) = readers.open_paths(paths)
    assert isinstance(found, study.Study), found
    return found.series[0]


def test_that_a_loaded_series_equals_the_files_and_fills_from_the_first_slice_outward(
    readers, tmp_path
):
    paths = phantoms.write_ct_series(tmp_path, 9, (16, 20))
    series = _series(readers, tmp_path)
    seen: list[int] = []
    filling: list[int] = []

    def ready(found, plane):
        seen.append(plane)
        filling.append(int(found.ready.sum()))
        assert np.array_equal(found.voxels[plane], phantoms.read(paths[plane]).pixel_array)

    found = readers.load(series, first=6, on_slice=ready)
    assert seen == [6, 7, 5, 8, 4, 3, 2, 1, 0]
    assert filling == list(range(1, 10))
    assert found.ready.all()
    assert found.voxels.dtype == np.uint16
    assert not found.voxels.flags.writeable


def test_that_only_the_slices_asked_for_are_read(readers, tmp_path):
    paths = phantoms.write_ct_series(tmp_path, 9, (16, 20))
    found = readers.load(_series(readers, tmp_path), indices=[7, 2])
    assert found.indices == (7, 2)
    assert np.array_equal(found.voxels[0], phantoms.read(paths[7]).pixel_array)
    assert np.array_equal(found.voxels[1], phantoms.read(paths[2]).pixel_array)


def test_that_voxels_outlive_the_readers_and_leave_no_shared_memory(tmp_path, monkeypatch):
    create, made = shared_memory.SharedMemory, []

    def noted(**options: object) -> shared_memory.SharedMemory:
        block = create(**options)  # type: ignore[arg-type]
        made.append(Path("/dev/shm") / block.name)
        return block

    monkeypatch.setattr(shared_memory, "SharedMemory", noted)
    phantoms.write_ct_series(tmp_path, 4, (16, 20))
    with isolated.Readers() as readers:
        found = readers.load(_series(readers, tmp_path))
    total = int(found.voxels.sum())
    row = found.voxels[2, 3]
    del found
    assert int(row[0]) > 0
    assert total > 0
    assert made
    assert not [path for path in made if path.exists()]


def test_that_studies_can_be_loaded_while_others_are_still_being_found(readers, tmp_path):
    for k in range(3):
        phantoms.write_picture(tmp_path / f"{k}.png", np.full((4, 4), k, np.uint8))
    values = [
        int(readers.load(found.series[0]).voxels[0, 0, 0])
        for found in readers.open_paths([tmp_path])
    ]
    assert values == [0, 1, 2]


def test_that_a_search_given_up_half_way_frees_its_reader(readers, tmp_path):
    for k in range(40):
        phantoms.write_picture(tmp_path / f"{k}.png")
    found = readers.open_paths([tmp_path])
    next(found)
    found.close()
    assert len(list(readers.open_paths([tmp_path]))) == 40
    assert len(_children()) <= 2


def test_that_a_cancelled_load_comes_back_as_far_as_it_got(readers, tmp_path):
    phantoms.write_ct_series(tmp_path, 30, (64, 64))
    series = _series(readers, tmp_path)
    seen: list[int] = []
    found = readers.load(
        series, on_slice=lambda _, k: seen.append(k), cancelled=lambda: len(seen) >= 3
    )
    assert int(found.ready.sum()) == 3
    assert readers.load(series).ready.all()


def test_that_a_reader_killed_in_mid_read_costs_one_slice_at_most(readers, tmp_path):
    phantoms.write_ct_series(tmp_path, 40, (64, 64))
    series = _series(readers, tmp_path)
    killed: list[int] = []

    def kill(found, plane):
        if not killed:
            killed.append(plane)
            for child in _children():
                child.send_signal(signal.SIGSTOP)
                child.kill()

    told: list[str] = []
    found = readers.load(
        series, on_slice=kill, on_fault=lambda _, plane, sentence: told.append(sentence)
    )
    assert killed
    assert len(found.faults) <= 1
    assert list(found.faults.values()) == told
    assert int(found.ready.sum()) == 40 - len(found.faults)
    assert readers.load(series).ready.all()


def test_that_a_reader_over_its_deadline_is_dead_when_the_fault_is_told(tmp_path):
    # More replies than a pipe holds: the reader is at work when it is stopped.
    phantoms.write_ct_series(tmp_path, 400, (32, 32))
    job = reader_process.Open((str(tmp_path),), frozenset(), False)
    before = {child.pid for child in _children()}
    reader = reader_client.Reader(1 << 30, True)
    stopped: list[psutil.Process] = []

    def take_and_stop() -> None:
        for _ in reader.replies(job, 1.0, reader_client.never):
            if not stopped:
                stopped.extend(child for child in _children() if child.pid not in before)
                stopped[0].send_signal(signal.SIGSTOP)

    with pytest.raises(reader_client.LostError, match="longer than 1 seconds"):
        take_and_stop()
    assert [child.is_running() for child in stopped] == [False]


def test_that_one_bad_slice_leaves_the_others_and_says_why(readers, tmp_path):
    paths = phantoms.write_ct_series(tmp_path, 9, (16, 20))
    series = _series(readers, tmp_path)
    paths[4].write_bytes(paths[4].read_bytes()[:-100])
    paths[7].unlink()
    told: list[tuple[int, str]] = []
    found = readers.load(
        series, first=4, on_fault=lambda _, plane, sentence: told.append((plane, sentence))
    )
    assert dict(told) == found.faults
    assert sorted(found.faults) == [4, 7]
    assert [bool(r) for r in found.ready] == [k not in (4, 7) for k in range(9)]
    assert not found.voxels[4].any()
    assert "No such file" in found.faults[7]
    assert np.array_equal(found.voxels[5], phantoms.read(paths[5]).pixel_array)


def test_that_more_pixels_than_allowed_are_asked_about_and_a_part_still_loads(readers, tmp_path):
    phantoms.write_ct_series(tmp_path, 9, (16, 20))
    series = _series(readers, tmp_path)
    plane = series.slice_bytes
    with pytest.raises(errors.TooLargeError) as caught:
        readers.load(series, allow_bytes=8 * plane)
    assert (caught.value.needed_bytes, caught.value.allowed_bytes) == (9 * plane, 8 * plane)
    assert readers.load(series, allow_bytes=9 * plane).ready.all()
    assert readers.load(series, indices=range(8), allow_bytes=8 * plane).ready.all()
    assert isolated.ASK_ABOVE_BYTES == 2 << 30


@pytest.mark.parametrize("limit", ["itself", "watched"])
def test_that_a_file_that_needs_too_much_memory_is_refused_and_others_are_read(tmp_path, limit):
    if limit == "itself" and sys.platform != "linux":
        pytest.skip("only Linux keeps a process within its address space")
    small = phantoms.write_picture(tmp_path / "small.png")
    large = phantoms.write_picture(tmp_path / "large.tif", np.zeros((11000, 12000), np.uint8))
    colour = cases.ImageRef(str(large))
    with isolated.Readers(memory_cap_bytes=100 << 20, limit=limit) as readers:
        with pytest.raises(errors.UnreadableFileError, match="memory"):
            readers.render_picture(colour)
        assert readers.render_picture(cases.ImageRef(str(small))).shape == (48, 64, 3)


def test_that_a_panic_in_a_decoder_is_an_error_like_any_other(readers, tmp_path):
    # A segment that the RLE header puts behind the end: the decoder, in Rust, panics,
    # which Python sees as a BaseException.
    raw = bytearray(Path(get_testdata_file("MR_small_RLE.dcm", download=False)).read_bytes())
    raw[raw.index(b"\xe0\x7f\x10\x00") + 40] = 201
    path = tmp_path / "a.dcm"
    path.write_bytes(raw)
    series = _series(readers, path)
    with pytest.raises(errors.UnreadableFileError, match="PanicException"):
        readers.load(series)
    good = _series(readers, phantoms.write_picture(tmp_path / "a.png"))
    assert readers.load(good).ready.all()


def test_that_one_file_that_ends_the_reader_does_not_take_the_others_with_it(tmp_path):
    for k in range(6):
        phantoms.write_picture(tmp_path / f"{k}.png")
    with isolated.Readers() as readers:
        found = []
        for each in readers.open_paths([tmp_path]):
            if len(found) == 2:
                for child in _children():
                    child.kill()
            found.append(each)
    paths = [e.path if isinstance(e, study.Refused) else e.paths[0] for e in found]
    assert sorted(set(paths)) == [str(tmp_path / f"{k}.png") for k in range(6)]
    assert len(paths) == len(set(paths))
    assert sum(isinstance(e, study.Refused) for e in found) <= 1


def test_that_several_threads_share_the_readers(tmp_path):
    for k in range(8):
        phantoms.write_picture(tmp_path / f"{k}.png", np.full((32, 32), k, np.uint8))
    results: dict[int, int] = {}

    def read(readers: isolated.Readers, k: int) -> None:
        for _ in range(5):
            shown = readers.render_picture(cases.ImageRef(str(tmp_path / f"{k}.png")))
            results[k] = int(shown.max())

    with isolated.Readers(2) as readers:
        threads = [threading.Thread(target=read, args=(readers, k)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(_children()) <= 3
    assert results == {k: k for k in range(8)}


def test_that_closing_ends_every_process_and_wakes_those_who_wait(tmp_path):
    phantoms.write_ct_series(tmp_path, 60, (64, 64))
    readers = isolated.Readers()
    series = _series(readers, tmp_path)
    begun, outcome = threading.Event(), []

    def load() -> None:
        try:
            readers.load(series, on_slice=lambda *_: (begun.set(), time.sleep(0.05)))
        except errors.UnreadableFileError as error:
            outcome.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    assert begun.wait(10)
    readers.close()
    thread.join(5)
    assert not thread.is_alive()
    assert len(outcome) == 1
    readers.close()
    assert _children() == []
    with pytest.raises(errors.UnreadableFileError):
        readers.load(series)


def test_that_warming_twice_starts_one_process(readers):
    readers.warm()
    readers.warm()
    end = time.monotonic() + 60
    while len(_children()) < 1 and time.monotonic() < end:
        time.sleep(0.02)
    assert len(_children()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory maps of a process")
def test_that_a_reader_holds_no_qt_and_no_torch_and_dumps_no_core(readers, tmp_path):
    _series(readers, phantoms.write_picture(tmp_path / "a.png"))
    (child,) = _children()
    loaded = " ".join(part.path for part in child.memory_maps())
    assert "PIL" in loaded
    for foreign in ("torch", "PySide6", "libQt", "faiss", "vtk", "gdcm"):
        assert foreign not in loaded
    limits = Path(f"/proc/{child.pid}/limits").read_text()
    (core,) = (line.split()[4:6] for line in limits.splitlines() if "core" in line)
    assert set(core) <= {"0", "1"}, "a core file of one byte is none"


def test_that_nothing_in_the_users_folder_is_ever_imported(tmp_path):
    folder = tmp_path / "study"
    phantoms.write_ct_series(folder, 4, (8, 8))
    phantoms.write_nifti(folder / "a.nii.gz")
    for name in ("dl", "gdcm", "struct", "nibabel", "random", "pydicom", "PIL", "gzip", "ctypes"):
        (folder / f"{name}.py").write_text("open('TRAPPED', 'w').close()\n")
    script = tmp_path / "program.py"
    script.write_text(
        "import json, sys\n"
        "from medsearch_desktop.imaging import isolated, reader_client, reader_process, study\n"
        "if __name__ == '__main__':\n"
        "    with isolated.Readers() as readers:\n"
        "        found = [f for f in readers.open_paths(['.']) if isinstance(f, study.Study)]\n"
        "        for each in found:\n"
        "            readers.load(each.series[0])\n"
        "    print(json.dumps(len(found)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", str(script)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(isolated.__file__).parents[2])},
    )
    assert json.loads(done.stdout) == 2
    assert not (folder / "TRAPPED").exists()


def test_that_a_block_larger_than_the_machine_is_refused_before_it_is_made(readers, tmp_path):
    series = _series(readers, *phantoms.write_ct_series(tmp_path, 1, (8, 8)))
    huge = study.Series(
        **{**series.__dict__, "rows": 60000, "columns": 60000, "slices": series.slices * 1000}
    )
    with pytest.raises(errors.UnreadableFileError, match="shared memory"):
        readers.load(huge, allow_bytes=1 << 62)


def test_that_missing_files_are_an_error_of_the_picture_and_of_the_load(readers, tmp_path):
    paths = phantoms.write_ct_series(tmp_path, 3, (8, 8))
    series = _series(readers, tmp_path)
    for path in paths:
        path.unlink()
    with pytest.raises(errors.UnreadableFileError, match="No such file"):
        readers.load(series)
    with pytest.raises(errors.UnreadableFileError, match="No such file"):
        readers.render_picture(cases.ImageRef(str(paths[1])))
