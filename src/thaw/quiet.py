"""Import TensorFlow without its start-up notes, which C++ code writes past Python's `stderr`.

Modules that import Keras or TensorFlow import this one first. What an import that fails has written
is shown.

Left out is what Keras would import for functions of its own that Thaw doesn't call: 120 MB and
half of the import's time. Imported later, it's there as ever.
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
