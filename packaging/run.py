"""What `make run` does once installed: the demo collection, then the window or its job in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from medsearch_desktop import settings

INDEX = (sys.executable, "-m", "indexer")
ROOT = Path(__file__).resolve().parent.parent


def has_display() -> bool:
    """Tell whether a window can be shown here."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show_without_display(collection: Path) -> int:
    """Do the window's job from the command line, and say how to see the window."""
    print("\nThere is no display here, so the window cannot be shown.")
    print("The same job from the command line:")
    for words in ("chest radiograph with pleural effusion", "brain MR"):
        arguments = ("search", str(collection), "--text", words, "--top", "5")
        print(f"\n$ medsearch-index search DEMO --text {words!r} --top 5", flush=True)
        if code := subprocess.run([*INDEX, *arguments], check=False, cwd=ROOT).returncode:
            return code
    print(
        "\nTo see the window, run `make run` in a desktop session, or through `ssh -X`.\n"
        "`make screenshots` draws it on a virtual screen and saves pictures of it."
    )
    return 0


def main() -> int:
    """Build the demo collection once; open the window, or show the job in words."""
    if code := subprocess.run([*INDEX, "demo"], check=False, cwd=ROOT).returncode:
        return code
    collection = settings.folders().collections / "demo"
    if not has_display():
        return show_without_display(collection)
    return subprocess.run([sys.executable, "-m", "medsearch_desktop"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
