"""Promise: docs/gallery.md shows images that exist, few bytes, by commands that exist."""

import re
import shlex

import pytest
from repository import DOCS, ROOT

from softstep.cli.commands import parser

GALLERY = (DOCS / "gallery.md").read_text(encoding="utf-8")
PAGES = (*DOCS.glob("*.md"), ROOT / "README.md")
IMAGES = {path.name for path in (DOCS / "images").iterdir()}
COMMANDS = re.findall(r"^    softstep (.+)$", GALLERY, re.M)
NAMED = r'(?:src|srcset)="(?:https://\S+/docs/)?images/([^"]+)"'


def test_every_image_named_exists_and_every_image_is_in_the_gallery():
    assert set(re.findall(NAMED, GALLERY)) == IMAGES
    for page in PAGES:
        assert set(re.findall(NAMED, page.read_text(encoding="utf-8"))) <= IMAGES


def test_every_figure_has_a_dark_twin():
    light = {name for name in IMAGES if not name.endswith("-dark.png")}
    figures = light - {"report.png", "explain.png"}
    assert {name.replace(".png", "-dark.png") for name in figures} == IMAGES - light


def test_the_images_are_png_of_three_megabytes_at_most():
    files = [DOCS / "images" / name for name in IMAGES]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    assert 0 < sum(file.stat().st_size for file in files) <= 3_000_000


def test_every_image_says_what_it_shows():
    assert len(re.findall(r'<img src="[^"]+" alt="[^"]{10,}"', GALLERY)) == GALLERY.count("<img")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command):
    arguments = parser().parse_args(shlex.split(command))
    assert callable(arguments.run)


def test_there_are_commands_and_a_wrong_one_does_not_parse():
    assert len(COMMANDS) >= 5
    with pytest.raises(SystemExit):
        parser().parse_args(["landscape", "mnist", "--direction", "upwards"])
