# ruff: noqa: E501 (messages stand as the user sees them, on one line)
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.spec import HostEntry, Inventory, load_spec


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(**files):
        for name, text in files.items():
            Path(f"{name}.yaml").write_text(text)
        return Path("a.yaml") if list(files) == ["a"] else Path()

    return write


def refused(path):
    with pytest.raises(UsageError) as caught:
        Inventory.load(path)
    return caught.value.what


TREE = """
defaults: {user: all, port: 1, key: ~/.ssh/all, vars: {vllm: {port: 1, gpu_mem: 0.1}, model.delivery: push}}
groups:
  inner: {hosts: [a], user: inner, jump: [], vars: {vllm.port: 3}}
  outer: {hosts: [b], children: [inner], user: outer, port: 2, jump: "one,me@two:22", vars: {vllm: {port: 2}}}
hosts:
  a: {address: 10.0.0.1, port: 4, vars: {vllm: {gpu_mem: 0.4}}}
  b: {become: never}
  c:
"""


def test_settings_descend_and_the_nearer_wins(folder, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    inventory = Inventory.load(folder(a=TREE))
    key = Path("/home/me/.ssh/all")
    a, b, c = (inventory.hosts[name] for name in "abc")
    assert (a.address, a.user, a.port, a.key, a.jump, a.become) == ("10.0.0.1", "inner", 4, key, (), "auto")
    assert (b.address, b.user, b.port, b.key, b.become) == ("b", "outer", 2, key, "never")
    assert b.jump == ("one", "me@two:22")
    assert (c.address, c.user, c.port, c.jump) == ("c", "all", 1, ())
    assert a.vars == {"vllm.port": 3, "vllm.gpu_mem": 0.4, "model.delivery": "push"}
    assert b.vars == {"vllm.port": 2, "vllm.gpu_mem": 0.1, "model.delivery": "push"}
    assert inventory.groups == {"inner": ("a",), "outer": ("b", "a")}


def test_jump_hosts_of_the_inventory_are_looked_up(folder):
    text = """
    defaults: {user: ops, jump: [outer]}
    hosts:
      outer: {address: 198.51.100.1, port: 2222}
      inner: {address: "2001:db8::1", user: in}
      deep: {jump: [inner, me@elsewhere, sshconfig]}
      near: {jump: []}
      far:
    """
    hosts = Inventory.load(folder(a=text)).hosts
    outer = "ops@198.51.100.1:2222"
    assert {name: entry.jump for name, entry in hosts.items()} == {
        "outer": (),
        "inner": (outer,),
        "deep": (outer, "in@[2001:db8::1]", "me@elsewhere", "sshconfig"),
        "near": (),
        "far": (outer,),
    }


def test_jump_hosts_in_a_circle_are_refused(folder):
    text = "hosts:\n  a: {jump: [b]}\n  b: {jump: [a]}"
    assert refused(folder(a=text)) == "a.yaml:2: hosts.a: is reached through itself: a > b > a"


def test_a_way_without_end_is_refused(folder):
    chain = "".join(f"  h{n}: {{jump: [h{n + 1}]}}\n" for n in range(3000))
    assert refused(folder(a=f"hosts:\n{chain}  h3000:\n")) == "a.yaml:2: hosts.h0: more than 8 jumps away"


def test_variables_become_the_spec_of_their_host(folder):
    inventory = Inventory.load(folder(a=TREE))
    spec = load_spec(None, {"vllm.gpu_mem": 0.9}, host=inventory.hosts["a"], runtimes=["vllm"])
    assert (spec.vllm.port, spec.vllm.gpu_mem, spec.model.delivery) == (3, 0.9, "push")


def test_the_nearest_wins_also_between_a_key_and_the_mapping_around_it(folder):
    text = "defaults: {vars: {vllm: {port: 1}}}\nhosts: {a: {vars: {vllm: null}}, b: {vars: {vllm.port: 2}}}"
    inventory = Inventory.load(folder(a=text))
    assert load_spec(None, host=inventory.hosts["a"], runtimes=["vllm"]).vllm is None
    assert load_spec(None, host=inventory.hosts["b"], runtimes=["vllm"]).vllm.port == 2


def test_a_variable_that_clashes_in_one_spec_is_told_with_its_place(folder):
    inventory = Inventory.load(folder(a="hosts:\n  a:\n    vars: {vllm.max_num_seqs: 9000}\n"))
    with pytest.raises(UsageError, match=r"^vllm\.max_num_batched_tokens: got 8192, expected at least .* \(9000\)$"):
        load_spec(None, host=inventory.hosts["a"], runtimes=["vllm"])
    inventory = Inventory.load(folder(a="hosts:\n  a:\n    vars: {vllm.port: 11434}\n"))
    with pytest.raises(UsageError) as caught:
        load_spec(None, host=inventory.hosts["a"], runtimes=["vllm", "ollama"])
    assert caught.value.what == "a.yaml:3: hosts.a.vars.vllm.port: got 11434, expected another port than ollama's"


BAD = {
    "hosts: {a: {adress: x}}": "a.yaml:1: hosts.a.adress: unknown key, did you mean address?",
    "hosts: {a: {address: -oX}}": "a.yaml:1: hosts.a.address: got '-oX', expected a name, an address, user@host:port or "
    "[IPv6]:port, without spaces and without a dash at the beginning",
    "hosts: {a: {address: me@x}}": "a.yaml:1: hosts.a.address: got 'me@x', expected a name or an address alone; user and "
    "port have keys of their own",
    "hosts: {a: {user: -l}}": "a.yaml:1: hosts.a.user: got '-l', expected a login name",
    "hosts: {a: {port: 0}}": "a.yaml:1: hosts.a.port: got 0, expected at least 1",
    "hosts: {a: {become: yes}}": "a.yaml:1: hosts.a.become: got 'yes', expected 'auto', 'always' or 'never'",
    "hosts: {a: {jump: [x y]}}": "a.yaml:1: hosts.a.jump.0: got 'x y', expected a name, an address, user@host:port or "
    "[IPv6]:port, without spaces and without a dash at the beginning",
    "hosts: [a]": "a.yaml:1: hosts: got a list, expected a mapping",
    "groups:\n  g: {hosts: [gpu1]}\nhosts: {gpu01: }": "a.yaml:2: groups.g.hosts: got 'gpu1', expected a host of this "
    "inventory, did you mean gpu01?",
    "groups:\n  g: {children: [h]}": "a.yaml:2: groups.g.children: got 'h', expected a group of this inventory",
    "hosts: {g: }\ngroups: {g: }": "a.yaml:2: groups.g: a host has this name, in a.yaml:1",
    "hosts: {a: {vars: {vllm: {gpu_memm: 1}}}}": "a.yaml:1: hosts.a.vars.vllm.gpu_memm: unknown key, did you mean gpu_mem?",
    "hosts: {a: {vars: {vllm.gpu_mem: 2}}}": "a.yaml:1: hosts.a.vars.vllm.gpu_mem: got 2, expected at most 1.0",
    "hosts: {a: {vars: {hosts: [b]}}}": "a.yaml:1: hosts.a.vars.hosts: got hosts, expected a key of the spec that can "
    "differ between hosts",
    "hosts: {a: , a: }": "a.yaml:1: hosts.a: given twice, first in line 1",
}


@pytest.mark.parametrize("text", BAD, ids=repr)
def test_problems_name_file_line_and_key(folder, text):
    assert refused(folder(a=text)) == BAD[text]


def test_local_is_no_name_for_a_host(folder):
    assert "expected another name: local is always this machine" in refused(folder(a="hosts: {local: }"))


@pytest.mark.parametrize(
    ("groups", "circle"),
    [
        ("g: {children: [g]}", {"g > g"}),
        ("g: {children: [h]}, h: {children: [g]}", {"g > h > g", "h > g > h"}),
    ],
)
def test_groups_in_a_circle_are_refused(folder, groups, circle):
    assert refused(folder(a=f"groups: {{{groups}}}")).partition("contains itself: ")[2] in circle


def test_a_folder_is_one_inventory(folder):
    path = folder(a="groups: {all: {hosts: [x, y]}}", b="hosts: {x: , y: }")
    Path("specs").mkdir()
    Path("specs/no.yaml").write_text("not: an inventory")
    Path("notes.txt").write_text("not: yaml: at all")
    Path("c.yml").write_text("hosts: {z: }")
    inventory = Inventory.load(path)
    assert set(inventory.hosts) == {"x", "y", "z"}
    assert inventory.groups == {"all": ("x", "y")}


def test_one_name_in_two_files_is_refused(folder):
    path = folder(a="hosts:\n  x:\ndefaults: {port: 1}", b="\nhosts: {x: }\ndefaults: {port: 2}")
    assert refused(path).splitlines() == [
        "b.yaml:3: defaults: already in a.yaml:3",
        "b.yaml:2: hosts.x: already in a.yaml:2",
    ]


def test_without_a_path_the_folder_inventories_counts_if_it_is_there(folder):
    assert Inventory.load(None) == Inventory()
    Path("inventories").mkdir()
    Path("inventories/a.yaml").write_text("hosts: {x: }")
    assert list(Inventory.load(None).hosts) == ["x"]
    assert refused(Path("none.yaml")) == "none.yaml: cannot be read: No such file or directory"


HOSTS = Inventory(
    hosts={
        "gpu01": HostEntry(name="gpu01", address="10.0.0.1", user="ops", port=22),
        "gpu02": HostEntry(name="gpu02", address="10.0.0.2"),
    },
    groups={"gpus": ("gpu01", "gpu02")},
)


def test_names_groups_and_addresses_each_once():
    found = HOSTS.resolve(["gpu02", "gpus", "local", "gpu01", "local", "10.0.0.9", "10.0.0.9"])
    assert [entry.name for entry in found] == ["gpu02", "gpu01", "local", "10.0.0.9"]
    assert found[2] == HostEntry.local()
    assert found[2].is_local
    assert HOSTS.resolve([]) == ()


@pytest.mark.parametrize(
    ("name", "address", "user", "port"),
    [
        ("10.0.0.5", "10.0.0.5", None, None),
        ("host.example.org", "host.example.org", None, None),
        ("me@host:2222", "host", "me", 2222),
        ("[::1]:22", "::1", None, 22),
        ("me@[fe80::1]", "fe80::1", "me", None),
        ("2001:db8::5", "2001:db8::5", None, None),
        ("gpu01:2222", "10.0.0.1", "ops", 2222),
        ("root@gpu01", "10.0.0.1", "root", 22),
    ],
)
def test_addresses(name, address, user, port):
    (entry,) = HOSTS.resolve([name])
    assert (entry.name, entry.address, entry.user, entry.port) == (name, address, user, port)


def test_an_unknown_name_is_left_to_ssh_with_a_note_when_it_is_nearly_known():
    near, far = HOSTS.resolve(["gpu1", "elsewhere"])
    assert (near.address, far.address) == ("gpu1", "elsewhere")
    assert near.note == "no host or group gpu1 in the inventory; did you mean gpu01?"
    assert far.note == ""


@pytest.mark.parametrize(
    "name",
    ["", "-oProxyCommand=x", "a b", "a;b", "$(id)", "a\nb", "a\0b", "me@", "@a", "a:", "a:0", "a:99999", "[::1", "[x]",
     "-l@a", "me@-a", "a/b", "fe80::1%eth0", "ä"],
)  # fmt: skip
def test_names_that_are_refused(name):
    with pytest.raises(UsageError, match="got host"):
        HOSTS.resolve([name])
