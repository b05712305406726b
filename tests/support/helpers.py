"""Small real pictures and models for the tests."""

import io
import json
import pickle
import random
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper, save
from PIL import Image

from thaw.features import stores
from thaw.files.arrays import as_npy


def pixels(seed: int = 0, width: int = 12, height: int = 12) -> np.ndarray:
    """(height, width, 3) uint8 noise: no two seeds, and no two of its symmetries, look the same."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def picture(path: Path, seed: int = 0, width: int = 12, height: int = 12) -> Path:
    """Write a picture of `pixels` in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, width, height)).save(path)
    return path


def plain(path: Path, colour: str) -> Path:
    """Write a picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9), colour).save(path)
    return path


def folders(root: Path, *names: str, each: int = 2) -> Path:
    """Write a folder of `each` pictures for every name, all different."""
    for number, name in enumerate(names):
        for index in range(each):
            picture(root / name / f"{index}.png", seed=number * 1000 + index)
    return root


def cifar_files(folder: Path, *names: str, each: int = 2) -> Path:
    """Write the files of CIFAR-10's binary archive: in each batch `each` pictures of every class.

    The picture `index` of the class `number` in the batch `batch` (0 to 5) is
    `pixels(batch * 10_000 + number * 1000 + index, 32, 32)`.
    """
    folder.mkdir(parents=True)
    (folder / "batches.meta.txt").write_text("".join(f"{name}\n" for name in names) + "\n")
    (folder / "readme.html").write_text("<html></html>")
    for batch in range(6):
        records = b"".join(
            bytes([number])
            + pixels(batch * 10_000 + number * 1000 + index, 32, 32).transpose(2, 0, 1).tobytes()
            for number in range(len(names))
            for index in range(each)
        )
        name = f"data_batch_{batch + 1}" if batch < 5 else "test_batch"
        (folder / f"{name}.bin").write_bytes(records)
    return folder


def mutated(folder: Path, count: int = 240) -> list[str]:
    """Write damaged JPEG, PNG, BMP and GIF pictures, the same each time, and give their names."""
    image = Image.fromarray(pixels(1, 9, 7)).resize((61, 43), Image.Resampling.BICUBIC)
    grey = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) << 8)
    turned = Image.Exif()
    turned[0x0112] = 6
    wholes: list[tuple[str, bytes]] = []
    for whole, suffix, options in (
        (image, "jpeg", {"exif": turned}),
        (image, "jpeg", {"progressive": True}),
        (image.convert("CMYK"), "jpeg", {}),
        (image, "png", {"exif": turned}),
        (image.convert("RGBA"), "png", {}),
        (image.quantize(16), "png", {"transparency": 1}),
        (image.convert("1"), "png", {}),
        (grey, "png", {}),
        (image, "bmp", {}),
        (image.quantize(16), "bmp", {}),
        (image, "gif", {}),
        (image, "gif", {"save_all": True, "append_images": [image.rotate(90)]}),
    ):
        buffer = io.BytesIO()
        whole.save(buffer, suffix, **options)
        wholes.append((suffix, buffer.getvalue()))
    chance = random.Random(1)
    names = []
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        suffix, whole = wholes[number % len(wholes)]
        damaged = bytearray(whole)
        how = number // len(wholes) % 4
        if how == 0:
            del damaged[chance.randrange(len(damaged)) :]
        elif how == 1:
            at = chance.randrange(len(damaged))
            damaged[at:at] = chance.randbytes(chance.randrange(1, 40))
        else:  # anywhere, or where sizes and kinds are declared
            reach = len(damaged) if how == 2 else 60
            for _ in range(chance.randrange(1, 5)):
                damaged[chance.randrange(reach)] = chance.randrange(256)
        names.append(f"{number}.{suffix}")
        (folder / names[-1]).write_bytes(damaged)
    return names


def onnx_model(path: Path, weights: list[list[float]], **metadata: object) -> Path:
    """Write a model that looks at the top left pixel alone: logits = (red, green, blue) @ weights.

    `metadata` goes into the file as JSON texts, as `onnx_export.to_onnx` puts it there.
    """
    size = metadata.get("image_size", 8)
    constants = {
        "start": np.array([0, 0]),
        "end": np.array([1, 1]),
        "axes": np.array([1, 2]),
        "weights": np.array(weights, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Slice", ["pictures", "start", "end", "axes"], ["corner"]),
        helper.make_node("ReduceMean", ["corner"], ["colour"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "corner",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["n", size, size, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(weights[0])])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    save(model, path)
    return path


def small_convnext(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `ConvNeXtTiny` be a network of the same kind that is built and exported soon."""
    from keras.src.applications import convnext  # here, as few tests need it

    small = {"depths": [1, 1, 2, 1], "projection_dims": [8, 16, 24, 32], "default_size": 224}
    monkeypatch.setitem(convnext.MODEL_CONFIGS, "tiny", small)


def torch_file(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write a dictionary of tensors as PyTorch did before 1.6, each in a storage of its own."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"

    entries = b""
    for key, (name, array) in enumerate(arrays.items()):
        kind = {"f": b"FloatStorage", "i": b"LongStorage"}[array.dtype.kind]
        storage = b"(" + text("storage") + b"ctorch\n" + kind + b"\n" + text(str(key)) + text("cpu")
        storage += b"J" + struct.pack("<i", array.size) + b"NtQ"
        strides = tuple(step // array.itemsize for step in array.strides)
        shape = numbers(array.shape) + numbers(strides)
        entries += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n"
        entries += b"(" + storage + b"K\0" + shape + b"\x89NtR"
    with path.open("wb") as file:
        for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(value, file, protocol=2)
        file.write(b"\x80\x02ccollections\nOrderedDict\n)R(" + entries + b"u.")
        pickle.dump([str(key) for key in range(len(arrays))], file, protocol=2)
        for array in arrays.values():
            file.write(array.size.to_bytes(8, "little") + array.tobytes())
    return path


def onnx_network(path: Path, gives: str = "maps", **how: object) -> Path:
    """Write a network as people export them: a convolution, ReLU, and what is asked for.

    Args:
        path: of the file.
        gives: maps, vector, tokens, channels last (maps so), or both (vector, maps).
        how: `size` (None: any), `batch` (None: any), `opset`, `nhwc` (of the input), `kind` of the
            input's numbers, `channels` (3), `external` (the file of the numbers).
    """
    size, batch = how.get("size", 16), how.get("batch")
    kernel = np.random.default_rng(0).normal(0, 1, (6, 3, 4, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"], strides=[4, 4]),
        helper.make_node("Relu", ["c"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["maps"], ["p"]),
        helper.make_node("Flatten", ["p"], ["vector"]),
        helper.make_node("Reshape", ["maps", "flat"], ["f"]),
        helper.make_node("Transpose", ["f"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("Transpose", ["maps"], ["channels last"], perm=[0, 2, 3, 1]),
    ]
    shape = [batch or "n", how.get("channels", 3), size or "h", size or "w"]
    if how.get("nhwc"):
        shape = [shape[0], *shape[2:], shape[1]]
        nodes.insert(0, helper.make_node("Transpose", ["pictures"], ["x"], perm=[0, 3, 1, 2]))
    taken = "pictures" if how.get("nhwc") else "x"
    kind = how.get("kind", TensorProto.FLOAT)
    outputs = ("vector", "maps") if gives == "both" else (gives,)
    ranks = {"maps": 4, "vector": 2, "tokens": 3, "channels last": 4}
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * ranks[name])
        for name in outputs
    ]
    flat = numpy_helper.from_array(np.array([0, 6, -1]), "flat")
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(taken, kind, shape)],
        values,
        [numpy_helper.from_array(kernel, "kernel"), flat],
    )
    opset = helper.make_opsetid("", how.get("opset", 17))
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    model.metadata_props.add(key="author", value="somebody")
    if "external" in how:
        save(model, path, save_as_external_data=True, location=how["external"], size_threshold=0)
    else:
        save(model, path)
    return path


def catalogue(folder: Path, entries: Mapping[str, object]) -> Path:
    """Write a catalogue: a YAML file for each entry."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, entry in entries.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(entry), encoding="utf-8")
    return folder


def in_parts(path: Path, store: Path, each: int = 4, spread: bool = True) -> None:
    """Put an array of the cache into a store, in place of its file."""
    array = np.load(path)
    layout = stores.Layout(len(array), each, spread)
    kept = stores.opened(str(store))
    names = [kept.put(as_npy(array[list(layout.of(part))])) for part in range(layout.parts)]
    stores.write(path.with_suffix(".json"), str(store), names, layout, array[0])
    path.unlink()
