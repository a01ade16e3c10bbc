import ast
from pathlib import Path
from types import SimpleNamespace

import pytest

import compressor.tensorrt
from compressor.tensorrt import names
from compressor.tensorrt.serialise import HARDWARE_LEVELS
from compressor.tensorrt.settings import ComputeCapability

from . import fakes

# What a variable of this name holds, everywhere in the package.
OWNERS = {
    "trt": "module",
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "cache": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "inspector": "EngineInspector",
    "profiler": "IProfiler",
}
# Names that in these files hold another thing than the engine's object.
OTHERWISE = {("runner.py", "engine")}


def listed(owner):
    tables = (names.METHODS, names.PROPERTIES, names.RTX_METHODS, names.RTX_PROPERTIES)
    return {name for table in tables for name in table.get(owner, ())}


def holder(node):
    """The name of what an attribute is read from, without the underscore of a private one."""
    value = node.value
    name = value.id if isinstance(value, ast.Name) else getattr(value, "attr", "")
    return name.lstrip("_")


def used():
    """File, owner and name of each attribute of the engine's objects in the package's source."""
    for path in sorted(Path(compressor.tensorrt.__path__[0]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and (path.name, holder(node)) not in OTHERWISE:
                yield path.name, holder(node), node.attr


def test_the_source_uses_only_listed_names_of_the_engines_objects():
    found = {(OWNERS[variable], name) for _, variable, name in used() if variable in OWNERS}
    owners = {owner for owner, _ in found} - {"module"}
    assert {"Builder", "OnnxParser", "IBuilderConfig", "ICudaEngine", "IExecutionContext"} <= owners
    unlisted = {(owner, name) for owner, name in found if owner != "module"}
    assert {(owner, name) for owner, name in unlisted if name not in listed(owner)} == set()


def test_the_source_uses_only_listed_names_of_the_module():
    classes = {*names.METHODS, *names.MEMBERS, *names.RTX_MEMBERS, *names.OTHERS}
    assert {name for _, variable, name in used() if variable == "trt"} <= classes


def test_the_source_uses_only_listed_members():
    members = {**names.MEMBERS, **names.RTX_MEMBERS}
    found = {(enum, name) for _, enum, name in used() if enum in members}
    assert ("BuilderFlag", "TF32") in found
    assert {(enum, name) for enum, name in found if name not in members[enum]} == set()


def test_members_that_are_looked_up_by_text_are_listed():
    assert set(HARDWARE_LEVELS.values()) == set(names.MEMBERS["HardwareCompatibilityLevel"])
    assert ComputeCapability.__args__ == names.RTX_MEMBERS["ComputeCapability"]


@pytest.mark.parametrize(
    ("fake", "owner"),
    [
        (fakes.Context, "IExecutionContext"),
        (fakes.Engine, "ICudaEngine"),
        (fakes.Runtime, "Runtime"),
        (fakes.Inspector, "EngineInspector"),
        (fakes.IProfiler, "IProfiler"),
    ],
)
def test_a_fake_has_no_other_method_than_the_listed_ones(fake, owner):
    methods = {
        name for name in vars(fake) if not name.startswith("_") and callable(getattr(fake, name))
    }
    assert methods <= listed(owner)


@pytest.mark.engines
def test_rtx_has_every_name_and_its_own(rtx):
    assert names.missing_names(rtx.trt) == []
    tables = (names.RTX_METHODS, names.RTX_PROPERTIES, names.RTX_MEMBERS)
    own = [f"{owner}.{name}" for table in tables for owner in table for name in table[owner]]
    assert [name for name in own if not names.has_name(rtx.trt, name)] == []


def test_a_name_that_is_missing_is_said_with_its_class():
    assert "BuilderFlag.TF32" in names.missing_names(SimpleNamespace(BuilderFlag=SimpleNamespace()))
