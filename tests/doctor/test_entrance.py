"""Who gets in at what is deployed already."""

from __future__ import annotations

from orchestrator.doctor.entrance import entrance_findings
from orchestrator.health.endpoint import Endpoint, Gateway
from orchestrator.health.entrance import Leak, Seen

GATEWAY = Gateway(url="http://gpu01:5000", connect="127.0.0.1:5000", keys="/k")
BEHIND = Endpoint(
    runtime="vllm", url="http://gpu01:5000/v1", probe_url="http://127.0.0.1:15000", gateway=GATEWAY, model="m"
)
SHUT = Seen(key=True, with_key=200, without_key=401, with_wrong_key=401)
LEAK = Leak(place="10.0.0.5:15000", key="without a key", status=200, seen_from="here")


def told(seen: Seen | None, endpoint: Endpoint = BEHIND) -> list[tuple[str, str, str]]:
    findings = entrance_findings("vllm", endpoint, seen)
    assert {finding.subject for finding in findings} == {"access to vllm"}
    return [(finding.level, finding.what, finding.remedy) for finding in findings]


def test_closed_is_well_and_says_which_ports() -> None:
    assert told(SHUT) == [("ok", "nobody gets in without a key (ports 5000 and 15000)", "")]
    alone = BEHIND.model_copy(update={"gateway": None})
    assert told(Seen(), alone) == [("ok", "nobody gets in without a key (port 15000)", "")]


def test_who_gets_in_is_a_failure_with_the_place_and_what_to_do() -> None:
    ((level, what, remedy),) = told(SHUT.model_copy(update={"leaks": (LEAK,)}))
    assert (level, what) == ("fail", "15000 answers without a key on 10.0.0.5 (200, asked from here)")
    assert "deployctl up vllm" in remedy
    ((level, what, _),) = told(SHUT.model_copy(update={"without_key": 200}))
    assert (level, what) == ("fail", "http://gpu01:5000 answers 200 without a key, not 401")


def test_a_gateway_that_is_down_lets_nobody_in_but_its_engine_may() -> None:
    ((level, what, _),) = told(Seen(key=True))
    assert (level, what) == ("warn", "the gateway does not answer at http://gpu01:5000")
    assert "fail" in {level for level, _, _ in told(Seen(leaks=(LEAK,)))}


def test_what_is_open_on_purpose_is_a_warning() -> None:
    ((level, what, remedy),) = told(None)
    assert level == "warn" and "--expose direct" in what and remedy == "deployctl up vllm --expose gateway"
