"""Every name that our code uses, looked up in the genuine bindings of both generations."""

import json
import os
import subprocess
import sys

import pytest

from compressor.tensorrt import names

from .stubs import binding, libraries

pytestmark = pytest.mark.engines

VERSIONS = ("10.16.1.11", "11.4.0.106")

PROBE = """
import json, re, tensorrt_bindings as trt
from compressor.errors import ModelError
from compressor.tensorrt import messages, module, names

def arguments(owner, method):
    text = getattr(getattr(trt, owner), method).__doc__
    found = re.findall(rf"{method}\\((self: .*)\\) -> ", text)
    return [re.findall(r"(?:^|, )(\\w+): ", line)[1:] for line in found]

kept = messages.Messages()
logger = messages.make_logger(trt, kept)
logger.log(trt.ILogger.ERROR, "an error")
try:
    module.make(trt.Builder, logger, module.Kit("tensorrt", trt))
except ModelError as error:
    started = str(error)
print(json.dumps({
    "version": trt.__version__,
    "missing": names.missing_names(trt),
    "arguments": {
        f"{owner}.{method}": arguments(owner, method)
        for owner, methods in names.METHODS.items()
        for method in methods
    },
    "kinds": {
        f"{owner}.{name}": type(getattr(getattr(trt, owner), name)).__name__
        for owner, listed in names.PROPERTIES.items()
        for name in listed
    },
    "errors": kept.errors,
    "started": started,
    "rtx": [owner for owner in names.RTX_MEMBERS if hasattr(trt, owner)],
}))
"""


@pytest.fixture(scope="module", params=VERSIONS)
def seen(request, tmp_path_factory):
    """What an interpreter of its own sees of one release."""
    version = request.param
    cache = request.config.cache.mkdir("tensorrt-bindings")
    stubs = libraries(version, tmp_path_factory.mktemp("stubs") / version)
    paths = {"PYTHONPATH": str(binding(version, cache)), "LD_LIBRARY_PATH": str(stubs)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **paths},
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["version"] == version
    return answer


def test_a_release_has_every_name(seen):
    assert seen["missing"] == []


def test_every_argument_has_the_name_and_place_that_we_give_it(seen):
    wanted = {
        f"{owner}.{method}": list(arguments)
        for owner, methods in names.METHODS.items()
        for method, arguments in methods.items()
    }
    # Further arguments of an overload must have defaults; none of those used has any but these.
    unlike = {
        name: overloads
        for name, overloads in seen["arguments"].items()
        if wanted[name] not in overloads and name != "ICudaEngine.create_execution_context"
    }
    assert unlike == {}
    assert ["strategy"] in seen["arguments"]["ICudaEngine.create_execution_context"]


def test_properties_are_properties(seen):
    assert set(seen["kinds"].values()) == {"property"}


def test_a_logger_of_ours_is_accepted_and_filled(seen):
    assert seen["errors"] == ["an error"]


def test_a_builder_that_is_null_is_said_in_words(seen):
    assert "cannot start on this machine" in seen["started"]


def test_what_only_rtx_has_is_not_there(seen):
    assert seen["rtx"] == []
