"""`python src own`: a path as it is, with nothing to quote."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

import workspace
from commands import own
from places import ROOT
from thaw.core.errors import ThawError

NAMES = (
    *(
        "my photos (2024)",
        "ünïcode 写真",
        "a&b#c",
        "a, b",
        "a=b",
        "it's",
        '"quoted"',
        "$HOME",
        "[x]",
    ),
    *("{x: 1}", "1", "null", "back\\slash", "-S", "a:b"),
)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What DVC would have been asked to run."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.chdir(ROOT)
    return commands


def start(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["own", *words])
    own.main()


@pytest.mark.parametrize("name", NAMES)
def test_any_path_arrives_in_params(
    name: str, ran: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    start(monkeypatch, "--name", "first", "--", str(tmp_path / name), "batch_size=16")
    (command,) = ran
    assert command[:6] == [sys.executable, "-m", "dvc", "exp", "run", "--name=first"]
    params = tmp_path / "params.yaml"
    before = yaml.safe_load(workspace.PARAMS.read_text())
    before["augment"] |= {"flip": "both", "brightness": 0.5}
    params.write_text(yaml.safe_dump(before))
    apply_overrides(params, [word.removeprefix("--set-param=") for word in command[6:]])
    found = yaml.safe_load(params.read_text())
    assert found["source"] == str(tmp_path / name)
    assert (found["dataset"], found["batch_size"]) == ("folder", 16)
    photo = dict.fromkeys(before["augment"]) | {
        "preset": "photo",
        "views": before["augment"]["views"],
    }
    assert found["augment"] == photo


def test_the_name_may_stand_before_the_parameters(
    ran: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `--help` shows it."""
    start(monkeypatch, str(tmp_path), "--name", "first", "batch_size=16", "seed=2")
    assert {"--name=first", "--set-param=batch_size=16", "--set-param=seed=2"} <= set(ran[0])


def test_a_relative_path_and_a_home_become_absolute(
    ran: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    start(monkeypatch, "~/photos")
    start(monkeypatch, "tests")
    assert [
        f"--set-param=source='{path}'" in command
        for path, command in zip((tmp_path / "photos", ROOT / "tests"), ran, strict=True)
    ] == [True, True]


def test_an_address_stays(ran: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, "https://example.org/get?a=1&b=2")
    assert "--set-param=source='https://example.org/get?a=1&b=2'" in ran[0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), 'give where your pictures are: `make own SOURCE="~/my photos"`'),
        (("",), 'give where your pictures are: `make own SOURCE="~/my photos"`'),
        (("src/${HOME}",), "src/${HOME}: DVC takes ${…} for a variable"),
        (("/not/there",), "/not/there: no such file"),
        (("tests", "--bogus"), "--bogus: there is no such option"),
        (("tests", "batch_size=0"), "your parameters over params.yaml: batch_size"),
        (("tests", "fine_tune_at=400"), "fine_tune_at: 400: MobileNetV2 has 154 layers"),
    ],
)
def test_mistakes_are_told_before_dvc_starts(
    ran: list[list[str]], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["own", *words])
    with pytest.raises(ThawError) as told:
        own.main()
    assert sentence in str(told.value)
    assert ran == []
