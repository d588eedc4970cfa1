# ruff: noqa: E501 (messages stand as the user sees them, on one line)
import re

import pytest

from orchestrator.errors import ExitStatus, UsageError
from orchestrator.spec import HostEntry, load_spec

TOKEN = "hf_" + "s3cr3t" * 6


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(content):
        path = tmp_path / "deployctl.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path.relative_to(tmp_path)

    return write


def refused(*args, **kwargs):
    with pytest.raises(UsageError) as caught:
        load_spec(*args, **kwargs)
    assert caught.value.status is ExitStatus.USAGE
    return caught.value.what


BAD = {
    "version: 2": "1: version: got 2, expected 1",
    "\n\nvllm:\n  gpu_memm: 0.9": "4: vllm.gpu_memm: unknown key, did you mean gpu_mem?",
    "gpu-mem: 0.9\nport: 1": "1: gpu-mem: unknown key\ndeployctl.yaml:2: port: unknown key, did you mean ollama.port?",
    "vllm: {gpu_mem: 1.5}": "1: vllm.gpu_mem: got 1.5, expected at most 1.0",
    "vllm: {gpu_mem: 0}": "1: vllm.gpu_mem: got 0, expected more than 0.0",
    "vllm: {gpu_mem: .nan}": "1: vllm.gpu_mem: got nan, expected a finite number",
    "vllm: {port: '5000'}": "1: vllm.port: got '5000', expected a whole number",
    "vllm: {port: true}": "1: vllm.port: got true, expected a whole number",
    "vllm: {port: 70000}": "1: vllm.port: got 70000, expected at most 65535",
    "vllm: {port: }": "1: vllm.port: got nothing, expected a whole number",
    "vllm: {enforce_eager: yes}": "1: vllm.enforce_eager: got 'yes', expected true or false",
    "vllm: {version: 0.32}": "1: vllm.version: got 0.32, expected text (put it in quotes)",
    "vllm: {runner: docker}": "1: vllm.runner: got 'docker', expected 'container' or 'venv'",
    "vllm: {name: x}": "1: vllm.name: got 'x', expected 2 to 40 small letters, digits and dashes, and no dash at the "
    "beginning",
    "vllm: {bind: gpu01}": "1: vllm.bind: got 'gpu01', expected an IP address such as 127.0.0.1 or 0.0.0.0, or localhost",
    "vllm: {gpus: []}": "1: vllm.gpus: got a list, expected all, or a list of GPU numbers such as [0, 1]",
    "vllm: {gpus: [0], tensor_parallel: 2}": "1: vllm.tensor_parallel: got 2, expected at most 1, as gpus says",
    "vllm: {max_num_batched_tokens: 8}": "1: vllm.max_num_batched_tokens: got 8, expected at least max_num_seqs (256)",
    "vllm: {max_model_len: 24.5K}": "1: vllm.max_model_len: got '24.5K', expected auto, or a whole number before K. "
    "Decimals are not allowed with binary suffixes; 24.5k counts in thousands",
    "vllm: {extra_args: --x}": "1: vllm.extra_args: got '--x', expected a list",
    "vllm: {extra_args: [--api-key, x]}": "1: vllm.extra_args.0: got '--api-key', expected no secret here: arguments are "
    "public. Keys reach engines through a file",
    "vllm: {env: {a: b}}": "1: vllm.env.a: got 'b', expected names of variables in capitals, digits and underscores",
    "vllm: {env: {A: 1}}": "1: vllm.env.A: got 1, expected text (put it in quotes)",
    "vllm: {model: {base: a/b}}": "1: vllm.model.source: got nothing, expected a source: a runtime's own model replaces "
    "the spec's as a whole",
    "ollama: {env: {OLLAMA_HOST: x}}": "1: ollama.env.OLLAMA_HOST: got 'x', expected the spec's own key instead: bind "
    "and port",
    "ollama: {keep_alive: soon}": "1: ollama.keep_alive: got 'soon', expected a duration such as 5m or 1h30m, a number "
    "of seconds, or -1 (for ever)",
    "ollama: {kv_cache_type: q8_0, flash_attention: false}": "1: ollama.kv_cache_type: got 'q8_0', expected f16, since "
    "flash_attention is false",
    "ollama: {archive: 'https://u:p@x/o.tgz'}": "1: ollama.archive: got a hidden value, expected a URL without a user "
    "and password in it",
    'ollama: {template: "a\\0b"}': "1: ollama.template: got 'a\ufffdb', expected text without control characters (line "
    "breaks and tabs are fine)",
    'vllm: {served_name: "a\\nExecStart=b"}': "1: vllm.served_name: got 'a\ufffdExecStart=b', expected text on one line, "
    "without control characters",
    "hosts: []": "1: hosts: got a list, expected at least one host",
    "hosts: [-oProxyCommand=x]": "1: hosts.0: got '-oProxyCommand=x', expected text that is not empty and does not "
    "begin with a dash",
    "sampling: 5": "1: sampling: got 5, expected a mapping",
    "model: {sha256: xyz}": "1: model.sha256: got 'xyz', expected 64 hexadecimal digits in small letters",
    "hub: {endpoint: hub.example.org}": "1: hub.endpoint: got 'hub.example.org', expected a URL that begins with http:// "
    "or https:// and holds no user or password",
    "vllm: {port: 7, name: ab}\nollama: {port: 7, name: cd}": "1: vllm.port: got 7, expected another port than ollama's",
    "vllm: {name: ab}\nollama: {name: ab}": "1: vllm.name: got 'ab', expected another name than ollama's",
    # YAML itself
    "vllm:\n  port: 1\n  port: 2": "3: vllm.port: given twice, first in line 2",
    "a: b: c": "1:5: not valid YAML: mapping values are not allowed here",
    "- 1": "1: got a list, expected a mapping",
    "just words": "1: got 'just words', expected a mapping",
    "1: x": "1: got key '1', expected text (put it in quotes)",
    "[a]: x": "1: got key a list, expected text (put it in quotes)",
    "<<: {a: 1}": "1: <<: merge keys are not understood; write the keys out, or use an alias as a value",
    "a: !!python/object/apply:os.system [id]": "1: a: got the tag python/object/apply:os.system, expected text, a number, "
    "true, false, a list or a mapping",
    "a: *b": "1:4: not valid YAML: found undefined alias 'b'",
    "x: &a {a: *a}": "1: x.a.a...: nested too deeply",
    "a: 1\n---\nb: 2": "2:1: not valid YAML: but found another document",
    "a: \0": "1: not valid YAML: a control character",
    b"\n\xff\xfe": "2: not UTF-8 text",
}


@pytest.mark.parametrize("content", BAD, ids=repr)
def test_every_problem_names_file_line_key_and_what_was_expected(write, content):
    assert refused(write(content)) == f"deployctl.yaml:{BAD[content]}"


def test_all_problems_are_listed_at_once(write):
    what = refused(write("vllm:\n  port: 0\n  gpu_mem: 2\nhub:\n  offline: 5\n"))
    assert sorted(what.splitlines()) == [
        "deployctl.yaml:2: vllm.port: got 0, expected at least 1",
        "deployctl.yaml:3: vllm.gpu_mem: got 2, expected at most 1.0",
        "deployctl.yaml:5: hub.offline: got 5, expected true or false",
    ]


@pytest.mark.parametrize(
    "content",
    [
        f"hub: {{token_env: {TOKEN}}}",
        f"hub: {{token: {TOKEN}}}",
        f"vllm: {{env: {{HF_TOKEN: {TOKEN}}}}}",
        f"vllm: {{env: {{HARMLESS: {TOKEN}}}}}",
        f"vllm: {{extra_args: [--hf-token={TOKEN}]}}",
        f"vllm: {{pip_args: [--index-url=https://me:{TOKEN}@x/]}}",
        f"vllm: {{port: {TOKEN}}}",
        f"hub: {{endpoint: 'https://me:{TOKEN}@x'}}",
        f"vllm: {{env: {{API_KEY: [{TOKEN}]}}}}",
        f"api_key: {TOKEN}",
    ],
)
def test_secrets_are_refused_and_never_echoed(write, content):
    with pytest.raises(UsageError) as caught:
        load_spec(write(content))
    error = caught.value
    assert "s3cr3t" not in f"{error!r} {error} {error.what} {error.why} {error.remedy}"


def test_without_a_file_nothing_is_served_until_a_runtime_is_named():
    assert load_spec(None).runtimes() == ()
    assert load_spec(None, runtimes=["vllm"]).runtimes() == ("vllm",)


def test_an_empty_section_asks_for_the_defaults(write):
    assert load_spec(write("vllm:\nollama:\n")).runtimes() == ("ollama", "vllm")
    assert load_spec(write("")).runtimes() == ()


def test_files_that_cannot_be_read(tmp_path):
    assert refused(tmp_path / "none.yaml") == f"{tmp_path}/none.yaml: cannot be read: No such file or directory"
    assert refused(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"
    big = tmp_path / "big.yaml"
    big.write_bytes(b"#" * 300_000)
    assert refused(big) == f"{big}: larger than 256 KiB, which no spec or inventory is"


def test_an_alias_bomb_is_cut_short(write):
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert refused(write("\n".join(rows))) == "deployctl.yaml: more than 20000 values once aliases are expanded"


@pytest.mark.parametrize("opening", ["[", "{", "{a: ", "- ", "? "])
def test_deep_nesting_is_cut_short(write, opening):
    assert re.match(r"deployctl\.yaml:1:\d+: not valid YAML: ", refused(write(opening * 20_000)))


def test_options_win_over_the_file(write):
    path = write("vllm: {gpu_mem: 0.5, port: 6000}\n")
    spec = load_spec(path, {"vllm.gpu_mem": 0.9, "model.source": "x.gguf", "ollama": {"port": 7000}})
    assert spec.vllm.gpu_mem == 0.9
    assert spec.vllm.port == 6000
    assert spec.model.source == "x.gguf"
    assert spec.ollama.port == 7000


def test_a_wrong_option_is_named_as_the_user_typed_it(write):
    path = write("vllm: {gpu_mem: 0.5}\n")
    names = {"vllm.gpu_mem": "--gpu-mem", "vllm.extra_args": "--extra-arg"}
    what = refused(path, {"vllm.gpu_mem": 3.0, "vllm.extra_args": ["a\nb"], "vllm.port": 0}, option_names=names)
    assert sorted(what.splitlines()) == [
        "--extra-arg: got 'a\ufffdb', expected text on one line, without control characters",
        "--gpu-mem: got 3.0, expected at most 1.0",
        "vllm.port: got 0, expected at least 1",
    ]


def test_an_option_does_not_hide_a_wrong_section_of_the_file(write):
    assert refused(write("vllm: 5"), {"vllm.port": 1}) == "deployctl.yaml:1: vllm: got 5, expected a mapping"


def test_host_variables_come_between_file_and_options(write):
    path = write("vllm: {gpu_mem: 0.5, port: 1, max_num_seqs: 8}\n")
    host = HostEntry(name="a", address="a", vars={"vllm.gpu_mem": 0.6, "vllm.port": 2, "model.delivery": "push"})
    spec = load_spec(path, {"vllm.port": 3}, host=host)
    assert (spec.vllm.gpu_mem, spec.vllm.port, spec.vllm.max_num_seqs) == (0.6, 3, 8)
    assert spec.model.delivery == "push"


def test_host_variables_of_a_runtime_do_not_bring_it_up():
    host = HostEntry(name="a", address="a", vars={"vllm.gpu_mem": 0.6})
    assert load_spec(None, host=host, runtimes=["ollama"]).runtimes() == ("ollama",)
    assert load_spec(None, host=host, runtimes=["vllm"]).vllm.gpu_mem == 0.6
