"""The pages say what is so: recipes, links, tables."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from nmrtk.recipe import Recipe, make_recipe, read_recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PLACES = ("*.md", "docs/**/*.md", "examples/*/README.md", "plugins/*/README.md")
PAGES = sorted(page for place in PLACES for page in ROOT.glob(place))
LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]+)(#[^)]*)?\)|<img [^>]*src=\"([^\"]+)\"")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page):
    for match in LINK.finditer(page.read_text(encoding="utf-8")):
        target = match[1] or match[3]
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_recipe_of_the_formats_page_shows_every_default():
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert tomllib.loads(block) == Recipe().model_dump(mode="json")


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/**/*.toml")), ids=lambda p: p.name)
def test_the_recipes_of_the_examples_are_read(path):
    make_recipe(read_recipe(path), str(path))


def test_every_word_of_the_glossary_is_explained_once():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = [
        word
        for entry in re.findall(r"^\| (.+?) \|", text, re.MULTILINE)
        if entry not in ("word", "---")
        for word in entry.split(", ")
    ]
    assert sorted(words) == sorted(set(words))


def test_the_readers_of_the_formats_page_are_those_installed():
    from nmrtk.plugins import components

    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    section = text.partition("## Sources of a data set")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)
    assert sorted(named) == sorted(components("readers"))
