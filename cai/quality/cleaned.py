"""The gate of data/supervised/cleaned.parquet: what sft trains on.

Invariants are what the cleaner guarantees, checked on every row with predicates that are not its rules. Cheap screens
over whole columns find the rows that could fail; only those are read sentence by sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl
from pydantic import Field

from cai.artifacts.cleaned import CLEANED as TABLE
from cai.artifacts.cleaned import DROPPED
from cai.artifacts.supervised import REVISIONS
from cai.params import Section, Share
from cai.quality.checking.accounting import beside, ids, unlike, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import (
    Check,
    Parent,
    n_rows,
    never,
    share_at_least,
    share_at_most,
    unique,
    within,
    zero,
)
from cai.quality.checking.flaws import closing_facts
from cai.quality.checking.texts import (
    CUTS,
    blank,
    final_sentence,
    hashed,
    hashed_turns,
    meta_talk,
    n_chars,
    near_repeated,
    repeats,
    unfinished,
)

SAME = ("split", "prompt", "turns", "principle_id", "response", "critique")
PARENTS = (
    Parent(
        REVISIONS,
        (
            "prompt_id",
            "round",
            *(hashed_turns().alias(name) if name == "turns" else hashed(name).alias(name) for name in SAME),
            pl.col("revision").is_null().alias("no_text"),
        ),
    ),
    Parent(DROPPED, ("prompt_id", "round")),
)
SHORT_WORDS = 20
"""A short answer, above all a short refusal, may rightly stay as it was."""
_WORD = r"[\p{L}\p{M}\p{N}]+(?:['’‘ʼ][\p{L}\p{M}\p{N}]+)*"
# Each screen lets through every text that its predicate could flag.
# Letters of European languages, quotation marks and dashes make no face; kaomoji have other signs besides.
_MAYBE_EMOJI = r"[^\x00-\x7F\x{C0}-\x{24F}’‘“”–—…]|[:;=]['^o~\-]?[)(\]\[DPpOo3*|/\\]|<3|</3|[xX]D|\^|_|>\.<|QQ"
_LABEL = r"^[\s\"“*#_]*(?:\w+ )?(?:response|reply|revision|rewrite)[*_]*[:：]"
_LEAD_END = r"[:：\n]"
_REDONE = (
    r"revis|writ|wrote|phras|reword|rework|reformul|toned|überarb|verbess|umform|révis|reescr|riscr|rivedu"
    r"|исправ|перепис|перефор|улучш|修|改|重写|書き直|new (?:response|reply|answer)|try (?:this|that|it) again| instead"
)
_BETTER = (
    r"updated|improved|modified|alternative|corrected|edited|better|safer|adjusted|refined|cleaned|more |less |friendly"
    r"|appropriate|harmless|respectful|neutral|polite|ethical|(?:version|response|reply) (?:of|that|with)"
)
_ANSWER = r"version|response|reply|answer|statement|message|attempt"
_HEAD_CHARS = 440  # a preamble stands at the head


class Thresholds(Section):
    """gates.cleaned"""

    min_rows: int = Field(ge=1)
    min_chars: int = Field(ge=1)
    max_chars: int = Field(ge=1)
    max_times_a_sentence: int = Field(ge=2)
    min_kept_share: float = Share
    max_near_repeat_share: float = Share
    max_meta_talk_share: float = Share
    max_unfinished_share: float = Share
    max_same_text_share: float = Share
    max_shared_closing_share: float = Share
    min_distinct_closings_share: float = Share


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Keys, references and flags of the cleaned revisions."""
    from cai.text import flags  # its patterns take a while to compile, and thresholds are read without them

    revisions = parents["revisions"].filter(~pl.col("no_text"))
    pairs = [(hashed_turns() if name == "turns" else hashed(name), f"{name}_parent") for name in SAME]
    texts = frame.get_column("revision")
    text = pl.col("revision").str.strip_chars()
    return beside(frame, revisions, TABLE.key).select(
        "prompt_id",
        "round",
        "unknown",
        unlike(pairs).alias("unlike_revision"),
        blank("revision").alias("blank"),
        n_chars("revision").alias("n_chars"),
        ((pl.col("finish_reason") == "error") | pl.col("error").is_not_null()).fill_null(True).alias("failed"),
        (pl.col("cut") & (pl.col("finish_reason") != "length")).fill_null(True).alias("wrongly_cut"),
        _copies(frame),
        (text == pl.col("critique").str.strip_chars()).fill_null(False).alias("copies_critique"),
        _flagged(texts, maybe_emoji(texts), flags.emoji_run, "emoji_run"),
        _flagged(texts, maybe_tag(texts), flags.has_role_tag, "role_tag"),
        _flagged(texts, maybe_preamble(texts), flags.has_preamble, "preamble"),
        _most_often(texts, flags.max_sentence_count_outside_protected),
        near_repeated(frame, "revision", parents["revisions"].height),
        meta_talk("revision").alias("meta_talk"),
        unfinished("revision").alias("unfinished"),
        hashed("revision").alias("text_hash"),
        final_sentence("revision"),
    )


def _copies(frame: pl.DataFrame) -> pl.Series:
    """Whether a text of more than a few words is the response; words are counted only where it is."""
    text = pl.col("revision").str.strip_chars()
    same = frame.select((text == pl.col("response").str.strip_chars()).fill_null(False)).to_series().arg_true()
    long = frame.select("revision").gather(same).select(text.str.count_matches(_WORD) > SHORT_WORDS).to_series()
    hit = same.filter(long)
    return pl.Series("copies_response", range(frame.height), dtype=pl.UInt32).is_in(hit.implode())


def maybe_preamble(texts: pl.Series) -> pl.Series:
    """Whether a text's head could be a preamble; false only where it surely is none."""
    head = pl.col("head")
    redone = head.str.contains(_REDONE) | (head.str.contains(_ANSWER) & head.str.contains(_BETTER))
    heads = texts.str.strip_chars_start().str.slice(0, _HEAD_CHARS).str.to_lowercase().to_frame("head")
    return heads.select((head.str.contains(_LEAD_END) & redone) | head.str.contains(_LABEL)).to_series()


def maybe_emoji(texts: pl.Series) -> pl.Series:
    """Whether a text could hold emoji or emoticons; false only where it surely holds none."""
    return texts.str.contains(_MAYBE_EMOJI)


def maybe_tag(texts: pl.Series) -> pl.Series:
    """Whether a text could hold a role tag; false only where it surely holds none."""
    from cai.text.roles import MAYBE

    return texts.str.contains(MAYBE.pattern)


def _flagged(texts: pl.Series, maybe: pl.Series, flag: Callable[[str], object], name: str) -> pl.Series:
    """The predicate, asked only of the texts that pass the screen."""
    places = maybe.fill_null(False).arg_true()
    flags = [bool(flag(text)) for text in texts.gather(places)]
    hit = places.filter(pl.Series(flags, dtype=pl.Boolean))
    return pl.Series(name, range(texts.len()), dtype=pl.UInt32).is_in(hit.implode())


def _most_often(texts: pl.Series, count: Callable[[str], int]) -> pl.Series:
    """How often the commonest sentence is said outside protected regions; 1 where no part stands three times."""
    places = repeats(texts, cut=CUTS, times=3, least_chars=1).arg_true()
    counts = [count(text) for text in texts.gather(places)]
    found = pl.DataFrame({"place": places, "n": counts}, schema={"place": pl.UInt32, "n": pl.Int64})
    all_rows = pl.DataFrame({"place": pl.Series(range(texts.len()), dtype=pl.UInt32)})
    return (
        all_rows.join(found, on="place", how="left", maintain_order="left")
        .get_column("n")
        .fill_null(1)
        .alias("n_same_sentence")
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Accounting with revisions and dropped rows, and the shares of what a rule may leave."""
    found = Facts()
    unsorted(found, rows, TABLE.key)
    revisions, dropped, key = parents["revisions"], parents["dropped"], list(TABLE.key)
    found.count("n_also_dropped", ids(rows.join(dropped, on=key, how="semi"), key))
    settled = pl.concat([rows.select(key), dropped.select(key)])
    found.count("n_revisions_lost", ids(revisions.join(settled, on=key, how="anti"), key))
    n, with_text = rows.height, revisions.filter(~pl.col("no_text")).height
    found.share("kept", min(n, with_text), with_text)
    for name in ("near_repeat", "meta_talk", "unfinished"):
        asked = rows.get_column(name).drop_nulls()
        found.share(name, int(asked.sum()), asked.len())
    texts = rows.get_column("text_hash").value_counts(sort=True).get_column("count")
    found.share("same_text", int(texts[0]) if n else 0, n)
    closing_facts(rows.get_column("final_sentence"), found)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the cleaned revisions."""
    times = thresholds.max_times_a_sentence
    return [
        n_rows(thresholds.min_rows, sizes.get("revisions"), "there are rows, and no more than revisions"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        never("unknown", "every row is a revision that has a text"),
        never("unlike_revision", "split, prompt, turns, principle, response and critique are the revision's own"),
        zero("n_also_dropped", "no row is both kept and dropped"),
        zero("n_revisions_lost", "every revision is kept or dropped"),
        never("blank", "no text is blank"),
        within("n_chars", thresholds.min_chars, thresholds.max_chars, "the text is neither near-empty nor endless"),
        never("failed", "no failed row is kept"),
        never("wrongly_cut", "only rows that the token budget ended are marked as cut"),
        never("copies_response", f"a revision of more than {SHORT_WORDS} words differs from the response"),
        never("copies_critique", "the revision differs from the critique"),
        never("emoji_run", "no text holds a run of emoji"),
        never("role_tag", "no text holds a role tag or a template token"),
        never("preamble", "no text opens with talk about the revision"),
        within(
            "n_same_sentence",
            0,
            times,
            f"no sentence is said more than {times} times outside lists, code, tables and quotes",
        ),
        share_at_least("kept", thresholds.min_kept_share, "enough of the revisions are left"),
        share_at_most("near_repeat", thresholds.max_near_repeat_share, "few texts say ten words in a row three times"),
        share_at_most(
            "meta_talk", thresholds.max_meta_talk_share, "few texts talk about an answer instead of giving one"
        ),
        share_at_most("unfinished", thresholds.max_unfinished_share, "few texts stop in the middle of a sentence"),
        share_at_most("same_text", thresholds.max_same_text_share, "no single text is given again and again"),
        share_at_most(
            "shared_closing", thresholds.max_shared_closing_share, "no closing sentence is shared across rows"
        ),
        share_at_least(
            "distinct_closings", thresholds.min_distinct_closings_share, "closing sentences differ from row to row"
        ),
    ]
