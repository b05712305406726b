"""`thaw.pictures.sessions`: how many pictures a network gets at once, and where it computes."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from thaw.core import gpus
from thaw.core.errors import MachineError
from thaw.pictures import sessions


class Network:
    """Gives each picture's mean and its first pixel, and notes how many it got at once."""

    def __init__(self, count: int | str, *providers: str) -> None:
        self.count = count
        self.providers = [*providers, sessions.CPU]
        self.got: list[int] = []

    def get_providers(self) -> list[str]:
        return self.providers

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="pictures", shape=[self.count, 2, 2, 3])]

    def run(self, _: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        (taken,) = given.values()
        assert taken.dtype == np.float32
        self.got.append(len(taken))
        return [taken.mean(axis=(1, 2, 3)), taken[:, 0, 0]]


@pytest.mark.parametrize(
    ("count", "pictures", "got"),
    [("n", 1, [1]), ("n", 2, [2]), ("n", 8, [2, 2, 2, 2]), ("n", 3, [2, 1]), (1, 3, [1, 1, 1])],
)
def test_memory_does_not_grow_with_the_views(
    count: int | str, pictures: int, got: list[int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (pictures, 2, 2, 3), np.uint8)
    network = Network(count)
    mean, first = sessions.run(network, pixels)
    assert network.got == got
    np.testing.assert_allclose(mean, pixels.mean(axis=(1, 2, 3)), rtol=1e-6)
    np.testing.assert_array_equal(first, pixels[:, 0, 0])


@pytest.mark.parametrize(
    ("count", "pictures", "got"), [("n", 8, [8]), ("n", 70, [32, 32, 6]), (1, 3, [1, 1, 1])]
)
def test_a_gpu_gets_more_pictures_at_once(count: int | str, pictures: int, got: list[int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (pictures, 2, 2, 3), np.uint8)
    network = Network(count, sessions.CUDA)
    mean, _ = sessions.run(network, pixels)
    assert network.got == got
    np.testing.assert_allclose(mean, pixels.mean(axis=(1, 2, 3)), rtol=1e-6)


def test_a_gpu_gets_the_pictures_of_one_thread_at_a_time() -> None:
    busy = threading.Lock()

    class Slow(Network):
        def run(self, _: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
            assert busy.acquire(blocking=False)
            time.sleep(0.01)
            busy.release()
            return super().run(_, given)

    network = Slow("n", sessions.CUDA)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: sessions.run(network, np.zeros((1, 2, 2, 3))), range(8)))


class Runtime:
    """Stands at the boundary of ONNX Runtime: what it has, and what it was asked for."""

    def __init__(self, patch: pytest.MonkeyPatch, *available: str, gpu: str = "NVIDIA T4") -> None:
        self.available = available
        self.works: bool | Exception = True
        self.asked: list[object] = []
        self.options: list[onnxruntime.SessionOptions] = []
        self.preloaded = 0
        patch.setattr(onnxruntime, "get_available_providers", lambda: [*available])
        patch.setattr(onnxruntime, "InferenceSession", self.session)
        patch.setattr(onnxruntime, "preload_dlls", self.preload)
        patch.setattr(gpus, "names", lambda: (gpu,) if gpu else ())

    def preload(self) -> None:
        print("Failed to load libcudnn.so.9")
        self.preloaded += 1

    def session(
        self,
        model: bytes,
        options: onnxruntime.SessionOptions,
        providers: list[object],
        enable_fallback: int,
    ) -> Network:
        """As ONNX Runtime 1.26 does: without CUDA's libraries, one on the CPU and no word."""
        assert (model, enable_fallback) == (b"model", 0)
        self.asked, self.options = providers, [options]
        if isinstance(self.works, Exception):
            raise self.works
        on_cuda = len(providers) > 1 and self.works
        return Network("n", *([sessions.CUDA] if on_cuda else []))


TENSORRT = "TensorrtExecutionProvider"
GPU_BUILD = (TENSORRT, sessions.CUDA, sessions.CPU)


def test_cuda_is_asked_for_where_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime = Runtime(monkeypatch, *GPU_BUILD)
    assert sessions.on_gpu(sessions.session(b"model"))
    (first, how), second = runtime.asked
    assert (first, second) == (sessions.CUDA, sessions.CPU)  # not TensorRT
    assert how == {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    assert runtime.options[0].use_deterministic_compute
    assert runtime.preloaded == 1
    assert capsys.readouterr().out == ""  # which programs may read


@pytest.mark.parametrize(
    ("available", "gpu"),
    [
        ([sessions.CPU], "NVIDIA T4"),
        (GPU_BUILD, ""),
        (["AzureExecutionProvider", sessions.CPU], ""),
    ],
    ids=["the CPU's build", "no GPU, or hidden", "as here"],
)
def test_the_cpu_is_asked_for_elsewhere(
    monkeypatch: pytest.MonkeyPatch, available: list[str], gpu: str
) -> None:
    runtime = Runtime(monkeypatch, *available, gpu=gpu)
    assert not sessions.on_gpu(sessions.session(b"model"))
    assert runtime.asked == [sessions.CPU]
    assert not runtime.options[0].use_deterministic_compute
    assert runtime.preloaded == 0


def test_a_gpu_that_cannot_be_used_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime(monkeypatch, *GPU_BUILD)
    runtime.works = False
    with pytest.raises(MachineError) as caught:
        sessions.session(b"model")
    assert str(caught.value) == (
        "ONNX Runtime can't use the GPU, NVIDIA T4 (CUDA's libraries don't load); run `make clean "
        "venv`, or set CUDA_VISIBLE_DEVICES=-1 to compute on the CPU"
    )
    runtime.works = RuntimeError(
        "/cuda_call.cc:114 CudaCall [THRW = true;] CUDA failure 35: CUDA driver version is "
        "insufficient for CUDA runtime version ; GPU=-1 ; hostname=vm ; expr=cudaSetDevice"
    )
    with pytest.raises(
        MachineError, match=r"\(CUDA failure 35: .* runtime version\); NVIDIA's driver"
    ):
        sessions.session(b"model")
    runtime.works = RuntimeError("CUDA failure 2: out of memory ; GPU=0")
    with pytest.raises(RuntimeError, match="out of memory"):
        sessions.session(b"model")
    runtime.works = ValueError("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF")
    with pytest.raises(ValueError, match="INVALID_PROTOBUF"):
        sessions.session(b"model")
