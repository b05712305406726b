"""Import TensorFlow and Keras the same way on every machine.

Without TensorFlow's start-up notes, which C++ code writes past Python's `stderr`; what an import
that fails has written is shown. With the defaults that Keras is shipped with, not those of the
user's `keras.json`, from which results would follow. And without what Keras would import for
functions that Thaw doesn't call, 120 MB and half of the import's time; imported later, it's there
as ever. Modules that import either import this first.
"""

import os
import sys
import tempfile

_UNUSED = {"matplotlib", "pandas", "scipy", "sklearn"} - sys.modules.keys()

sys.stderr.flush()
_stderr = os.dup(2)
with tempfile.TemporaryFile() as _notes:
    os.dup2(_notes.fileno(), 2)
    sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]  # None: no such module
    try:
        import keras
        import tensorflow  # noqa: F401
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
