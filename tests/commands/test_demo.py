"""`make demo`: pictures uploaded in Chromium to the page that a real model is behind."""

import thaw.networks.quiet  # noqa: F401

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest
from playwright.sync_api import Browser, Page, expect

from browser import chromium, opened
from commands import demo
from helpers import picture
from places import SRC
from runs import Run
from thaw.evaluation.inference import Classifier
from thaw.training import loop

SECONDS = 60_000  # for a first answer, in milliseconds: TensorFlow is imported


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "prepare", lambda seed, _: keras.utils.set_random_seed(seed))
        made = Run(tmp_path_factory.mktemp("demo"))
        made.stages("download", "weights", "split", "freeze", "extract_features", "train_head")
    for name, suffix in (("models/head", "keras"), ("data/head", "onnx")):  # the head's will do
        shutil.copy(made.folder / f"{name}.{suffix}", made.folder / f"models/model.{suffix}")
    return made


@pytest.fixture(scope="module")
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def command(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SRC), "demo", *words],
        cwd=folder,
        env=os.environ | {"HOME": str(folder), "STREAMLIT_SERVER_ADDRESS": "0.0.0.0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def server(run: Run, port: int) -> Iterator[str]:
    """Its address; ended with Ctrl-C, which it must take well."""
    process = command(run.folder, "--port", str(port))
    deadline = time.monotonic() + 60
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=30)
    assert f"http://127.0.0.1:{port}" in printed
    assert "Traceback" not in printed
    assert process.returncode == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    with opened(browser, server) as found:
        found.wait_for_selector("input[type=file]", state="attached")
        yield found
        for address in found.seen.requests:
            assert address.startswith((server, "data:", "blob:")), address


def upload(page: Page, path: Path) -> None:
    page.set_input_files("input[type=file]", path)


def metric(page: Page, name: str) -> str:
    return page.locator("[data-testid=stMetric]", has_text=name).inner_text().split("\n")[-1]


def heat(page: Page, label: str) -> str:
    """The address of the heat map, once it is there and loaded."""
    image = page.locator("[data-testid=stImage]", has_text=f"what speaks for {label}").locator(
        "img"
    )
    expect(image).to_be_visible(timeout=SECONDS)
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-testid=stImage] img')]"
        ".every(image => image.complete && [32, 128].includes(image.naturalWidth))"
    )  # pictures, and the scale
    return str(image.get_attribute("src"))


def test_an_uploaded_picture_gets_class_confidence_and_heat_map(
    page: Page, run: Run, tmp_path: Path
) -> None:
    model = Classifier(run.folder / "models/model.onnx")
    path = picture(tmp_path / "photo.png", seed=5, width=40, height=30)
    (expected,) = model.classify([path])
    best = int(expected.probabilities.argmax())
    upload(page, path)
    expect(page.locator("[data-testid=stMetric]")).to_have_count(2, timeout=SECONDS)
    assert metric(page, "class") == model.classes[best]
    assert metric(page, "confidence") == f"{expected.probabilities[best]:.1%}"
    first = heat(page, model.classes[best])
    other = model.classes[1 - best]
    page.locator("[data-test-script-state=notRunning]").wait_for()
    option = page.get_by_role("option", name=other, exact=True)
    for _ in range(20):  # a list that opens while the page is drawn closes again
        page.get_by_role("combobox").press("ArrowDown")
        page.wait_for_timeout(500)
        if option.is_visible():
            break
    option.click()
    assert heat(page, other) != first


def test_a_picture_is_dropped(page: Page, tmp_path: Path) -> None:
    path = picture(tmp_path / "dropped.png", seed=6)
    page.evaluate(
        """async content => {
            const given = new DataTransfer();
            const bytes = new Uint8Array(content);
            given.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
            const zone = document.querySelector("[data-testid=stFileUploaderDropzone]");
            for (const kind of ["dragenter", "dragover", "drop"])
                zone.dispatchEvent(new DragEvent(kind, {dataTransfer: given, bubbles: true}));
        }""",
        list(path.read_bytes()),
    )
    expect(page.locator("[data-testid=stMetric]")).to_have_count(2, timeout=SECONDS)


def test_several_pictures_are_listed_and_refused_ones_told(page: Page, tmp_path: Path) -> None:
    words = tmp_path / "notes.txt"
    words.write_text("words")
    upload(page, picture(tmp_path / "old.png", seed=11))
    expect(page.locator("[data-testid=stMetric]")).to_have_count(2, timeout=SECONDS)
    page.set_input_files(
        "input[type=file]", [words, *(picture(tmp_path / f"{n}.png", seed=n) for n in (1, 2))]
    )
    expect(page.locator("[data-testid=stAlert]")).to_contain_text("notes.txt can't be read: ")
    for name in ("1.png", "2.png"):
        expect(page.locator("[data-testid=stMarkdown]", has_text=name)).to_have_count(1)
    expect(page.locator("[data-testid=stSelectbox]", has_text="Look closer at")).to_have_count(1)
    expect(page.locator("[data-testid=stMetric]")).to_have_count(2)
    expect(page.locator("[data-testid=stApp]")).not_to_contain_text("old.png")


def test_a_file_that_only_says_it_is_a_picture(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "![not](http:x) *a* picture.png"
    path = path.with_name(path.name.replace("/", ""))
    path.write_text("words")
    upload(page, path)
    alert = page.locator("[data-testid=stAlert]")
    expect(alert).to_have_text(
        f"{path.name} can't be read: not a picture that can be read. Give another picture."
    )
    assert page.locator("[data-testid=stMetric]").count() == 0
    upload(page, picture(tmp_path / "next.png", seed=7))  # and goes on
    expect(page.locator("[data-testid=stMetric]")).to_have_count(2, timeout=SECONDS)


def test_a_file_of_another_type_is_refused(page: Page, tmp_path: Path) -> None:
    upload(page, picture(tmp_path / "good.png", seed=9))
    expect(page.locator("[data-testid=stMetric]")).to_have_count(2, timeout=SECONDS)
    path = tmp_path / "notes.txt"
    path.write_text("words")
    upload(page, path)
    expect(page.locator("[data-testid=stAlert]")).to_contain_text("notes.txt can't be read: ")
    expect(page.locator("[data-testid=stMetric]")).to_have_count(0)  # of the picture before


def test_a_file_that_is_too_large_is_refused(page: Page, tmp_path: Path) -> None:
    path = picture(tmp_path / "large.bmp", seed=8)
    with path.open("ab") as file:
        file.truncate(demo.MEGABYTES * 2**20 + 1)
    upload(page, path)
    alert = page.locator("[data-testid=stAlert]")
    expect(alert).to_have_text(
        f"large.bmp is larger than {demo.MEGABYTES} MB. Give a smaller picture.", timeout=SECONDS
    )
    assert page.locator("[data-testid=stMetric]").count() == 0


def test_it_listens_on_this_machine_alone(server: str) -> None:
    port = int(server.rpartition(":")[2])
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", port), 2)  # another address of this machine


def test_another_host_name_gets_no_connection(server: str) -> None:
    """A web site whose name is made to point here can't read the page's pictures."""
    connection = http.client.HTTPConnection("127.0.0.1", int(server.rpartition(":")[2]))
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "x" * 22 + "==",
        "Sec-WebSocket-Version": "13",
    }
    for host, status in (("elsewhere.example", 403), ("127.0.0.1", 101)):
        connection.request("GET", "/_stcore/stream", headers={**headers, "Host": host})
        assert connection.sock
        connection.sock.settimeout(5)
        answer = connection.sock.recv(64).decode()
        assert answer.split()[1] == str(status)
        connection.close()


@pytest.mark.parametrize("gone", ["model.onnx", "model.keras"])
def test_without_a_model_nothing_is_served(run: Run, tmp_path: Path, gone: str) -> None:
    shutil.copytree(run.folder / "models", tmp_path / "models")
    (tmp_path / "models" / gone).unlink()
    (tmp_path / "params.yaml").touch()
    process = command(tmp_path)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(rf"error: models/{gone} is missing; run `dvc repro`.*\n", printed)


@pytest.mark.parametrize("wanted", ["99999", "-1", "abc"])
def test_a_port_that_is_none(run: Run, wanted: str) -> None:
    process = command(run.folder, "--port", wanted)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    sentence = f"error: --port: {wanted}: give a whole number from 1 to 65535; "
    assert printed == f"{sentence}`python src demo --help` shows what it takes\n"


def test_a_port_that_can_not_be_had(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        process = command(run.folder, "--port", number)
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert printed == (
        f"error: --port {number} can't be had on 127.0.0.1; give another from 1024 to 65535\n"
    )
