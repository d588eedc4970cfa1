"""Certificates from an ACME authority: a second Caddy is one, on a network of their own where port 80 is free."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.gateway.gate import Gate, caddy, folder

AUTHORITY = """{
	admin off
	persist_config off
	skip_install_trust
	auto_https disable_redirects
}
https://localhost:14000 {
	tls internal
	acme_server
}
"""

# Two servers and a client; `unshare` ends them with the script. What is waited for ends with a limit that fails.
SCRIPT = """set -eu
ip link set lo up
run() { XDG_DATA_HOME=$1 HOME=$1 "$caddy" run --config "$2" --adapter caddyfile 2> "$home/$3.log" & }
certified() {
  tries=0
  until grep -q 'certificate obtained successfully' "$home/$1.log" 2> /dev/null; do
    tries=$((tries + 1)); [ $tries -lt 300 ] || { cat "$home/$1.log" >&2; exit 1; }
    sleep 0.1
  done
}
run "$home" "$home/authority" authority; certified authority
run "$data" "$caddyfile" gateway; certified gateway
url=https://localhost:$port/v1/models
ask() { curl -sS -m 30 --noproxy '*' --cacert "$root" -w ' %{http_code}\\n' -o /dev/null "$@" "$url"; }
ask
printf 'Authorization: Bearer %s\\n' "$key" | ask -H @-
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"),
    reason="needs root, unshare and ip for a network of its own",
)
def test_a_certificate_is_had_by_acme(own: Gate) -> None:
    with folder() as home:
        (home / "authority").write_text(AUTHORITY)
        root = f"{home}/caddy/pki/authorities/local/root.crt"
        values = {"acme_ca": "https://localhost:14000/acme/local/directory", "acme_ca_root": root}
        site = own.add("ollama", "ollama", 1, tls="acme", domains=["localhost"], acme_email="ops@example.org", **values)
        own.make_keys(site)
        told = {
            "caddy": str(caddy()),
            "home": str(home),
            "root": root,
            "data": site.gateway.data,
            "caddyfile": site.gateway.caddyfile,
            "port": str(site.port),
            "key": site.secrets["user"],
        }
        done = subprocess.run(
            ["unshare", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", SCRIPT],
            env={"PATH": os.environ["PATH"], **told},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["401", "503"], "its root verifies it; the engine is on another network"
        log = (home / "gateway.log").read_text()
    assert '"issuer":"localhost:14000-acme-local-directory"' in log
    assert "ops@example.org" in log
    assert site.secrets["user"] not in log
