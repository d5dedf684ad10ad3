"""Run every demo, and make of what they draw and print one static page: what ``make gallery`` does.

The pictures of the README are made anew by the same runs. A demo that fails leaves page and pictures as they were.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from _demo import Demo, read
from _page import page
from _pictures import ASSETS, FOLDER

PROCESSES = 2
RUN = """
import importlib, json, pathlib, sys, time
folder, name, out = sys.argv[1:]
sys.path.insert(0, folder)
importlib.import_module(name).main(out=pathlib.Path(out))
pathlib.Path(out).with_suffix(".json").write_text(json.dumps(time.process_time()))
"""
ALONE = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}


@dataclass(frozen=True)
class Shown:
    """A demo that ran to its end.

    Attributes:
        demo: what it says of itself.
        printed: what it printed.
        cpu, wall: seconds it took, imports included.
        picture: its picture.
        film: beside the picture, if it made one.
    """

    demo: Demo
    printed: str
    cpu: float
    wall: float
    picture: Path
    film: Path | None


def run(demo: Demo, folder: Path) -> Shown:
    """Run a demo in a process of its own, on one thread, in an empty folder.

    Raises: RuntimeError, with what it said last, if it fails.
    """
    work = folder / demo.name
    work.mkdir(parents=True)
    out, started = work / f"{demo.name}.png", time.perf_counter()
    command = [sys.executable, "-c", RUN, str(demo.path.parent), demo.name, str(out)]
    ended = subprocess.run(
        command, cwd=work, env={**os.environ, **ALONE}, capture_output=True, encoding="utf-8", errors="replace"
    )
    wall = time.perf_counter() - started
    if ended.returncode or not out.exists():
        said = ended.stderr.strip().splitlines()[-12:] or [f"it ended with code {ended.returncode} and no picture."]
        raise RuntimeError("\n".join([f"{demo.path.name} failed:", *said]))
    film = out.with_suffix(".gif")
    cpu = json.loads(out.with_suffix(".json").read_text())
    return Shown(demo, ended.stdout.strip(), cpu, wall, out, film if film.exists() else None)


def ordered(paths: Sequence[Path], readme: str) -> list[Path]:
    """Demos in the order in which the README shows them; those that it does not show last, by name."""
    places = {path: readme.find(f"assets/{path.stem}.") for path in paths}
    return sorted(paths, key=lambda path: (places[path] < 0, places[path], path.stem))


def gallery(paths: Sequence[Path], folder: Path, assets: Path) -> list[Shown]:
    """Run demos, two at a time, and replace the folder by a page of them and the assets by their pictures.

    Args:
        paths: the demos, in the order of the page.
        folder: replaced; it holds all that the page shows.
        assets: pictures and films of these demos are replaced here.

    Raises: ValueError if a demo is not what one should be, and RuntimeError if one fails; then nothing is replaced.
    """
    demos = [read(path) for path in paths]
    started = time.perf_counter()
    with TemporaryDirectory() as temporary:
        done: dict[str, Shown] = {}
        with ThreadPoolExecutor(PROCESSES) as pool:
            longest = sorted(demos, key=lambda demo: -demo.seconds)  # last, it would run alone
            running = [pool.submit(run, demo, Path(temporary)) for demo in longest]
            try:
                for task in as_completed(running):
                    shown = task.result()
                    done[shown.demo.name] = shown
                    print(f"{shown.demo.name:12} {shown.cpu:6.1f} CPU s, {shown.wall:6.1f} s", flush=True)
            except RuntimeError:
                pool.shutdown(wait=False, cancel_futures=True)  # what has not begun does not
                raise
        found = [done[demo.name] for demo in demos]
        made = Path(temporary) / "gallery"
        made.mkdir()
        for one in found:
            for file in filter(None, (one.demo.path, one.picture, one.film)):
                shutil.copy(file, made)
        text = page(found, time.perf_counter() - started, PROCESSES)
        (made / "index.html").write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made, folder)
        assets.mkdir(exist_ok=True)
        for one in found:
            for file in filter(None, (one.picture, one.film)):
                shutil.copy(file, assets)
    return found


def main(folder: Path = FOLDER.parent / "gallery") -> int:
    """All demos of this folder."""
    started = time.perf_counter()
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    try:
        found = gallery(ordered(sorted(FOLDER.glob("[a-z]*.py")), readme), folder, ASSETS)
    except (RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    cpu = sum(one.cpu for one in found)
    print(f"{len(found)} demos, {cpu:.0f} CPU s, {(time.perf_counter() - started) / 60:.1f} minutes: open ", end="")
    print(folder / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
