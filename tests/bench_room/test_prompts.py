"""The prompts: every request's its own, the same ones for the same seed, as long as they should be."""

from __future__ import annotations

import itertools
import math

import pytest

from orchestrator.bench.prompts import _stride, calibrated, prompt, stories


def test_no_story_comes_twice():
    many = [prompt(1, index, 0) for index in range(20_000)]
    assert len(set(many)) == len(many)


@pytest.mark.parametrize("seed", [0, 1, 7, 4711, 2**31 - 1])
def test_every_story_is_met_before_one_comes_again(seed: int):
    assert math.gcd(_stride(seed, stories().many), stories().many) == 1


def test_a_seed_gives_the_same_prompts_and_another_seed_others():
    first = [prompt(1, index, 50) for index in range(100)]
    assert first == [prompt(1, index, 50) for index in range(100)]
    assert not set(first) & {prompt(2, index, 50) for index in range(100)}


def test_padding_has_as_many_words_as_asked_and_comes_after_what_is_its_own():
    bare, padded = prompt(3, 5, 0), prompt(3, 5, 1000)
    assert padded.startswith(bare)
    assert len(padded.split()) == len(bare.split()) + len(stories().padding.split()) + 1000


def test_two_long_prompts_share_no_more_than_the_sentence_begins_with():
    texts = [prompt(1, index, 500).split() for index in range(50)]
    shared = [
        len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))
        for one, other in itertools.combinations(texts, 2)
    ]
    assert max(shared) < 12  # words: too few to fill one block of a prefix cache


@pytest.mark.parametrize(("wanted", "expected"), [(300, 200), (200, 100), (100, 0), (50, 0), (1100, 1000)])
def test_calibration_takes_tokens_to_grow_with_words(wanted: int, expected: int):
    assert calibrated(wanted, bare=100, tried=200, counted=300) == expected


def test_calibration_survives_a_server_that_counts_nothing():
    assert calibrated(500, bare=0, tried=200, counted=0) == 0
