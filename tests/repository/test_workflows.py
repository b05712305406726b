"""Continuous integration: its files hold commands that people and tests run, and no others."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from places import ROOT

GITHUB = sorted((ROOT / ".github/workflows").glob("*.yml"))
REPORT_WORKFLOW, COMMENT = (ROOT / f".github/workflows/{n}.yml" for n in ("report", "comment"))
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
# What is no target of the Makefile: tests/test_report.py runs the first two, this file the third.
OTHERS = (
    ".venv/bin/dvc pull --allow-missing --run-cache",
    "grep -v '^!\\[' report/report.md",
    "sh tools/post_report.sh",
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
    assert made(gitlab) == ["make test", "make venv", "make repro", "make report", "make gate"]


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.stem)
def test_nothing_of_a_pull_request_is_pasted_into_a_command(path: Path) -> None:
    """A branch may be called `$(…)`: names come by the environment."""
    for step in steps(path):
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_but_for_the_comment(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in workflow[True]  # YAML's `on`
    for job in workflow["jobs"].values():
        assert ("permissions" in job) == (path == COMMENT)


def test_what_may_write_runs_nothing_of_a_pull_request() -> None:
    """Its code is main's: it checks out nothing else, and runs one script on what was made."""
    workflow = load(COMMENT)
    assert set(workflow[True]) == {"workflow_run"}
    assert workflow[True]["workflow_run"]["workflows"] == [load(REPORT_WORKFLOW)["name"]]
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["sh tools/post_report.sh"]
    checkout, download = (step for step in job["steps"] if "uses" in step)
    assert "with" not in checkout
    assert download["uses"].startswith("actions/download-artifact@")
    for step in steps(REPORT_WORKFLOW):
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.stem)
def test_actions_are_pinned_by_digest(path: Path) -> None:
    """A tag can be moved to other code. Beside the digest stands its version."""
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    for line in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8")):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_pictures_leave_the_machine_on_request_alone() -> None:
    (step,) = (s for s in steps(REPORT_WORKFLOW) if "make report" in s.get("run", ""))
    assert step["run"].endswith('PICTURES="$PICTURES"')
    assert step["env"]["PICTURES"] == (
        "${{ (inputs.pictures || vars.REPORT_PICTURES == 'yes') && 'yes' || 'no' }}"
    )
    asked = load(REPORT_WORKFLOW)[True]["workflow_dispatch"]["inputs"]["pictures"]
    assert asked["default"] is False
    gitlab = load(ROOT / ".gitlab-ci.yml")
    assert gitlab["variables"]["REPORT_PICTURES"] == "no"
    assert any(line.endswith('PICTURES="$REPORT_PICTURES"') for line in gitlab["report"]["script"])


def test_the_report_sees_the_whole_history() -> None:
    checkout = next(step for step in steps(REPORT_WORKFLOW) if "checkout" in str(step))
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


# In the place of GitHub: notes what it is asked, answers with files, and keeps what is posted.
GH = """\
#!/bin/sh
printf '%s\\n' "$*" >>"{folder}/gh.log"
jq=
for word in "$@"; do
    case $word in
    */pulls) answer="{folder}/pulls.json" ;;
    */comments) answer="{folder}/comments.json" ;;
    */comments/*) answer= ;;
    body=@*) cp "${{word#body=@}}" "{folder}/comment.md" ;;
    esac
    if [ "$last" = --jq ]; then jq=$word; fi
    last=$word
done
if [ -n "$jq" ]; then jq "$jq" "$answer"; else echo '{{}}'; fi
"""
REPORT = """\
**Better.** `bald` against `main`

![Learning curves](learning_curves.png)

![Right to wrong](right_to_wrong.png)

`a](b.csv)`
"""
MARKER = "<!-- thaw: report -->"
HEAD = "1" * 40


def git(folder: Path, *words: str) -> bytes:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True
    ).stdout


@dataclass
class Posting:
    """A clone with a report, its origin, and a stand-in for GitHub."""

    folder: Path
    origin: Path
    work: Path

    def post(self, **env: str) -> str:
        """What it says; what was posted then lies in `comment.md`."""
        (self.folder / "gh.log").unlink(missing_ok=True)
        whole = os.environ | {
            "PATH": f"{self.folder}/bin{os.pathsep}{os.environ['PATH']}",
            "GITHUB_SERVER_URL": "https://example.org",
            "GITHUB_REPOSITORY": "someone/thaw",
            "OWNER": "stranger",
            "BRANCH": "$(touch owned)",
            "COMMIT": HEAD,
            "HOME": str(self.folder),
        }
        command = next(line for line in commands() if "post_report" in line)
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.work,
            env=whole | env,
            check=True,
            timeout=60,
            capture_output=True,
            text=True,
        ).stdout

    def answer(self, name: str, found: object) -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(found))

    def asked(self) -> list[str]:
        return (self.folder / "gh.log").read_text().splitlines()

    def names(self) -> list[str]:
        listed = git(self.origin, "ls-tree", "--name-only", "reports/pull-12").decode()
        return listed.split()


@pytest.fixture
def posting(tmp_path: Path) -> Posting:
    if shutil.which("jq") is None:
        pytest.skip("the stand-in for `gh` needs jq")
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
    for name in ("learning_curves", "right_to_wrong", "secret"):
        (work / f"report/{name}.png").write_bytes(name.encode())
    found = Posting(tmp_path, origin, work)
    found.answer("pulls", [{"number": 7, "head": {"sha": "2" * 40}}, pull(12)])
    found.answer("comments", [comment(1, "User"), comment(2, "Bot", "<!-- other -->")])
    return found


def pull(number: int) -> dict[str, Any]:
    return {"number": number, "head": {"sha": HEAD}}


def comment(number: int, kind: str, begins: str = MARKER) -> dict[str, Any]:
    return {"id": number, "user": {"type": kind}, "body": f"{begins}\nand more"}


def test_the_report_is_posted_with_its_drawings_and_no_pictures(posting: Posting) -> None:
    for content in (b"first", b"second"):
        (posting.work / "report/learning_curves.png").write_bytes(content)
        posting.post()
        commit = git(posting.origin, "rev-parse", "reports/pull-12").decode().strip()
        assert git(posting.origin, "show", f"{commit}:learning_curves.png") == content
        assert posting.names() == ["learning_curves.png"]
        address = f"https://example.org/someone/thaw/raw/{commit}/"
        told = (posting.folder / "comment.md").read_text()
        assert f"![Learning curves]({address}learning_curves.png)" in told
        assert told.replace(address, "") == f"{MARKER}\n{REPORT}"
        assert "api --method POST repos/someone/thaw/issues/12/comments" in posting.asked()[-1]
    assert git(posting.origin, "rev-list", "--count", "reports/pull-12").strip() == b"1"
    assert git(posting.work, "branch", "--list").split()[-1] != b"reports/pull-12"
    assert not (posting.work / "report/owned").exists()


def test_pictures_are_posted_on_request(posting: Posting) -> None:
    posting.post(PICTURES="yes")
    assert posting.names() == ["learning_curves.png", "right_to_wrong.png"]


def test_the_comment_is_found_by_its_marker(posting: Posting) -> None:
    """Not by who wrote last: others write comments too, and other bots."""
    others = [comment(1, "User"), comment(3, "Bot"), comment(4, "Bot", "<!-- other -->")]
    posting.answer("comments", others)
    posting.post()
    assert "api --method PATCH repos/someone/thaw/issues/comments/3 " in posting.asked()[-1]


def test_a_pull_request_that_went_on_gets_no_old_report(posting: Posting) -> None:
    posting.answer("pulls", [pull(12) | {"head": {"sha": "3" * 40}}])
    assert f"no open pull request ends at {HEAD}" in posting.post()
    assert not (posting.folder / "comment.md").exists()
    assert git(posting.origin, "branch", "--list", "reports/*") == b""


def test_a_report_that_is_too_long_for_a_comment_is_cut_between_lines(posting: Posting) -> None:
    (posting.work / "report/report.md").write_text(
        REPORT + "é" * 99 + "\n" + "long line é\n" * 9999
    )
    posting.post()
    told = (posting.folder / "comment.md").read_text("utf-8")
    assert 59_000 < len(told.encode()) < 65_536
    assert told.endswith(
        "long line é\n\n\nThe rest is too long for a comment: it is in the artifact `report`.\n"
    )
