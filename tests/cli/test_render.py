"""`render` reproduces the worked example in today's form, and touches neither a host nor the network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.templating.container import parse_container
from tests.cli.run import Ran, deployctl


def render(tmp_path: Path, *words: str) -> tuple[Ran, Path]:
    ran = deployctl("render", *words, "--out", "out", cwd=tmp_path, guarded=True)
    assert ran.status == 0, ran.err
    return ran, tmp_path / "out"


@pytest.fixture
def vllm(tmp_path: Path) -> tuple[Ran, Path]:
    return render(tmp_path, "vllm", "--gpu-mem", "1.0", "--max-model-len", "24576")


@pytest.fixture
def ollama(tmp_path: Path) -> tuple[Ran, Path]:
    return render(tmp_path, "ollama")


def options(command: tuple[str, ...]) -> dict[str, str]:
    """``--name value`` pairs after the model, which is positional."""
    assert not command[0].startswith("-")
    names, values = command[1::2], command[2::2]
    assert all(name.startswith("--") for name in names)
    return dict(zip(names, values, strict=True))


def test_vllm_serves_as_the_article_does(vllm: tuple[Ran, Path]) -> None:
    ran, out = vllm
    container = parse_container((out / "files/etc/deployctl/vllm/container.yaml").read_text())
    said = options(container.command)
    assert container.command[0] == "/model/Qwen2.5-14B-Instruct-Q4_K_M.gguf"
    assert said["--served-model-name"] == "VLLMQwen2.5-14B"
    assert said["--max-num-batched-tokens"] == "8192"
    assert said["--max-num-seqs"] == "256"
    assert said["--max-model-len"] == "24576"
    assert said["--tokenizer"] == said["--hf-config-path"] == "/base"
    assert said["--generation-config"] == "/config/generation"
    assert 0.9 < float(said["--gpu-memory-utilization"]) < 1
    assert "1.0 means all that is free" in ran.err
    assert [(port.host_ip, port.host_port) for port in container.ports] == [("127.0.0.1", 15000)]
    assert container.gpus == "all"
    assert re.fullmatch(r"vllm/vllm-openai:v0\.23\.\d+", container.image)  # the newest that loads a GGUF by itself
    assert container.environment["HF_HUB_OFFLINE"] == "1"


def test_vllm_s_generation_config_is_the_article_s(vllm: tuple[Ran, Path]) -> None:
    _, out = vllm
    found = json.loads((out / "files/etc/deployctl/vllm/generation/generation_config.json").read_text())
    assert found == {
        "bos_token_id": 151643,
        "pad_token_id": 151643,
        "do_sample": True,
        "eos_token_id": [151645, 151643],
        "repetition_penalty": 1.05,
        "temperature": 0.5,  # one block for both runtimes: the article's 0.5 of Ollama, where it had 0.0 here
        "top_p": 0.8,
        "top_k": 20,
    }


def test_vllm_s_temperature_of_the_article_can_be_had(tmp_path: Path) -> None:
    _, out = render(tmp_path, "vllm", "--set", "sampling.temperature=0.0")
    found = json.loads((out / "files/etc/deployctl/vllm/generation/generation_config.json").read_text())
    assert (found["temperature"], found["do_sample"]) == (0.0, False)


def test_vllm_s_files_come_from_the_article_s_repositories(vllm: tuple[Ran, Path]) -> None:
    _, out = vllm
    commands = (out / "commands.sh").read_text()
    assert "lmstudio-community/Qwen2.5-14B-Instruct-GGUF/resolve/main/Qwen2.5-14B-Instruct-Q4_K_M.gguf" in commands
    assert "Qwen/Qwen2.5-14B-Instruct/resolve/main/tokenizer.json" in commands
    assert "docker run --detach" in commands


def test_ollama_s_modelfile_is_the_article_s(ollama: tuple[Ran, Path]) -> None:
    _, out = ollama
    lines = (out / "files/etc/deployctl/ollama/Modelfile").read_text().splitlines()
    assert any(line.startswith("FROM ") and line.endswith("Qwen2.5-14B-Instruct-Q4_K_M.gguf") for line in lines)
    for line in ("PARAMETER num_ctx 8192", "PARAMETER num_predict 4096", "PARAMETER temperature 0.5"):
        assert line in lines
    assert "SYSTEM " in "\n".join(lines)
    assert "You are a helpful AI assistant." in "\n".join(lines)


def test_ollama_s_unit_is_the_article_s(ollama: tuple[Ran, Path]) -> None:
    _, out = ollama
    lines = (out / "files/etc/systemd/system/deployctl-ollama.service").read_text().splitlines()
    for line in ("User=ollama", "Group=ollama", "Restart=always", "RestartSec=3", "Wants=network-online.target"):
        assert line in lines
    assert any(line.startswith("After=") and "network-online.target" in line for line in lines)
    environment = dict(re.findall(r'^Environment="?(\w+)=([^"]*)"?$', "\n".join(lines), re.M))
    assert environment["OLLAMA_NUM_PARALLEL"] == "4"
    assert environment["OLLAMA_HOST"] == "127.0.0.1:21434"  # the article's 0.0.0.0:11434 is the gateway's
    site = (out / "files/etc/deployctl/gateway/sites/ollama.caddy").read_text()
    assert "http://:11434 {" in site and "reverse_proxy 127.0.0.1:21434 {" in site
    assert environment["OLLAMA_CONTEXT_LENGTH"] == "8192"
    assert "OLLAMA_DEBUG" not in environment


def test_ollama_s_open_port_and_debug_of_the_article_can_be_had(tmp_path: Path) -> None:
    ran, out = render(tmp_path, "ollama", "--bind", "0.0.0.0", "--expose", "direct", "--set", "ollama.debug=true")
    text = (out / "files/etc/systemd/system/deployctl-ollama.service").read_text()
    assert re.search(r'^Environment="?OLLAMA_HOST=0\.0\.0\.0:11434"?$', text, re.M)
    assert re.search(r'^Environment="?OLLAMA_DEBUG=1"?$', text, re.M)
    assert "no authentication" in ran.err


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("words", [("ollama",), ("vllm", "--runner", "venv")], ids=" ".join)
def test_systemd_accepts_the_units(tmp_path: Path, words: tuple[str, ...]) -> None:
    _, out = render(tmp_path, *words)
    units = sorted(out.rglob("deployctl-*.service"))
    assert [unit.stem for unit in units] == ["deployctl-gateway", f"deployctl-{words[0]}"]
    for unit in units:
        text = re.sub(
            r"^Exec(Start|Reload)=\S+", r"Exec\1=/bin/true", unit.read_text(), flags=re.M
        )  # not installed here
        unit.write_text(text)
        checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
        own = [line for line in checked.stderr.splitlines() if unit.name in line]
        assert (checked.returncode, own) == (0, [])


@pytest.mark.parametrize("runtime", ["ollama", "vllm"])
@pytest.mark.parametrize("more", [(), ("--without-systemd",)], ids=["systemd", "supervisor"])
def test_commands_are_shell_and_nothing_is_left_beside_out(tmp_path: Path, runtime: str, more: tuple[str, ...]) -> None:
    _, out = render(tmp_path, runtime, *more)
    checked = subprocess.run(["sh", "-n", out / "commands.sh"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_json_is_one_document_with_all_of_it(tmp_path: Path) -> None:
    ran = deployctl("render", "vllm", "--json", cwd=tmp_path, guarded=True)
    assert ran.status == 0
    assert ran.document["schema"] == "deployctl.render/1"
    assert "/etc/deployctl/vllm/container.yaml" in ran.document["files"]
    assert any("docker pull" in line for line in ran.document["commands"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("vram", ["24GiB", "16384MiB", "139.8 GiB"])
def test_another_card_is_assumed_on_request(tmp_path: Path, vram: str) -> None:
    assert deployctl("render", "vllm", "--vram", vram, "--json", cwd=tmp_path, guarded=True).status == 0


def test_a_size_that_is_none_is_refused(tmp_path: Path) -> None:
    ran = deployctl("render", "vllm", "--vram", "much", cwd=tmp_path)
    assert (ran.status, ran.out) == (2, "")
    assert "16GiB" in ran.err


def test_a_folder_that_cannot_be_written_is_an_explained_failure(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file in the way")
    ran = deployctl("render", "ollama", "--out", "out", cwd=tmp_path)
    assert ran.status == 1
    assert "cannot write to out" in ran.err
    assert "Traceback" not in ran.err
