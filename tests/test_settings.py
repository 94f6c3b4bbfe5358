"""Settings, folders and resources."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import mounts
import pytest

from medsearch_desktop import settings


def test_that_a_missing_file_gives_the_defaults(tmp_path: Path):
    assert settings.load(tmp_path / "none.toml") == (settings.Settings(), ())


def test_that_a_wrong_value_names_its_key_and_is_ignored(tmp_path: Path):
    file = tmp_path / "settings.toml"
    file.write_text('[search]\nlimit = 500\nmin_cosine = 0\n[viewer]\nscale_percent = "big"\n')
    loaded, notices = settings.load(file)
    assert loaded == settings.Settings(search=settings.SearchSettings(min_cosine=0.0))
    assert [n.split(" ")[1] for n in notices] == ["search.limit", "viewer.scale_percent"]


def test_that_unknown_keys_and_tables_are_told(tmp_path: Path):
    file = tmp_path / "settings.toml"
    file.write_text("search = 3\n[vewer]\nx = 1\n[viewer]\nzoom = 2\n")
    loaded, notices = settings.load(file)
    assert loaded == settings.Settings()
    assert len(notices) == 3


def test_that_a_file_that_is_no_toml_is_ignored_with_a_notice(tmp_path: Path):
    file = tmp_path / "settings.toml"
    file.write_bytes(b"\xff\xfe[")
    loaded, notices = settings.load(file)
    assert loaded == settings.Settings()
    assert "ignored" in notices[0]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[search]\nlimit = " + "9" * 5000,
        "[search]\nlimit = 0x" + "9" * 5000,
        "[search]\nmin_cosine = 0x" + "9" * 5000,
        "[search]\nlimit = " + "[" * 100_000,
        "#" * ((1 << 20) + 1),
    ],
    ids=["tables", "digits", "hexadecimal", "no float", "arrays", "large"],
)
def test_that_a_settings_file_that_asks_too_much_is_ignored_with_a_notice(tmp_path: Path, text):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    loaded, notices = settings.load(file)
    assert loaded == settings.Settings()
    assert [notice[:13] for notice in notices] == ["settings.toml"]
    assert len(notices[0]) < 300


def test_that_a_settings_file_full_of_wrong_values_is_told_of_in_few_sentences(tmp_path: Path):
    file = tmp_path / "settings.toml"
    file.write_text("[search]\nlimit = 7\n" + "".join(f"k{n} = 1\n" for n in range(1000)))
    loaded, notices = settings.load(file)
    assert loaded.search.limit == 7
    assert len(notices) == 9
    assert "992 more" in notices[-1]


@pytest.mark.skipif(os.name != "posix", reason="pipes with a name, as POSIX has them")
def test_that_a_pipe_in_the_place_of_the_settings_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "settings.toml")
    code = (
        "import sys; from pathlib import Path; from medsearch_desktop import settings;"
        "print(len(settings.load(Path(sys.argv[1]))[1]))"
    )
    assert _child(code, tmp_path / "settings.toml").stdout.strip() == "1"


def test_that_the_home_of_the_environment_holds_everything_and_is_private(home: Path):
    folders = settings.folders().make()
    assert folders.home == home
    inside = (folders.collections, folders.models, folders.logs, folders.scratch, folders.temp)
    for folder in inside:
        assert folder.parent == home
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folders.shelf == home / "shelf.db"


def test_that_a_given_home_beats_the_environment(home: Path, tmp_path: Path):
    assert settings.folders(tmp_path / "other").home == tmp_path / "other"


def test_that_a_resource_we_do_not_ship_is_missed_by_name():
    with pytest.raises(FileNotFoundError, match="nothing-like-this"):
        settings.resource("nothing-like-this")


# what is written, for whom, and what goes again

POSIX = pytest.mark.skipif(os.name != "posix", reason="rights of other users, as POSIX has them")


def _child(code: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=60, **options,
    )  # fmt: skip


_ABORTED = """
import os, resource, sys
from medsearch_desktop import settings
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
settings.private()
with open("written", "w"):
    os.mkdir("made")
sys.stdout.write(str(resource.getrlimit(resource.RLIMIT_CORE)[0]))
sys.stdout.flush()
os.abort()
"""


@POSIX
def test_that_a_private_process_writes_for_its_user_alone_and_dumps_no_memory(tmp_path: Path):
    done = _child(_ABORTED, cwd=tmp_path)
    assert done.returncode == -signal.SIGABRT, done.stderr
    assert int(done.stdout) <= 1
    assert stat.S_IMODE((tmp_path / "written").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700
    assert {path.name for path in tmp_path.iterdir()} == {"written", "made"}


@POSIX
def test_that_rights_from_before_are_narrowed_and_what_is_not_ours_stays(
    home: Path, tmp_path: Path
):
    folders = settings.folders().make()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    elsewhere.chmod(0o755)
    (elsewhere / "case").write_text("")
    (elsewhere / "case").chmod(0o644)
    (folders.collections / "linked").symlink_to(elsewhere)
    made = [folders.collections / "mine" / "segments", folders.models / "m", folders.temp]
    for folder in made:
        folder.mkdir(parents=True, exist_ok=True)
    files = [made[0] / "cases.db", folders.shelf, home / "shelf.db-wal", folders.settings]
    # All else that programs make there.
    for name in ("demo/images", "backups", "plugins", "scratch"):
        (home / name).mkdir(parents=True, exist_ok=True)
    files += [home / "demo" / "demo.jsonl", home / "demo" / "images" / "1.png"]
    files += [home / name for name in ("log-salt", "window.lock", "shelf-mirror.db", ".probe-1")]
    for file in (*files, home / "window.ini", folders.logs / "window.log"):
        file.write_text("")
    for path in (home, *home.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o664)
    folders.narrow()
    ours = [path for path in (home, *home.rglob("*")) if not path.is_symlink()]
    assert not [path for path in ours if path.stat().st_mode & 0o077]
    assert stat.S_IMODE((elsewhere / "case").stat().st_mode) == 0o644
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755


@POSIX
def test_that_a_data_folder_which_holds_other_things_too_keeps_its_own_rights(home: Path):
    folders = settings.folders().make()
    (home / "thesis.odt").write_text("")
    (home / "thesis.odt").chmod(0o644)
    home.chmod(0o755)
    folders.logs.chmod(0o755)
    folders.narrow()
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    assert stat.S_IMODE((home / "thesis.odt").stat().st_mode) == 0o644
    assert stat.S_IMODE(folders.logs.stat().st_mode) == 0o700


def test_that_the_temporary_folder_is_our_own_and_gone_at_the_end(home: Path):
    folders = settings.folders().make()
    before = tempfile.gettempdir()
    with settings.temporary(folders) as own:
        assert own.parent == folders.temp
        assert tempfile.gettempdir() == str(own)
        Path(tempfile.mkdtemp(), "unpacked").write_text("pixels")
        told = _child("import tempfile; print(tempfile.mkdtemp())")
        assert Path(told.stdout.strip()).parent == own  # a child inherits it and leaves it alone
        assert own.is_dir()
    assert not list(folders.temp.iterdir())
    assert tempfile.gettempdir() == before


_KILLED = """
import os, signal, sys, tempfile
from medsearch_desktop import settings
with settings.temporary(settings.folders(sys.argv[1])) as own:
    (own / "unpacked").write_text("pixels")
    print(own, flush=True)
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def test_that_what_a_killed_program_left_goes_at_the_next_start_and_what_runs_is_let_be(home: Path):
    folders = settings.folders().make()
    killed = Path(_child(_KILLED, home, "die").stdout.strip())
    running = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(home), "live"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    alive = Path(running.stdout.readline().strip())
    # Another process has the number of the killed one by now: the lock tells, not the number.
    reused = folders.temp / f"{os.getpid()}-00000000"
    reused.mkdir()
    (folders.temp / f"{reused.name}.lock").touch()
    (folders.temp / "orphan").mkdir()
    try:
        with settings.temporary(folders) as own:
            left = {path.name for path in folders.temp.iterdir() if path.is_dir()}
            assert left == {own.name, alive.name}
            assert (alive / "unpacked").read_text() == "pixels"
    finally:
        running.communicate()
    assert not killed.exists()
    assert not list(folders.temp.iterdir())


_INDEXING = """
import signal
# Whoever started the tests may have these ignored or held back, and a program inherits that.
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGHUP, signal.SIGTERM})
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
import sys, time
from indexer import cli, commands

def run(given, setting):
    print("runs", flush=True)
    time.sleep(60)

commands.run = run
sys.exit(cli.main(["demo", "--home", sys.argv[1]]))
"""


@POSIX
@pytest.mark.parametrize("number", [1, 2, 15])
def test_that_the_indexer_ends_clean_and_resumable_at_each_signal_to_end(home: Path, number: int):
    started = subprocess.Popen(
        [sys.executable, "-c", _INDEXING, str(home)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stdout is not None
    assert started.stdout.readline() == "runs\n"
    started.send_signal(number)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "Traceback" not in said
    assert not list((home / "temp").iterdir())


def test_that_where_the_data_folder_cannot_be_written_the_systems_place_is_taken(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with settings.temporary(settings.folders(tmp_path / "file")) as own:
        assert own.is_dir()
        assert not own.stat().st_mode & 0o077
    assert not own.exists()


@POSIX
def test_that_what_a_killed_program_left_in_the_systems_place_goes_and_what_is_not_ours_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("in the way")
    place = tmp_path / "place"
    place.mkdir()
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    killed = Path(_child(_KILLED, tmp_path / "file", "die").stdout.strip())
    assert killed.parent == place
    assert (killed / "unpacked").exists()
    theirs = place / "medsearch-theirs"  # no lock of ours in it
    theirs.mkdir(mode=0o700)
    wide = place / "medsearch-wide"
    wide.mkdir(mode=0o755)
    wide.chmod(0o755)
    (wide / "medsearch.lock").touch()
    (place / "medsearch-link").symlink_to(killed)
    running = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path / "file"), "live"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    alive = Path(running.stdout.readline().strip())
    try:
        assert not killed.exists()
        # A start whose data folder can be written sweeps there too.
        with settings.temporary(settings.folders(tmp_path / "home")):
            assert (alive / "unpacked").read_text() == "pixels"
    finally:
        running.communicate()
    assert {path.name for path in place.iterdir()} == {
        "medsearch-theirs", "medsearch-wide", "medsearch-link",
    }  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system of its own")
@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_that_a_folder_where_nothing_can_be_written_is_told_apart(tmp_path: Path, kind: str):
    home = tmp_path / "home"
    mounted = mounts.seen_by(home, kind)
    code = """
import sys
from medsearch_desktop import settings
try:
    settings.folders(sys.argv[1]).make()
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run(
        [*mounted, sys.executable, "-c", code, str(home)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    wanted = {"full": "No space left on device", "read-only": "Read-only file system"}
    assert done.stdout.strip() == wanted[kind], done.stderr
