"""Continuous integration: its files hold commands that people and tests run, and no others."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from places import ROOT

GITHUB = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
# What is no target of the Makefile: tests/test_report.py runs the first two, this file the third.
OTHERS = (
    ".venv/bin/dvc pull --allow-missing --run-cache",
    "cat report/report.md",
    'sh tools/post_report.sh "$NUMBER"',
    "apt-get update && apt-get install --yes --no-install-recommends chromium",  # as in .ci/run
    'git fetch origin "${CI_MERGE_REQUEST_TARGET_BRANCH_NAME:-$CI_DEFAULT_BRANCH}"',
)


def load(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in load(path)["jobs"].values() for step in job["steps"]]


def gitlab_jobs() -> dict[str, dict[str, Any]]:
    return {name: job for name, job in load(ROOT / ".gitlab-ci.yml").items() if "script" in job}


def commands() -> list[str]:
    found = [step["run"] for path in GITHUB for step in steps(path) if "run" in step]
    found += [line for job in gitlab_jobs().values() for line in job["script"]]
    return [line for text in found for line in text.strip().splitlines()]


def test_every_command_is_one_that_a_person_runs_too() -> None:
    assert "make test" in commands()
    assert "make repro" in commands()
    for command in commands():
        words = re.sub(r" (>>|\|\|) .*", "", command)
        if words.startswith("make "):
            assert words.split()[1] in TARGETS, command
        else:
            assert words in OTHERS, command


def test_both_platforms_run_the_same() -> None:
    def made(lines: list[str]) -> list[str]:
        return [" ".join(line.split()[:2]) for line in lines if line.startswith("make ")]

    github = [step["run"] for path in GITHUB for step in steps(path) if "run" in step]
    gitlab = [line for job in gitlab_jobs().values() for line in job["script"]]
    assert sorted(made(github)) == sorted(made(gitlab))
    assert made(gitlab) == ["make test", "make venv", "make repro", "make report"]


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.stem)
def test_nothing_of_a_pull_request_is_pasted_into_a_command(path: Path) -> None:
    """A branch may be called `$(…)`: names come by the environment."""
    for step in steps(path):
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_but_for_the_report(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in workflow[True]  # YAML's `on`
    for name, job in workflow["jobs"].items():
        if name != "report":
            assert "permissions" not in job


def test_the_report_sees_the_whole_history() -> None:
    checkout = next(
        step for step in steps(ROOT / ".github/workflows/report.yml") if "checkout" in str(step)
    )
    assert checkout["with"]["fetch-depth"] == 0
    assert load(ROOT / ".gitlab-ci.yml")["variables"]["GIT_DEPTH"] == "0"


def test_python_is_one_that_thaw_runs_on() -> None:
    versions = {
        step["with"]["python-version"]
        for path in GITHUB
        for step in steps(path)
        if "setup-python" in step.get("uses", "")
    }
    image = load(ROOT / ".gitlab-ci.yml")["default"]["image"].removeprefix("python:")
    assert versions | {image} <= {"3.11", "3.12", "3.13"}


GH = """\
#!/bin/sh
printf '%s\\n' "$*" >>"{folder}/gh.log"
cat >"{folder}/comment.md"
"""
REPORT = """\
# From `main` to `workspace`

![Learning curves](learning_curves.png)

![Right to wrong](right_to_wrong.png)

`a](b.csv)`
"""


def git(folder: Path, *words: str) -> bytes:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True
    ).stdout


def post(work: Path) -> None:
    env = os.environ | {
        "PATH": f"{work.parent}/bin{os.pathsep}{os.environ['PATH']}",
        "GITHUB_SERVER_URL": "https://example.org",
        "GITHUB_REPOSITORY": "someone/thaw",
        "NUMBER": "12",
        "HOME": str(work.parent),
    }
    command = next(line for line in commands() if "post_report" in line)
    subprocess.run(["sh", "-c", command], cwd=work, env=env, check=True, timeout=60)


def test_the_report_is_posted_with_its_pictures(tmp_path: Path) -> None:
    origin, work = tmp_path / "origin.git", tmp_path / "work"
    git(tmp_path, "init", "--quiet", "--bare", str(origin))
    git(tmp_path, "clone", "--quiet", str(origin), str(work))
    git(work, "commit", "--quiet", "--allow-empty", "--message", "Begin")
    git(work, "push", "--quiet", "origin", "HEAD:main")
    shutil.copytree(ROOT / "tools", work / "tools")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gh").write_text(GH.format(folder=tmp_path))
    (tmp_path / "bin/gh").chmod(0o755)
    (work / "report").mkdir()
    (work / "report/report.md").write_text(REPORT)
    (work / "report/learning_curves.png").write_bytes(b"curves")
    for content in (b"first", b"second"):
        (work / "report/right_to_wrong.png").write_bytes(content)
        post(work)
        commit = git(origin, "rev-parse", "reports/pull-12").decode().strip()
        assert git(origin, "show", f"{commit}:right_to_wrong.png") == content
        assert git(origin, "show", f"{commit}:learning_curves.png") == b"curves"
        address = f"https://example.org/someone/thaw/raw/{commit}/"
        comment = (tmp_path / "comment.md").read_text()
        assert f"![Right to wrong]({address}right_to_wrong.png)" in comment
        assert comment.replace(address, "") == REPORT
    assert (tmp_path / "gh.log").read_text().splitlines() == [
        "pr comment 12 --edit-last --create-if-none --body-file -"
    ] * 2
    assert git(origin, "rev-list", "--count", "reports/pull-12").strip() == b"1"
    assert git(work, "branch", "--list").split()[-1] != b"reports/pull-12"
