"""Several deployments on one GPU."""

from orchestrator.fit.ledger import Claim, claims, left, pushed_out
from orchestrator.fit.memory import GIB, MIB, Card, Machine, OllamaSettings, VllmSettings
from orchestrator.fit.verdict import estimate
from tests.fit import models

CARD = Card("RTX 4090", 24564, 24100)


def test_what_sleeps_is_promised_all_the_same() -> None:
    """An idle Ollama has unloaded its model: the driver shows its memory as free."""
    (found,) = left([CARD], [Claim("ollama", 0, 10 * GIB)])
    assert found.free_mib == CARD.usable_mib - 10240


def test_what_runs_is_not_taken_off_twice() -> None:
    busy = Card("RTX 4090", 24564, CARD.usable_mib - 10240)
    (found,) = left([busy], [Claim("ollama", 0, 10 * GIB)])
    assert found.free_mib == busy.free_mib


def test_what_others_hold_without_a_claim_counts_too() -> None:
    (found,) = left([Card("RTX 4090", 24564, 5000)], [Claim("ollama", 0, GIB)])
    assert found.free_mib == 5000


def test_a_successor_gets_back_what_its_predecessor_holds() -> None:
    busy = Card("RTX 4090", 24564, 4000)
    (found,) = left([busy], [], [Claim("vllm", 0, 18 * GIB)])
    assert found.free_mib == 4000 + 18 * 1024


def test_cards_are_told_apart_by_number() -> None:
    other = Card("RTX 4090", 24564, 24100, 1)
    found = left([CARD, other], [Claim("ollama", 1, 4 * GIB)])
    assert found[0].free_mib == CARD.free_mib
    assert found[1].free_mib == CARD.usable_mib - 4096


def test_two_engines_on_one_card() -> None:
    """vLLM with all that is free leaves nothing to an Ollama that is asleep, and the other way round."""
    shape = models.qwen25_14b()
    machine = Machine((CARD,))
    served = estimate(shape, OllamaSettings(8192), machine)
    held = claims("ollama", served)
    assert served.verdict == "fits"
    assert [claim.gpu for claim in held] == [0]
    greedy = estimate(shape, VllmSettings(8192), machine)
    assert pushed_out([CARD], (*held, *claims("vllm", greedy))) == ("ollama", "vllm")
    beside = estimate(shape, VllmSettings(8192), Machine(left([CARD], held)))
    assert beside.utilization is not None
    assert beside.utilization < (greedy.utilization or 0)
    assert pushed_out([CARD], (*held, *claims("vllm", beside))) == ()


def test_more_than_there_is_leaves_nothing() -> None:
    (found,) = left([CARD], [Claim("a", 0, 20 * GIB), Claim("b", 0, 20 * GIB)])
    assert found.free_mib == 0
    assert pushed_out([CARD], [Claim("a", 0, CARD.usable_mib * MIB)]) == ()
