"""Whatever a file holds, the answer is a Spec, an Inventory or a UsageError."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.spec import Inventory, Spec, load_spec
from orchestrator.spec.schema import inventory_schema, json_schema

KEYS = sorted(
    {key for schema in (json_schema(), inventory_schema()) for key in schema["properties"]}
    | {key for part in json_schema()["$defs"].values() for key in part.get("properties", ())}
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(KEYS)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=4),
    max_leaves=20,
)
MARKS = [*"{}[]:,-?&*!|>'\"%@`#~ \n\t\\", "---", "...", "<<", "!!", "&a", "*a", "%YAML 1.1", "\\U", "0x", "1e9"]
yaml_like = st.lists(st.sampled_from(MARKS + KEYS) | st.text(max_size=3), max_size=40).map("".join)
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def outcome(load, path, content):
    path.write_bytes(content)
    try:
        return load(path)
    except UsageError as error:
        assert str(error)
        assert all(line.startswith(str(path)) for line in str(error).splitlines())
        return None


@many
@given(st.binary(max_size=200))
def test_any_bytes(tmp_path, content):
    for load in (load_spec, Inventory.load):
        outcome(load, tmp_path / "x.yaml", content)


@many
@given(yaml_like)
def test_anything_that_looks_like_yaml(tmp_path, text):
    for load in (load_spec, Inventory.load):
        outcome(load, tmp_path / "x.yaml", text.encode("utf-8", "surrogatepass"))


@many
@given(st.dictionaries(st.sampled_from(KEYS) | st.text(), values, max_size=5))
def test_any_values_under_any_keys(tmp_path, data):
    content = json.dumps(data).encode()
    for load in (load_spec, Inventory.load):
        found = outcome(load, tmp_path / "x.yaml", content)
        if isinstance(found, Spec):
            assert Spec.model_validate_json(found.model_dump_json()) == found


@many
@given(st.dictionaries(st.sampled_from(["vllm.port", "vllm", "model.source", "a.b", ""]) | st.text(), values))
def test_any_overrides(overrides):
    try:
        load_spec(None, overrides)
    except UsageError as error:
        assert str(error)


@many
@given(st.text())
def test_any_host_name(name):
    try:
        (entry,) = Inventory().resolve([name])
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        assert entry.address
        assert not entry.address.startswith("-")
        assert entry.address.isascii()
        assert not set(entry.address + (entry.user or "")) & set(" \t\n\r\0'\"`$;&|<>(){}*?!")
