import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from places import SRC
from thaw.core.errors import MachineError, ThawError, of_the_machine, run, shortlist

SOURCES = SRC


def raising(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ThawError("threads: 0: give 1"), "error: threads: 0: give 1"),
        (FileNotFoundError(2, "No such file", "a.csv"), "error: a.csv is missing; run `dvc repro`"),
        (FileNotFoundError(2, "No such file", "a\n.csv"), r"error: a\n.csv is missing"),
        (ThawError("a\nb\x1b[2J\x9b: ü"), r"error: a\nb\x1b[2J\x9b: ü"),
        (KeyboardInterrupt(), "error: interrupted"),
    ],
)
def test_run_turns_a_mistake_into_a_sentence(error: BaseException, sentence: str):
    with pytest.raises(SystemExit) as caught:
        run(raising(error))
    assert str(caught.value.code).startswith(sentence)  # a text as exit code means 1


def test_who_interrupts_a_stage_is_told_of_dvc_and_who_interrupts_a_command_is_not():
    for words, told in (((), "run it again"), (("`dvc repro` does",), "`dvc repro` does")):
        with pytest.raises(SystemExit) as caught:
            run(raising(KeyboardInterrupt()), *words)
        assert caught.value.code == f"error: interrupted; {told}"


def test_run_lets_a_bug_through():
    with pytest.raises(KeyError):
        run(raising(KeyError("bug")))


def test_run_calls_main_once():
    calls = []
    run(lambda: calls.append(1))
    assert calls == [1]


@pytest.mark.parametrize(
    ("names", "limit", "text"),
    [
        ([], 2, ""),
        (["a", "b"], 2, "a, b"),
        (["a", "b", "c", "d"], 2, "a, b and 2 more"),
    ],
)
def test_shortlist(names: list[str], limit: int, text: str):
    assert shortlist(names, limit) == text


def test_output_that_cannot_be_encoded_is_escaped():
    script = "from thaw.core.errors import run; run(lambda: print('ü \\udcff'))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(SOURCES)},
        check=True,
    )
    assert done.stdout == b"\\xfc \\udcff\n"


def ended(script: str, folder: Path) -> str:
    """What a script that `run` runs writes to standard error as it fails."""
    source = f"import os, resource\nfrom thaw.core.errors import run\n\n\n{script}\n\n\nrun(main)\n"
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_a_disk_that_takes_no_more_is_a_sentence(tmp_path: Path) -> None:
    script = """
def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open("a.bin", "wb") as file:
        file.write(bytes(5000))
"""
    assert f"a file in {tmp_path} can't be read or written (File too large)" in ended(
        script, tmp_path
    )


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    script = "def main():\n    os.mkdir('a/b')"
    assert ended(script, tmp_path).startswith("error: a/b can't be read or written (Not a dir")


ALLOCATIONS = {
    "numpy": "import numpy as np\n    np.zeros(2**36)",
    "tensorflow": """import thaw.networks.quiet, keras
    limit(2**30)
    keras.ops.zeros((2**14, 2**17))""",
    "onnxruntime": """from onnx import TensorProto, helper
    from thaw.pictures import sessions
    import numpy as np
    value = helper.make_tensor_value_info
    node = helper.make_node("Expand", ["x", "shape"], ["y"])
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [2**16, 2**16])
    inputs, outputs = [value("x", TensorProto.FLOAT, [1, 1])], [value("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "g", inputs, outputs, [shape])
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    session = sessions.session(model.SerializeToString())
    limit(2**30)
    session.run(None, {"x": np.zeros((1, 1), np.float32)})""",
}


def test_a_folder_of_another_user_is_a_sentence() -> None:
    def main() -> None:
        raise Exception("/x/.git/: repository path '/x' is not owned by current user")  # pygit2's

    with pytest.raises(
        SystemExit, match=r"^error: this folder belongs to another user, .*safe\.dir"
    ):
        run(main)


@pytest.mark.parametrize("library", ALLOCATIONS)
@pytest.mark.slow
def test_memory_that_runs_out_is_a_sentence(library: str, tmp_path: Path) -> None:
    script = f"""
def limit(more):
    pages = int(open("/proc/self/statm").read().split()[0])
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main():
    limit(2**33)
    {ALLOCATIONS[library]}
"""
    assert ended(script, tmp_path).startswith("error: memory ran out; set a smaller batch_size")


@pytest.mark.parametrize(
    ("error", "machine"),
    [
        (MemoryError(), True),
        (OSError(errno.EMFILE, "Too many open files"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("CUDA failure 2: out of memory ; GPU=0"), True),  # ONNX Runtime's
        (MachineError("ONNX Runtime can't use the GPU"), True),
        (ThawError("a.png: give another"), False),
        (OSError("file signature not found"), False),  # h5py's, of bad bytes
        (OSError(errno.EINVAL, "Invalid argument"), False),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), False),
        (ValueError("bad bytes"), False),
    ],
)
def test_what_the_machine_lacks_is_told_from_what_the_bytes_say(error: Exception, machine: bool):
    assert of_the_machine(error) is machine
