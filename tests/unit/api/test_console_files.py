"""The console's files as they are shipped: which are served, whose they are, and what they may not do."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from api.console_files import FOLDER, TYPES, ConsoleFiles, read_files, unchanged

ROOT = Path(__file__).resolve().parents[3]
OWN = sorted(path for path in FOLDER.rglob("*") if path.is_file() and "vendor" not in path.parts)
SCRIPTS = [path for path in OWN if path.suffix == ".js"]


def name(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


def test_all_of_the_page_is_served_with_its_type() -> None:
    files = read_files()
    assert set(map(name, OWN)) <= set(files)
    assert files["index.html"].media_type == "text/html; charset=utf-8"
    assert files["js/main.js"].media_type == "text/javascript; charset=utf-8"
    assert files["css/base.css"].media_type == "text/css; charset=utf-8"
    assert files["icon.svg"].media_type == "image/svg+xml"
    assert len({file.etag for file in files.values()}) == len(files)


def test_only_known_kinds_of_plain_files_are_served(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("x")
    (tmp_path / "secret.toml").write_text("x")
    (tmp_path / "folder.js").mkdir()
    (tmp_path / "link.js").symlink_to("/etc/passwd")
    assert set(read_files(tmp_path)) == {"page.html"}


async def test_a_name_is_looked_up_and_never_opened(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("page")
    files = ConsoleFiles(tmp_path)
    page = await files.find("")
    assert page is not None
    assert page.content == b"page"
    for hostile in ("../index.html", "/etc/passwd", "./index.html", "index.html/", "INDEX.HTML", "\0", "%2e%2e"):
        assert await files.find(hostile) is None
    (tmp_path / "later.js").write_text("x")
    assert await files.find("later.js") is None  # what was not there at the first request


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(None, False), ("", False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False)],
)
def test_what_the_browser_has_it_keeps(sent: str | None, expected: bool) -> None:
    assert unchanged('"a"', sent) is expected


def test_vendored_files_are_those_of_their_packages() -> None:
    vendor = FOLDER / "vendor"
    lines = (line.split("  ") for line in (vendor / "SHA256SUMS").read_text().splitlines())
    sums = {file: expected for expected, file in lines}
    present = {path.name for path in vendor.iterdir()} - {"SHA256SUMS", "README.txt"}
    assert present == set(sums)
    for file, expected in sums.items():
        assert hashlib.sha256((vendor / file).read_bytes()).hexdigest() == expected, file
    for file in ("htm.LICENSE.txt", "preact.LICENSE.txt", "uplot.LICENSE.txt"):
        assert file in sums


@pytest.mark.parametrize("path", OWN, ids=name)
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_scripts_never_make_markup_from_text_nor_code(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|dangerously|\beval\(|new Function", text)
    assert "localStorage" not in text or path.name == "keys.js", "the token is not for keeping"


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_scripts_say_what_they_are(path: Path) -> None:
    assert path.read_text().startswith("// ")


def test_the_page_asks_nobody_else_and_has_nothing_inline() -> None:
    for path in OWN:
        for url in re.findall(r"https?://[^\s'\"`)]+", path.read_text()):
            assert url.startswith("http://www.w3.org/"), (path, url)
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*src=)", page)


def test_every_file_that_a_file_names_is_there() -> None:
    files = read_files()
    for path in SCRIPTS:
        for target in re.findall(r"(?:from|import\()\s*'(\.[^']+)'", path.read_text()):
            assert name((path.parent / target).resolve()) in files, (path, target)
    for target in re.findall(r'(?:href|src)="([^"#]+)"', (FOLDER / "index.html").read_text()):
        assert target in files


def test_the_wheel_takes_the_folder_along() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "api" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    ignored = (ROOT / ".gitignore").read_text().split()
    assert not [part for path in OWN for part in path.relative_to(ROOT).parts if f"{part}/" in ignored]
    assert {path.suffix for path in OWN} <= set(TYPES)


PAIRS = (
    *(("text", ground) for ground in ("page", "card", "raised", "chosen")),
    *(("muted", ground) for ground in ("page", "card", "raised")),
    *(("accent", ground) for ground in ("page", "card", "accent-soft")),
    *((tone, f"{tone}-soft") for tone in ("ok", "warn", "bad")),
    *((tone, "card") for tone in ("ok", "warn", "bad")),
    ("on-accent", "accent"),
    ("white", "go"),
    ("white", "danger"),
)
ENOUGH = 4.5
"""WCAG 2.1, 1.4.3 (AA)."""


def colours(scheme: str) -> dict[str, str]:
    """The variables of base.css in force with this scheme."""
    light, _, rest = (FOLDER / "css" / "base.css").read_text().partition("@media (prefers-color-scheme: dark)")
    dark = rest.partition("*, *::before")[0]
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    if scheme == "dark":
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark))
    return {**found, "white": "#ffffff"}


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), PAIRS)
def test_everything_written_can_be_read(scheme: str, ink: str, ground: str) -> None:
    known = colours(scheme)
    bright, dim = sorted((luminance(known[ink]), luminance(known[ground])), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= ENOUGH
