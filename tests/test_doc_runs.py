"""Commands of the pages that train and export, each on a network that takes seconds.

A file of its own, so that another process can run it beside the others.
"""

import pytest

from .test_doc_commands import TRAINED, call
from .test_doc_commands import here as here


@pytest.mark.parametrize("command", TRAINED)
def test_it_runs_as_documented(here, command):
    result = call(command, *TRAINED[command])
    assert result.exit_code == 0, result.stderr
    assert result.output.strip()
