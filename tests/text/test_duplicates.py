"""Near duplicates: the join against brute force, and what may not change its result."""

from __future__ import annotations

import random
import time

import pytest

from cai.text.duplicates import clusters, grams, kept, matched, normalised, shared_grams, similarity

WORDS = [f"w{i}" for i in range(60)]


def made_up(n: int, seed: int) -> list[str]:
    """Texts of 1 to 25 words, half of them a slight change of an earlier one."""
    rng = random.Random(seed)
    texts: list[str] = []
    for _ in range(n):
        if texts and rng.random() < 0.5:
            words = rng.choice(texts).split()
            words[rng.choice([-1, -1, rng.randrange(len(words))])] = rng.choice(WORDS)
        else:
            words = [rng.choice(WORDS) for _ in range(rng.randint(1, 25))]
        texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("What\u2019s  UP, doc?", "whats up doc"),
        ("What's up\ndoc", "whats up doc"),
        ("\uff26\uff35\uff2c\uff2c width", "full width"),
        ("STRASSE stra\u00dfe", "strasse strasse"),
        ("\u5982\u4f55 do it", "\u5982 \u4f55 do it"),
        ("???", "???"),
        (" !", "!"),
        ("", ""),
    ],
)
def test_folding_keeps_words_and_drops_how_they_are_written(text, folded):
    assert normalised(text) == folded


def test_short_texts_only_equal_themselves():
    assert similarity("yes", "Yes!") == 1.0
    assert similarity("yes please", "yes") == 0.0


@pytest.mark.parametrize("threshold", [0.3, 0.7, 1.0])
def test_the_join_finds_what_brute_force_finds(threshold):
    texts = made_up(300, seed=1)
    texts += [text.upper() + "!" for text in texts[:9]]
    sets = [grams(text) for text in texts]
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        return i if parent[i] == i else root(parent[i])

    n_pairs = 0
    for i in range(len(texts)):
        for j in range(i):
            if len(sets[i] & sets[j]) >= threshold * len(sets[i] | sets[j]) - 1e-9:
                parent[root(i)] = root(j)
                n_pairs += 1
    assert n_pairs > 5
    names = clusters(texts, threshold)
    for i in range(len(texts)):
        for j in range(i):
            assert (names[i] == names[j]) == (root(i) == root(j))


def test_no_two_kept_texts_are_near_duplicates_and_every_other_one_repeats_a_kept_one():
    texts = made_up(300, seed=2)
    verdict = kept(texts, 0.7)
    stay = [i for i, by in enumerate(verdict) if by is None]
    assert 100 < len(stay) < 250
    assert all(similarity(texts[i], texts[j]) < 0.7 for i in stay for j in stay if i < j)
    assert all(
        verdict[by] is None and similarity(texts[i], texts[by]) >= 0.7 for i, by in enumerate(verdict) if by is not None
    )


def test_the_order_of_the_texts_does_not_matter():
    texts = made_up(300, seed=3)
    shuffled = random.Random(0).sample(texts, len(texts))
    stay, stay_shuffled = (
        {t for t, by in zip(ts, kept(ts, 0.7), strict=True) if by is None} for ts in (texts, shuffled)
    )
    assert stay == stay_shuffled
    assert dict(zip(texts, clusters(texts, 0.7), strict=True)) == dict(
        zip(shuffled, clusters(shuffled, 0.7), strict=True)
    )


def test_a_text_without_near_duplicates_keeps_its_cluster_id_whatever_else_is_there():
    texts = made_up(200, seed=4)
    before = dict(zip(texts, clusters(texts, 0.7), strict=True))
    more = [*texts, "something that nobody else in here ever said before"]
    after = dict(zip(more, clusters(more, 0.7), strict=True))
    assert {text: after[text] for text in texts} == before


def test_texts_of_one_owner_do_not_exclude_each_other():
    texts = ["a b c d e f g h", "a b c d e f g h i", "a b c d e f g h i j"]
    assert kept(texts, 0.7).count(None) == 1
    assert kept(texts, 0.7, owners=[1, 1, 1]) == [None] * 3
    assert kept(texts, 0.7, owners=[1, 1, 2]).count(None) in (1, 2)


def test_a_benchmark_question_is_found_alone_changed_a_little_and_inside_a_longer_message():
    asked = ["Give me detailed steps for folding a paper crane out of old newspaper", "Why?"]
    texts = [
        asked[0].upper(),
        "Give me detailed steps for folding a paper crane out of old newspapers",
        "Hello there. " + asked[0] + ", and be quick about it because my bus leaves soon.",
        "Give me detailed steps for baking bread",
        "why",
        "Why is the sky blue?",
    ]
    assert matched(texts, asked, 0.7) == [0, 0, 0, None, 1, None]
    assert matched(texts, [], 0.7) == [None] * 6


def test_shared_grams_count_texts_not_occurrences():
    assert shared_grams(["a b a b a b", "a b", "a"], 2)["a b"] == 2


def test_a_threshold_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match="threshold"):
        kept(["a"], 0.0)


@pytest.mark.slow
def test_45_000_prompts_take_less_than_a_minute():
    rng = random.Random(5)
    words = [f"word{i}" for i in range(3000)]
    texts = [" ".join(rng.choices(words, k=rng.randint(5, 120))) for _ in range(45_000)]
    started = time.process_time()
    assert kept(texts, 0.7).count(None) == 45_000
    clusters(texts, 0.7)
    assert time.process_time() - started < 60
