"""Silence for what torch's exporters say beside their errors."""

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def no_chatter() -> Iterator[None]:
    """Silence all loggers and stderr in the block.

    Of a network that it cannot trace, the exporter logs and prints what its error says as well.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
