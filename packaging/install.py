"""Makes the environment for `make run` and `make test`, saying first what it installs.

Standard library only: it runs before anything is installed. Nothing is done
again that is already done (a stamp in the environment names the lock's digest).
"""

from __future__ import annotations

import argparse
import ctypes.util
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "2.13.0"
# The public index of PyTorch's CPU builds; asked only where the configured sources have none.
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TORCH_LOCK = "requirements/torch.lock"
SIZES = {
    "run": "about 0.7 GB to download, 2.4 GB on disk",
    "test": "about 0.8 GB to download, 2.7 GB on disk",
}


def debian_packages(purpose: str) -> list[str]:
    """Return the system packages that are missing; none where dpkg is not the system's."""
    if shutil.which("dpkg-query") is None:
        return []
    wanted = []
    for line in (ROOT / "packaging" / "debian-packages.txt").read_text("utf-8").splitlines():
        name, _, only = line.partition(" ")
        if name and not name.startswith("#") and (not only or purpose == "test"):
            wanted.append(name)
    if _has_venv():
        wanted.remove("python3-venv")
    return [name for name in wanted if not _is_installed(name)]


def _has_venv() -> bool:
    probe = subprocess.run(
        [sys.executable, "-c", "import ensurepip, venv"], check=False, capture_output=True
    )
    return probe.returncode == 0


def _is_installed(name: str) -> bool:
    # Newer Debian and Ubuntu call some of these NAMEt64.
    for candidate in (name, f"{name}t64"):
        asked = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", candidate],
            check=False,
            capture_output=True,
            text=True,
        )
        if asked.stdout.startswith("ii"):
            return True
    return False


def install_system(missing: list[str]) -> None:
    """Install Debian packages as root or through sudo; say what to do where neither is possible."""
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    if as_root and shutil.which("sudo") is None:
        sys.exit(
            "System packages are missing and sudo is not here. As root, run:\n"
            f"  apt-get install --no-install-recommends {' '.join(missing)}"
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
    ):
        if subprocess.run([*as_root, *command], check=False, env=environment).returncode:
            sys.exit(f"This command failed; run it by hand and try again:\n  {' '.join(command)}")


def pip(python: Path, *arguments: str, quiet_failure: bool = False) -> bool:
    """Run pip in the environment; return whether it ended well."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=quiet_failure)
    return done.returncode == 0


def install_torch(python: Path, build: str) -> None:
    """Install torch: the CPU build unless `build` is "cuda" or the system has only one build."""
    probe = f"import torch; assert torch.__version__.split('+')[0] == '{TORCH}'"
    if subprocess.run([python, "-c", probe], check=False, capture_output=True).returncode == 0:
        return
    common = ("install", "-q", "--no-deps")
    if build == "cuda" or sys.platform == "darwin":
        # PyPI's Linux build brings CUDA libraries as packages of their own.
        done = pip(python, "install", "-q", f"torch=={TORCH}")
    else:
        done = (
            pip(python, *common, "--require-hashes", "-r", TORCH_LOCK, quiet_failure=True)
            or pip(python, *common, f"torch=={TORCH}+cpu", quiet_failure=True)
            or pip(python, *common, f"torch=={TORCH}", "--index-url", TORCH_CPU_INDEX)
        )
    if not done:
        sys.exit(
            f"PyTorch {TORCH} could not be installed. Check the network or name your own "
            "package index (PIP_INDEX_URL), then try again."
        )


def main() -> None:
    """Install what `--for` needs into .venv and stamp it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--for", dest="purpose", choices=("run", "test"), default="run")
    parser.add_argument("--torch", choices=("cpu", "cuda"), default="cpu")
    chosen = parser.parse_args()
    # Checked at run time: this file is started by whatever Python the user has.
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(f"Python 3.11 or newer is needed; this is {platform.python_version()}.")
    lock = ROOT / "requirements" / ("run.lock" if chosen.purpose == "run" else "dev.lock")
    environment = ROOT / ".venv"
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    digest = hashlib.sha256(
        lock.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + chosen.torch.encode()
    ).hexdigest()
    stamp = environment / f"installed-{chosen.purpose}"
    missing = debian_packages(chosen.purpose)
    if not missing and stamp.exists() and stamp.read_text() == digest:
        return
    print(f"Installing into {environment.name}/: {SIZES[chosen.purpose]}.", flush=True)
    print(f"  PyTorch {TORCH}, {chosen.torch.upper()} build, and the packages of {lock.name}.")
    if missing:
        print(f"  System packages (apt): {' '.join(missing)}", flush=True)
        install_system(missing)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    install_torch(python, chosen.torch)
    if not pip(python, "install", "-q", "--no-deps", "--require-hashes", "-r", str(lock)):
        sys.exit("The packages could not be installed; the sentence above says which and why.")
    if not pip(python, "install", "-q", "--no-deps", "-e", "."):
        sys.exit("The program itself could not be installed; the sentence above says why.")
    stamp.write_text(digest)
    if sys.platform == "linux" and ctypes.util.find_library("EGL") is None:
        print("libEGL was not found: the window needs your system's Qt and OpenGL libraries.")


if __name__ == "__main__":
    main()
