"""dvc.yaml against the imports and the parameters of the code, and the files that pin packages."""

import ast
import re
import sys
from pathlib import Path

import pin_stages
import pytest
import yaml
from pydantic import BaseModel

from places import ROOT
from thaw.core.params import Params

SRC = ROOT / "src"
NO_PART = {"cores", "engine"}  # of any result
PEOPLES = ("corrections.csv",)  # what stages read and people write
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PACKAGES = (  # each imports those before it, and no other
    "core",
    "files",
    "pictures",
    "datasets",
    "splitting",
    "networks",
    "pretrained",
    "features",
    "training",
    "evaluation",
    "drawing",
    "review",
)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> set[Path]:
    return {file for name in pin_stages.imports(path) for file in pin_stages.modules(name)}


def chains(node: ast.AST) -> set[str]:
    """What is read of `params` in a piece of code: `head.dropout`, or `head` for the group."""
    attributes = [part for part in ast.walk(node) if isinstance(part, ast.Attribute)]
    inner = {id(part.value) for part in attributes}  # `params.head` inside `params.head.dropout`
    found = set()
    for part in attributes:
        path = ast.unparse(part)
        if id(part) not in inner and path.startswith("params."):
            found.add(path.removeprefix("params."))
    return found


def leaves(chain: str) -> set[str]:
    """The single parameters that a chain stands for."""
    if chain == "model_dump":  # of all, for the model card
        return set().union(*(leaves(name) for name in Params.model_fields)) - NO_PART
    model: type[BaseModel] = Params
    path: list[str] = []
    for name in chain.split("."):
        if name not in model.model_fields:
            assert path, f"params.{chain} is not a parameter"
            break  # a method of the group, as in params.augment.model_dump
        path.append(name)
        annotation = model.model_fields[name].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return {".".join(path)}
        model = annotation
    return {".".join([*path, name]) for name in model.model_fields}


def read_by(script: Path) -> set[str]:
    """The parameters that a stage's script reads; only it knows `params`."""
    if script.stem == "check":
        return leaves("model_dump")
    return set().union(*map(leaves, chains(tree(script))))


def script_of(stage: str) -> Path:
    assert STAGES[stage]["cmd"] == f"python3 src {stage}"
    return SRC / "stages" / f"{stage}.py"


def package(path: Path) -> str | None:
    """The package of the library that a module lies in."""
    parts = path.relative_to(SRC).parts
    return parts[1] if parts[0] == "thaw" and len(parts) > 2 else None


def listed(path: Path) -> list[str]:
    """The requirement lines of a file, without comments and markers."""
    lines = [re.split(r"[#;\\]", line)[0].strip() for line in path.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("-")]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_its_script_and_the_packages_that_it_imports(stage: str) -> None:
    packages = {package(path) for path in pin_stages.closure(script_of(stage))} - {None, "core"}
    needed = {f"src/thaw/{name}" for name in packages} | {f"src/stages/{stage}.py"}
    code = [path for path in STAGES[stage]["deps"] if path.startswith("src/")]
    assert set(code) == needed
    assert len(code) <= 8


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_versions_of_the_packages_that_it_imports(stage: str) -> None:
    """Else run tools/pin_stages.py."""
    lines = pin_stages.pinned(stage)
    path = pin_stages.VERSIONS / f"{stage}.txt"
    assert path.exists() == bool(lines)
    assert (f"versions/{stage}.txt" in STAGES[stage]["deps"]) == bool(lines)
    if lines:
        assert path.read_text(encoding="utf-8") == lines
    names = {line.split("==")[0] for line in lines.splitlines()}
    assert names <= {line.split("==")[0] for line in listed(ROOT / "requirements.txt")}


def test_versions_are_those_of_what_computes_and_no_others() -> None:
    of = {stage: re.findall(r"^[\w-]+", pin_stages.pinned(stage), re.MULTILINE) for stage in STAGES}
    assert of["check"] == []
    assert set(of["split"]) == {"numpy", "pandas", "pillow", "scipy"}
    trainings = {"keras", "tensorflow", "tensorflow-cpu", "numpy", "onnxruntime", "tf2onnx"}
    assert trainings <= set(of["train_head"]) & set(of["fine_tune"])
    assert {"scikit-learn", "scipy"} <= set(of["train_head"]) & set(of["evaluate"])
    assert "matplotlib" in of["evaluate"]
    assert not any({"dvc", "tqdm", "streamlit"} & set(names) for names in of.values())


def test_the_pipeline_is_short() -> None:
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 190


def test_every_package_imports_only_those_above_it() -> None:
    assert {path.name for path in (SRC / "thaw").iterdir() if path.is_dir()} - {"__pycache__"} == {
        *PACKAGES
    }
    for path in (SRC / "thaw").rglob("*.py"):
        for other in imported(path):
            assert other.is_relative_to(SRC / "thaw"), f"{path} imports {other}"
            if (one := package(path)) and (theirs := package(other)):
                assert PACKAGES.index(theirs) <= PACKAGES.index(one), f"{path} imports {other}"


@pytest.mark.parametrize(
    "script",
    [
        "stages/split.py",
        "stages/extract_features.py",
        "stages/evaluate.py",
        "stages/model_card.py",
        "commands/predict.py",
        "commands/robustness.py",
    ],
)
def test_what_runs_on_onnx_runtime_imports_no_tensorflow(script: str) -> None:
    """Importing it takes seconds and hundreds of megabytes."""
    names = {name for path in pin_stages.closure(SRC / script) for name in pin_stages.imports(path)}
    heavy = {"keras", "tensorflow", "tf2onnx", "onnx", "h5py"}
    assert heavy & {name.split(".")[0] for name in names} == set()


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_imports_what_is_for_review(stage: str) -> None:
    for path in pin_stages.closure(script_of(stage)):
        assert package(path) != "review"
        assert path.parent != SRC / "commands"


def test_core_makes_no_result() -> None:
    """It is no dependency of a stage: nothing in it may compute with arrays, networks or files."""
    allowed = {*sys.stdlib_module_names, "pydantic", "ray", "tqdm", "thaw"}
    for path in (SRC / "thaw/core").glob("*.py"):
        for node in ast.walk(tree(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            for name in names:
                assert name.split(".")[0] in allowed, f"{path} imports {name}"
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith("write_"), f"{path}, line {node.lineno}"


def test_whoever_imports_keras_first_undoes_what_would_change_results() -> None:
    """`thaw.networks.quiet`: settings of the environment and of the user's keras.json."""
    heavy = {"keras", "tensorflow", "tf2onnx"}
    for path in SRC.rglob("*.py"):
        names = [
            alias.name if isinstance(node, ast.Import) else str(node.module)
            for node in tree(path).body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        ]
        if heavy & {name.split(".")[0] for name in names} and path.name != "quiet.py":
            assert names[0] == "thaw.networks.quiet", path


def test_private_names_of_other_packages_are_read_in_one_file_alone() -> None:
    """`networks/private.py` says why, and fails with a sentence where they are gone."""
    for path in SRC.rglob("*.py"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and re.match(r"_(?!_)", node.attr):
                owner = ast.unparse(node.value)
                assert owner in ("self", "cls"), f"{path}, line {node.lineno}: {owner}.{node.attr}"
            if isinstance(node, ast.ImportFrom) and path.name != "private.py":
                inner = f"{node.module}."
                assert not re.match(r"(tensorflow\.(python|core)|keras\.src|tf2onnx\.\w+)\.", inner)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_each_dependency_once(stage: str) -> None:
    assert len(STAGES[stage]["deps"]) == len(set(STAGES[stage]["deps"]))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_exactly_the_parameters_that_its_script_reads(stage: str) -> None:
    names = [name for name in STAGES[stage]["params"] if isinstance(name, str)]
    assert set().union(*map(leaves, names)) == read_by(script_of(stage))


def test_what_a_stage_reads_of_data_and_models_another_writes() -> None:
    written = set()
    for stage in STAGES.values():
        for kind in ("outs", "metrics", "plots"):
            for item in stage.get(kind, []):
                written |= {item} if isinstance(item, str) else set(item)
    for name, stage in STAGES.items():
        read = {
            path
            for path in stage["deps"]
            if path.split("/")[0] not in (*PEOPLES, "src", "pretrained", "datasets", "versions")
            and not path.startswith(("data/given/", "robustness/"))  # Git keeps these
        }
        assert read <= written, name


def test_every_parameter_is_one_of_a_stage() -> None:
    every = set().union(*(leaves(name) for name in Params.model_fields))
    used = set().union(*(read_by(script_of(stage)) for stage in STAGES if stage != "check"))
    assert used | NO_PART == every


def test_what_is_read_is_data_and_never_code() -> None:
    """No pickles, no `eval`, no YAML that makes objects: weights and caches come from anywhere.

    But for PyTorch's tensors, by an unpickler of its own that finds four names.
    """
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy"}
    calls = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
    for path in SRC.rglob("*.py"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                named = {alias.name.split(".")[0] for alias in node.names}
                own = {"pickle"} if path.name == "torch_file.py" else set()
                assert not (modules - own) & named, path
            elif isinstance(node, ast.ImportFrom):
                assert str(node.module).split(".")[0] not in modules, path
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                options = {option.arg: ast.unparse(option.value) for option in node.keywords}
                place = f"{path.relative_to(ROOT)}, line {node.lineno}"
                assert called not in calls | {"pickle.load", "pickle.loads", "pickle.Unpickler"}, (
                    place
                )
                assert not re.fullmatch(r"yaml\.(unsafe_|full_)?load(_all)?", called), place
                if called in ("np.load", "np.save"):
                    assert options.get("allow_pickle") == "False", place
                if called.endswith("load_model"):
                    assert options.get("safe_mode") == "True", place
                assert options.get("shell", "False") == "False", place


@pytest.mark.parametrize(
    "name",
    [f"requirements{name}" for name in ("", "-cuda", "-recipes", "-demo", "-dev")],
)
def test_what_is_named_is_pinned(name: str) -> None:
    pinned = listed(ROOT / f"{name}.txt")
    assert [
        line for line in pinned if not re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+", line)
    ] == []
    versions = {line.split("==")[0].lower(): line.split("==")[1] for line in pinned}
    for line in listed(ROOT / f"{name}.in"):
        package, _, version = line.partition("==")
        package = package.partition("[")[0]  # its extras are pinned as packages of their own
        assert package.lower() in versions, f"{package} is not in {name}.txt"
        assert version in ("", versions[package.lower()]), f"{name}.txt has another {package}"


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*.txt")), ids=lambda path: path.name)
def test_every_package_is_pinned_with_hashes(path: Path) -> None:
    """So pip refuses other files than these before it runs anything of them."""
    text = path.read_text(encoding="utf-8")
    pinned = re.findall(r"^(\S+==[^\n]*)\n(    --hash=sha256:[0-9a-f]{64})?", text, re.M)
    assert [name for name, hashed in pinned if not hashed] == []
    assert len(pinned) == len(listed(path)) > 0


def test_all_files_pin_the_same_versions() -> None:
    base = set(listed(ROOT / "requirements.txt"))
    names = {line.split("==")[0] for line in base}
    demo, dev = (set(listed(ROOT / f"requirements-{name}.txt")) for name in ("demo", "dev"))
    assert {line for line in demo | dev if line.split("==")[0] in names} <= base
    assert demo <= dev


def test_cuda_changes_two_builds_alone() -> None:
    """The CPU's are not beside them: pip would install them into the same folders."""
    base, cuda = (set(listed(ROOT / f"requirements{name}.txt")) for name in ("", "-cuda"))
    tensorflow = next(line for line in base if line.startswith("tensorflow=="))
    runtime = next(line for line in base if line.startswith("onnxruntime=="))
    assert base - cuda == {runtime, tensorflow.replace("==", "-cpu==")}
    text = (ROOT / "requirements-cuda.txt").read_text(encoding="utf-8")
    assert f"\n{tensorflow} \\\n" in text  # on every system
    names = {line.split("==")[0] for line in cuda - base}
    libraries = names - {"onnxruntime-gpu"}
    assert len(libraries) == len(names) - 1
    # Both builds' libraries are CUDA 12's: cuDNN's for another would lie in the same folder.
    assert {name.split("-")[0] + name[-5:] for name in libraries} == {"nvidia-cu12"}
    for wanted in ("cudnn", "cublas", "cufft", "curand", "cuda-runtime", "nccl"):
        assert f"nvidia-{wanted}-cu12" in libraries


def test_a_lock_file_names_no_host() -> None:
    # dvc.lock may: it notes where the chosen dataset comes from.
    locks = {*ROOT.glob("requirements*.txt"), *ROOT.glob("*.lock")} - {ROOT / "dvc.lock"}
    assert {path.name for path in locks} >= {"requirements.txt", "requirements-dev.txt"}
    for path in locks:
        text = path.read_text()
        assert re.findall(r"https?:|git\+|file:|--?\S*index\S*|find-links|pythonhosted", text) == []


def test_the_commands_of_the_readme_are_those_of_continuous_integration() -> None:
    block = re.search(
        r"## Two commands.*?```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert block
    commands = [line.split("#")[0].strip() for line in block[1].splitlines()]
    assert commands == ["make repro", "make test"]
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {command.split()[1] for command in commands} <= set(targets)
    called = re.findall(r"^make .*", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert "make test" in called
    assert set(called) <= set(commands)
