"""The examples really load, and the generated schema and reference agree with the models."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from orchestrator.spec import Inventory, Spec, load_spec, with_runtime
from orchestrator.spec.reference import inventory_reference, reference
from orchestrator.spec.schema import inventory_schema, json_schema

ROOT = Path(__file__).parents[2] / "inventories"
SPECS = sorted((ROOT / "specs").glob("*.yaml"))


def plain(path):
    return YAML(typ="safe", pure=True).load(path)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_an_example_spec_loads_and_fits_the_schema(path):
    assert load_spec(path).runtimes()
    Draft202012Validator(json_schema()).validate(plain(path))


def test_the_written_out_worked_example_is_what_the_defaults_say():
    written = load_spec(ROOT / "specs/worked-example.yaml")
    default = with_runtime(Spec(), "vllm")
    ids = {"served_name": None, "bos_token_id": None, "pad_token_id": None, "eos_token_id": None}
    assert written.model_copy(update={"vllm": written.vllm.model_copy(update=ids)}) == default


def test_the_example_inventory_loads_and_fits_the_schema():
    inventory = Inventory.load(ROOT)
    assert {entry.name for entry in inventory.resolve(["gpus", "cpus"])} == {"gpu01", "gpu02", "gpu03", "lab01"}
    for host in inventory.hosts.values():
        load_spec(None, host=host, runtimes=["ollama", "vllm"])
    for path in ROOT.glob("*.yaml"):
        Draft202012Validator(inventory_schema()).validate(plain(path))


@pytest.mark.parametrize("schema", [json_schema(), inventory_schema()], ids=["spec", "inventory"])
def test_every_key_is_described_with_an_example_that_fits(schema):
    Draft202012Validator.check_schema(schema)
    sections = [schema, *schema["$defs"].values()]
    for key, said in ((key, said) for section in sections for key, said in section["properties"].items()):
        assert said["description"].endswith("."), key
        assert said["examples"], key
        for example in said["examples"]:
            Draft202012Validator({"$defs": schema["$defs"], **said}).validate(example)


@pytest.mark.parametrize(
    "data",
    [
        {"vllm": {"gpu_memm": 1}},
        {"vllm": {"gpu_mem": 2}},
        {"vllm": {"port": "1"}},
        {"vllm": {"name": "X"}},
        {"ollama": {"context": "24 K"}},
        {"hub": {"token_env": "hf_" + "a" * 30}},
        {"version": 2},
    ],
)
def test_the_schema_refuses_what_the_models_refuse(data):
    assert not Draft202012Validator(json_schema()).is_valid(data)


@pytest.mark.parametrize(
    "data",
    [
        {"vllm": None, "ollama": None},
        {"vllm": {"max_model_len": "auto", "gpus": [0], "eos_token_id": [1], "max_num_batched_tokens": "8K"}},
        {"vllm": {"max_model_len": -1, "gpus": "all", "eos_token_id": 1}},
        {"ollama": {"keep_alive": -1, "context": "25.6k"}},
    ],
)
def test_the_schema_takes_every_way_to_write_a_value(data):
    Draft202012Validator(json_schema()).validate(data)
    Spec.model_validate(data)


def test_the_reference_holds_every_key_once():
    for table, schema in ((reference(), json_schema()), (inventory_reference(), inventory_schema())):
        keys = [row.split("`")[1] for row in table.splitlines()[2:]]
        assert len(set(keys)) == len(keys)
        names = {key.rpartition(".")[2] for key in keys}
        assert names == {key for section in (schema, *schema["$defs"].values()) for key in section["properties"]}
    assert "| `vllm.gpu_mem` | number (above 0, at most 1) | `1.0` | Share of a GPU's memory" in reference()
