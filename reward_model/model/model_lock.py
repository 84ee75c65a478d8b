"""One lock a model: what a call keeps on the model's modules belongs to that call.

A pooled position, style features and the way attention is computed reach the layers through the modules, because stock code
between them passes nothing on. Another thread waits until the forward pass is done; other models do not wait. Within one
thread calls may nest: each puts back what it met. A forward pass uses all cores already, so that waiting costs little
(docs/LOG.md).

Source: https://docs.python.org/3/library/threading.html#rlock-objects.
"""

import contextlib
import threading
import weakref

from torch import nn

# Beside the modules, not on them: a lock can be neither copied nor pickled, and modules are.
_locks: "weakref.WeakKeyDictionary[nn.Module, contextlib.AbstractContextManager[bool]]" = weakref.WeakKeyDictionary()
_guard = threading.Lock()


def lock_of(module: nn.Module) -> contextlib.AbstractContextManager[bool]:
    """The module's lock, always the same one; the thread that holds it may take it again."""
    with _guard:
        return _locks.setdefault(module, threading.RLock())
