"""Promise: what a release says of itself agrees: version, date, Pythons, addresses."""

import re
import subprocess
import tomllib

from repository import ROOT

import softstep

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
PYTHONS = [c.split(" :: ")[-1] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]


def test_the_version_is_the_same_everywhere():
    newest, date = re.search(r"^## (\S+) \((.+)\)$", CHANGELOG, re.M).groups()
    assert newest == softstep.__version__
    assert re.search(r"^version: (.+)$", CITATION, re.M)[1] == newest
    released = re.search(r"^date-released: (.+)$", CITATION, re.M)
    assert (released[1] if released else "unreleased") == date


def test_what_is_tested_is_what_is_claimed():
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    assert re.findall(r'"(3\.\d+)"', re.search(r"python: \[(.+)\]", workflow)[1]) == PYTHONS
    assert re.search(r"os: \[(.+)\]", workflow)[1].count("latest") == 3
    assert (
        f"VERSIONS = {tuple(PYTHONS)}".replace("'", '"')
        in (ROOT / ".ci" / "try_dist.py").read_text()
    )


def test_the_address_of_the_repository_stands_in_two_files_alone():
    source = PROJECT["urls"]["Source"]
    others = {name: url for name, url in PROJECT["urls"].items() if name != "Documentation"}
    assert all(url.startswith(source) for url in others.values())
    assert f'repository-code: "{source}"' in CITATION
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    texts = {name: (ROOT / name).read_bytes() for name in names if (ROOT / name).is_file()}
    for address in (source, PROJECT["urls"]["Documentation"]):
        found = {name for name, text in texts.items() if address.encode() in text}
        assert found <= {"pyproject.toml", "CITATION.cff"}


def test_a_tag_publishes_only_its_own_version():
    workflow = (ROOT / ".github" / "workflows" / "publish.yml").read_text()
    pattern = re.search(r'grep -qx "(.+)" src', workflow)[1]
    line = pattern.replace("${GITHUB_REF_NAME#v}", softstep.__version__).replace("\\", "")
    assert line in (ROOT / "src" / "softstep" / "__init__.py").read_text().splitlines()


def jobs(name):
    """The jobs of a workflow by name, each as text."""
    text = (ROOT / ".github" / "workflows" / name).read_text().split("\njobs:\n")[1]
    parts = re.split(r"^  (\w+):\n", text, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_nothing_is_published_before_every_job_of_the_tests_has_passed():
    publishing = jobs("publish.yml")
    (publish,) = (name for name, job in publishing.items() if "gh-action-pypi-publish" in job)
    needed = re.search(r"needs: \[(.+)\]", publishing[publish])[1].split(", ")
    assert set(needed) == {*publishing} - {publish}
    assert any("uses: ./.github/workflows/tests.yml\n" in publishing[name] for name in needed)
    tests = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    assert re.search(r"^  workflow_call:", tests, re.M)
    assert "pytest" in jobs("tests.yml")["test"]
    assert "name: dist\n" in jobs("tests.yml")["dist"]  # what is published
    assert not re.search(r"continue-on-error|^    if:", tests, re.M)


def test_the_site_that_is_linked_is_the_one_that_is_deployed():
    owner, name = PROJECT["urls"]["Source"].split("/")[-2:]
    assert PROJECT["urls"]["Documentation"] == f"https://{owner}.github.io/{name}"
    built = re.search(r"^site_dir: (\S+)$", (ROOT / "mkdocs.yml").read_text(), re.M)[1]
    deploying = jobs("docs.yml")
    assert "make docs" in deploying["build"]
    assert f"path: {built}\n" in deploying["build"]
    assert "actions/deploy-pages" in deploying["deploy"]
