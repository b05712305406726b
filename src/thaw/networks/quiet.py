"""Import TensorFlow and Keras the same way on every machine.

Modules that import either import this first. It does four things:

- Settings of the environment and of the user's `keras.json` that would change results are undone.
- TensorFlow takes a GPU's memory as it needs it; by default it takes all of it at once.
- TensorFlow's start-up notes, which C++ code writes past Python's `stderr`, are kept back; they
  are shown where the import fails.
- Keras imports packages for functions that Thaw doesn't call: 120 MB and half of the import's time.
  They are hidden from it. Imported later, they are there as ever.
"""

import os
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "1"}
for _name in (
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "TF_SET_ONEDNN_FPMATH_MODE",
    "TF_USE_DEEP_CONV2D",
    "TF_XLA_FLAGS",
):
    os.environ.pop(_name, None)

_UNUSED = {"matplotlib", "pandas", "scipy", "sklearn"} - sys.modules.keys()

sys.stderr.flush()
_stderr = os.dup(2)
with tempfile.TemporaryFile() as _notes:
    os.dup2(_notes.fileno(), 2)
    sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]  # None: no such module
    try:
        import keras
        import tensorflow

        if tensorflow.test.is_built_with_cuda():  # it notes here that there is no GPU, as well
            tensorflow.config.list_physical_devices()
    except BaseException:
        _notes.seek(0)
        os.write(_stderr, _notes.read())
        raise
    finally:
        for _name in _UNUSED:
            del sys.modules[_name]
        os.dup2(_stderr, 2)
        os.close(_stderr)

keras.config.set_floatx("float32")
keras.config.set_image_data_format("channels_last")
keras.config.set_epsilon(1e-7)
