"""The plugin that docs/plugins.md goes through works as the page says."""

from __future__ import annotations

import json
import re

import pytest
import torch

from nmrtk import interfaces, testing
from nmrtk.errors import UsageError
from nmrtk.plugins import KINDS, build
from nmrtk.starters.backbone import CouplingBackbone

EXAMPLE = {"NMRTK_PLUGINS": "example", "NMRTK_STRICT_PLUGINS": "1"}


@pytest.fixture
def guide(repository):
    return (repository / "docs" / "plugins.md").read_text(encoding="utf-8")


def test_the_page_quotes_the_files_of_the_example(guide, repository):
    folder = repository / "plugins" / "nmrtk-example"
    quoted = re.findall(r"^<!-- file: plugins/nmrtk-example/(\S+) -->$", guide, re.MULTILINE)
    assert set(quoted) == {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".py", ".toml", ".yml")
    }
    (tree,) = re.findall(r"```text\nnmrtk-example/\n(.*?)```", guide, re.DOTALL)
    assert {line.split()[0] for line in tree.splitlines() if not line.split()[0].endswith("/")} == {
        ".github/workflows/test.yml" if path.startswith(".") else path.rpartition("/")[2]
        for path in [*quoted, "README.md"]
    }


def test_it_is_healthy_and_listed_with_its_options(site_packages):
    (report,) = json.loads(site_packages.nmrtk("plugins", "--json", **EXAMPLE).stdout)
    assert (report["distribution"], report["version"]) == ("nmrtk-example", "0.1.0")
    assert report["components"] == {"invertible_backbones": ["example"]}
    shown = site_packages.nmrtk("list", "--options", **EXAMPLE)
    assert "One pair of additive couplings" in shown.stdout
    assert "hidden: int = 64" in shown.stdout


def test_its_options_are_checked():
    backbone = build("invertible_backbones", "example", {"hidden": 8}, 6, 2, 0)
    assert backbone.f[0].out_features == 8
    for width, options, message in (
        (6, {"hiden": 8}, "example has no option 'hiden'. Did you mean 'hidden'?"),
        (6, {"hidden": 0}, "coupling: hidden=0 must be at least 1"),
        (6, {"hidden": "wide"}, "option hidden='wide' must be int"),
        (1, {}, "coupling needs at least 2 features, not 1"),
    ):
        with pytest.raises(UsageError, match=message):
            build("invertible_backbones", "example", options, width, 1, 0)


def test_a_failing_check_says_what_the_page_says(guide, capsys):
    class Wrong(CouplingBackbone):
        def inverse(self, outputs, condition=None):
            first, second = outputs.split(self.sizes, dim=1)
            # The check begins without a condition.
            second = second - self.f(first)
            first = first - self.g(second)
            return torch.cat([first, second], dim=1)

    Wrong.__name__ = "CouplingBackbone"
    with pytest.raises(AssertionError) as caught:
        testing.check_invertible_backbone(Wrong)
    said = f"{capsys.readouterr().out}AssertionError: {caught.value}"
    (shown,) = re.findall(r"```text\n(CouplingBackbone: .*?)```", guide, re.DOTALL)
    # The measured error may differ in its last digits elsewhere.
    number = re.compile(r"measured \S+e-02")
    assert number.sub("", " ".join(said.split())) == number.sub("", " ".join(shown.split()))


def test_the_table_of_kinds_is_complete(guide):
    rows = re.findall(
        r"^\| \[\w+\]\(kinds/\w+\.md\) \| `(\w+)` \| `(\w+)` \| [^|]+ \| `(\w+)` \|$",
        guide,
        re.MULTILINE,
    )
    assert [hook for hook, _, _ in rows] == list(KINDS)
    for _, interface, check in rows:
        assert hasattr(interfaces, interface)
        assert check in testing.__all__
    checks = {name for name in testing.__all__ if name.startswith("check_")}
    assert checks == {check for _, _, check in rows}


def test_the_modules_that_a_plugin_may_import_are_those_of_its_starters(guide, repository):
    """What `nmrtk new-plugin` writes keeps to the rule of the page."""
    (rule,) = re.findall(
        r"^- Import from the core what these pages name: (.*?)\n- ", guide, re.M | re.S
    )
    allowed = set(re.findall(r"`(nmrtk[\w.]*)`", rule))
    used = {
        module
        for path in (repository / "nmrtk" / "starters").glob("*.py")
        for module in re.findall(r"^from (nmrtk[\w.]*) import", path.read_text(), re.MULTILINE)
    }
    assert used < allowed
