"""Plugins: a broken one is named and stops nothing."""

from __future__ import annotations

import json

import pytest

GOOD = """
from nmrtk import Component, hookimpl

@hookimpl
def readers():
    return [Component("good-format", "good_module:Good", "reads what is good")]
"""

READER = """
from nmrtk import Component, hookimpl

@hookimpl
def readers():
    return [Component("twin", "{module}:Reader", "one of two")]
"""

BROKEN = {
    "import error": ("import no_such_module", "ModuleNotFoundError: No module named"),
    "exit at import": ("raise SystemExit('bye')", "cannot be imported: SystemExit: bye"),
    "syntax error": ("def broken(:", "cannot be imported: SyntaxError"),
    "misspelt hook": (
        "from nmrtk import hookimpl\n@hookimpl\ndef spectrum_codec(): return []",
        "unknown hook 'spectrum_codec'; did you mean 'spectrum_codecs'?",
    ),
    "wrong signature": (
        "from nmrtk import hookimpl\n@hookimpl\ndef readers(colour): return []",
        "cannot be registered: PluginValidationError",
    ),
    "hook that raises": (
        "from nmrtk import hookimpl\n@hookimpl\ndef readers(): raise ValueError('no licence')",
        "hook readers: ValueError: no licence",
    ),
    "hook that exits": (
        "from nmrtk import hookimpl\n@hookimpl\ndef readers(): raise SystemExit(3)",
        "hook readers: SystemExit: 3",
    ),
    "yields a class": (
        "from nmrtk import hookimpl\n@hookimpl\ndef readers(): return [dict]",
        "hook readers: yields <class 'dict'>, which is not a Component",
    ),
    "yields no list": (
        "from nmrtk import Component, hookimpl\n@hookimpl\ndef readers():"
        " return Component('a', 'b:C', 'd')",
        "hook readers: TypeError: 'Component' object is not iterable",
    ),
    "bad component name": (
        "from nmrtk import Component, hookimpl\n@hookimpl\ndef readers():"
        " return [Component('Bad Name', 'b:C', 'd')]",
        "hook readers: the component name 'Bad Name' is not lower-case words",
    ),
    "bad target": (
        "from nmrtk import Component, hookimpl\n@hookimpl\ndef readers():"
        " return [Component('a', 'b.C', 'd')]",
        "the target 'b.C' is not 'module:Class'",
    ),
    "no hook": ("x = 1", "offers nothing"),
    "no such module": (None, "cannot be imported: ModuleNotFoundError"),
}


def add_good(site_packages):
    site_packages.add("nmrtk-good", {"good": "good_plugin"}, {"good_plugin.py": GOOD})


def reports(completed):
    assert completed.returncode == 0, completed.stderr
    return {report["name"]: report for report in json.loads(completed.stdout)}


def test_every_way_to_be_broken_is_named_with_its_cause_and_the_rest_works(site_packages):
    add_good(site_packages)
    for index, (source, _) in enumerate(BROKEN.values()):
        sources = {} if source is None else {f"broken_{index}.py": source}
        site_packages.add(f"broken-{index}", {f"b{index}": f"broken_{index}"}, sources, "0.9")
    found = reports(site_packages.nmrtk("plugins", "--json"))
    assert found["good"]["healthy"]
    assert found["good"]["components"] == {"readers": ["good-format"]}
    for index, (case, (_, expected)) in enumerate(BROKEN.items()):
        report = found[f"b{index}"]
        assert not report["healthy"], case
        assert (report["distribution"], report["version"]) == (f"broken-{index}", "0.9")
        assert expected in report["problems"][0], case

    shown = site_packages.nmrtk("plugins")
    assert "nmrtk-good 1.0 [good] ok\n  format: good-format" in shown.stdout
    assert "broken-0 0.9 [b0] BROKEN\n  problem: cannot be imported" in shown.stdout


def test_list_works_beside_a_broken_plugin_and_warns(site_packages):
    add_good(site_packages)
    site_packages.add(
        "nmrtk-bad", {"bad": "bad_plugin"}, {"bad_plugin.py": "import no_such"}, "2.1"
    )
    listed = site_packages.nmrtk("list")
    assert listed.returncode == 0
    assert "good-format reads what is good" in " ".join(listed.stdout.split())
    assert "Warning: nmrtk-bad 2.1 cannot be imported" in listed.stderr
    rows = json.loads(site_packages.nmrtk("list", "--json").stdout)
    assert {
        "kind": "format",
        "name": "good-format",
        "summary": "reads what is good",
        "target": "good_module:Good",
    } in rows


def test_a_hook_that_fails_leaves_the_other_hooks_of_its_plugin(site_packages):
    source = GOOD + "\n@hookimpl\ndef baselines():\n    raise OSError('disk gone')\n"
    site_packages.add("nmrtk-half", {"half": "half_plugin"}, {"half_plugin.py": source})
    report = reports(site_packages.nmrtk("plugins", "--json"))["half"]
    assert report["components"] == {"readers": ["good-format"]}
    assert report["problems"] == ["hook baselines: OSError: disk gone"]


def test_two_distributions_with_one_component_name_are_both_named(site_packages):
    for letter in "ab":
        site_packages.add(
            f"nmrtk-{letter}",
            {"same": f"plugin_{letter}"},
            {f"plugin_{letter}.py": READER.format(module=f"module_{letter}")},
        )
    completed = site_packages.nmrtk("plugins", "--json")
    found = [r for r in json.loads(completed.stdout) if r["name"] == "same"]
    assert len(found) == 2
    for report in found:
        assert "nmrtk-a 1.0 (module_a:Reader) and nmrtk-b 1.0 (module_b:Reader)" in str(
            report["problems"]
        )
    assert "twin" not in site_packages.nmrtk("list").stdout
    used = site_packages.run(
        "-c", "from nmrtk.plugins import registry; registry().find('readers', 'twin')"
    )
    assert "PluginError: the format 'twin' is offered by nmrtk-a 1.0" in used.stderr


def test_one_module_under_two_names_is_reported_and_works_once(site_packages):
    site_packages.add("nmrtk-x", {"one": "x_plugin", "two": "x_plugin"}, {"x_plugin.py": GOOD})
    found = reports(site_packages.nmrtk("plugins", "--json"))
    assert found["one"]["healthy"]
    assert "cannot be registered: ValueError" in found["two"]["problems"][0]
    assert "good-format" in site_packages.nmrtk("list").stdout


def test_nmrtk_plugins_loads_only_those_named(site_packages):
    add_good(site_packages)
    site_packages.add("nmrtk-bad", {"bad": "bad_plugin"}, {"bad_plugin.py": "import no_such"})
    found = reports(site_packages.nmrtk("plugins", "--json", NMRTK_PLUGINS="good, absent"))
    assert set(found) == {"good", "absent"}
    assert found["good"]["healthy"]
    assert found["absent"]["problems"] == ["NMRTK_PLUGINS names it, but it is not installed"]
    assert reports(site_packages.nmrtk("plugins", "--json", NMRTK_PLUGINS="")) == {}


@pytest.mark.parametrize("setting", ["1", "yes"])
def test_strict_mode_raises(site_packages, setting):
    site_packages.add("nmrtk-bad", {"bad": "bad_plugin"}, {"bad_plugin.py": "import no_such"})
    completed = site_packages.nmrtk("list", NMRTK_STRICT_PLUGINS=setting)
    assert completed.returncode == 1
    assert completed.stderr.startswith("Error: nmrtk-bad 1.0: cannot be imported: Module")
    assert site_packages.nmrtk("list", NMRTK_STRICT_PLUGINS="0").returncode == 0


def test_an_unknown_name_lists_what_there_is_and_who_is_broken(site_packages):
    add_good(site_packages)
    site_packages.add("nmrtk-bad", {"bad": "bad_plugin"}, {"bad_plugin.py": "import no_such"})
    completed = site_packages.run(
        "-c",
        "from nmrtk.plugins import build; build('readers', 'good-formt')",
        NMRTK_PLUGINS="good,bad",
    )
    assert (
        "UsageError: no format is called 'good-formt'. Did you mean 'good-format'? Installed: "
        "good-format (nmrtk-bad: see `nmrtk plugins` for what is wrong)"
    ) in completed.stderr


def test_a_component_whose_class_is_missing_says_where_it_was_sought(site_packages):
    add_good(site_packages)
    completed = site_packages.run(
        "-c", "from nmrtk.plugins import build; build('readers', 'good-format')"
    )
    assert (
        "PluginError: component 'good-format' cannot be loaded from good_module:Good: "
        "ModuleNotFoundError"
    ) in completed.stderr
