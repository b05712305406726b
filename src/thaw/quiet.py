"""Import TensorFlow without its start-up notes, which C++ code writes past Python's `stderr`.

Modules that import Keras or TensorFlow import this one first. What an import that fails has written
is shown.
"""

import os
import sys
import tempfile

sys.stderr.flush()
_stderr = os.dup(2)
with tempfile.TemporaryFile() as _notes:
    os.dup2(_notes.fileno(), 2)
    try:
        import tensorflow  # noqa: F401
    except BaseException:
        _notes.seek(0)
        os.write(_stderr, _notes.read())
        raise
    finally:
        os.dup2(_stderr, 2)
        os.close(_stderr)
