from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.protocol.text import MAX_COMBINING_RUN, clean, preview

HIDDEN = (
    [chr(code) for code in range(0x20) if chr(code) not in "\n\t\r"]
    + [chr(code) for code in range(0x7F, 0xA0) if code != 0x85]
    + [chr(code) for code in range(0x202A, 0x202F)]
    + [chr(code) for code in range(0x2066, 0x206A)]
    + ["\u200e", "\u200f", "\u061c"]  # bidi marks
    + ["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u034f", "\u180e"]
    + [chr(code) for code in range(0xE0000, 0xE0080)]
    + [chr(code) for code in range(0xE0100, 0xE01F0)]
    + [chr(code) for code in range(0xFE00, 0xFE10)]
    + [chr(code) for code in range(0xD800, 0xE000)]
    + ["\u115f", "\u1160", "\u3164", "\uffa0", "\u2061", "\u2064", "\ufff9", "\ufffb"]
)


def test_everything_that_cannot_be_seen_is_removed() -> None:
    left = [hex(ord(letter)) for letter in HIDDEN if clean(f"a{letter}é") != "aé"]

    assert left == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Plain text, with\ttab and\nnewline.",
        "Grüße aus Köln",
        "日本語のテキスト",
        "ไทย มีสระ",
        "नमस्ते",
        "שלום עולם",
        "مرحبا",
        "😀🎉",
        "a" * 100_000,
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == unicodedata.normalize("NFC", text)


def test_plain_ascii_is_returned_without_a_copy() -> None:
    text = "The quick brown fox\n" * 100

    assert clean(text) is text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[1;38;5;196mred\x1b[m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9d0;title\x9ctext", "text"),
        ("\x1bP1$r\x1b\\text", "text"),
        ("\x1b(Btext", "text"),
        ("\x1bctext", "text"),
        ("\x1b[2J\x1b[Htext", "text"),
        ("text\x1b", "text"),
        ("text\x1b[", "text"),
        ("\x1b]0;never ended", "0;never ended"),
        ("\x1b\x1b[31m[31mtext", "[31mtext"),
        ("overwritten\rtext", "overwritten\ntext"),
        ("windows\r\nline", "windows\nline"),
        ("one\u2028two\u2029three\x85four", "one\ntwo\nthree\nfour"),
        ("e\u0301", "é"),
        ("\u202egnp.exe", "gnp.exe"),
        ("zero\u200bwidth", "zerowidth"),
    ],
)
def test_what_only_a_terminal_or_a_model_would_see_is_gone(text: str, seen: str) -> None:
    assert clean(text) == seen


@given(st.text(alphabet=st.characters()) | st.text(alphabet=[*HIDDEN, "a", "[", "]", "m", "́"]))
def test_cleaning_never_raises_is_idempotent_and_leaves_nothing_hidden(text: str) -> None:
    cleaned = clean(text)

    assert clean(cleaned) == cleaned
    assert not set(cleaned) & set(HIDDEN)
    assert unicodedata.is_normalized("NFC", cleaned)
    cleaned.encode()


STACKS = [
    "a",
    "\u0300",
    "\u0344",
    "\u0f73",
    "\u0323",
    "\U0001d15e",
    "\U0001d160",
    "\U0001d1c0",
    "\U0001d165",
    "\U00011729",
]


@given(st.text(alphabet=[*STACKS, "\U0001e8d0", "\U000e0041", "\u09c7", "\u09be", "\u1100", "\u1161"], max_size=60))
def test_cleaning_twice_changes_nothing_where_composing_makes_marks_of_one_character(text: str) -> None:
    cleaned = clean(text)

    assert clean(cleaned) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)


def test_a_note_that_is_taken_apart_below_a_tower_is_cut_with_it() -> None:
    tower = clean("\U0001d1c0\u0346\U0001e016\u035b\U00011729\u0368\u032c\U0001112e")

    assert clean(tower) == tower
    assert len(tower) == 1 + MAX_COMBINING_RUN


def test_no_character_of_unicode_comes_out_hidden_or_changes_twice() -> None:
    everything = "x".join(map(chr, range(sys.maxunicode + 1)))

    cleaned = clean(everything)

    assert clean(cleaned) == cleaned
    assert not set(cleaned) & set(HIDDEN)


@pytest.mark.parametrize("marks", ["\u0315\u0300", "\u0344", "\u0f73", "\u0f71\u0f73\u0f81"])
def test_a_tower_of_marks_is_cut_and_takes_no_time(marks: str) -> None:
    # Composing such a run unbounded takes a minute: its marks are sorted by insertion.
    tower = "a" + marks * 60_000

    started = time.process_time()
    cleaned = clean(tower)

    assert len(cleaned) <= MAX_COMBINING_RUN + 1
    assert clean(cleaned) == cleaned
    assert time.process_time() - started < 5


def test_every_character_that_composing_would_sort_counts_as_a_mark() -> None:
    # What Unicode adds tomorrow is found here, not by an attacker.
    for code in range(sys.maxunicode + 1):
        decomposed = unicodedata.normalize("NFD", chr(code))
        if unicodedata.combining(decomposed[0]):
            assert len(clean("a" + chr(code) * 1000)) <= 3 * MAX_COMBINING_RUN + 1, hex(code)


def test_a_hostile_megabyte_takes_no_time() -> None:
    hostile = ["\x1b]" * 500_000, "\x9d" * 1_000_000, "\x1b[" + "0" * 1_000_000, "\x1b[0" * 300_000]

    started = time.process_time()
    for text in hostile:
        clean(text)

    assert time.process_time() - started < 5


MEGABYTES = {
    "runs of 29": ("a" + "\u0315\u0300" * 15)[:30] * 33_333,
    "runs of 8, last first": "a\u0345\u035c\u0301\u0323\u031b\u0327\u0334\u0315" * 111_111,
    "marks of two parts": "a\u0344" * 500_000,
    "marks alone": "\u0315\u0300" * 500_000,
    "marks that do not sort": "\u0f73" * 1_000_000,
    "marks beyond the first plane": "a\U0001e8d0\U0001d165" * 333_333,
    "Greek taken apart": "\u03b1\u0345\u0300\u0313" * 250_000,
    "every mark": "".join(map(chr, range(0x300, 0x370))) * 9_000,
    "compatibility ideographs": "\uf900" * 1_000_000,
    "jamo": "\u1100\u1161\u11a8" * 333_333,
    "emoji": "😀" * 1_000_000,
    "zero width": "a\u200b" * 500_000,
    "tags": "\U000e0041" * 1_000_000,
    "escapes": "\x1b[" * 500_000,
    "line breaks": "\r\n" * 500_000,
    "notes": "\U0001d15e\U0001d1c0" * 500_000,
    "all of Unicode": "".join(map(chr, range(0x80, 0x110000)))[:1_000_000],
}


@pytest.mark.parametrize("text", MEGABYTES.values(), ids=MEGABYTES)
def test_the_work_for_a_character_is_bounded_whatever_it_is(text: str) -> None:
    """A megabyte takes about 0.1 s; a run of 29 marks took 3 s, and one of 100,000 half a minute."""
    started = time.process_time()
    cleaned = clean(text)
    assert time.process_time() - started < 2
    assert len(cleaned) <= 3 * len(text)
    assert clean(cleaned[:10_000]) == cleaned[:10_000], "a page of clean text is clean"


def test_no_mark_of_any_kind_makes_a_tower() -> None:
    for mark in ("\u0301", "\u0e31", "\u20dd", "\u0488", "\U0001e8d0"):
        assert len(clean("a" + mark * 1_000)) <= MAX_COMBINING_RUN + 1, hex(ord(mark))


def test_blank_braille_and_the_marks_before_numbers_are_removed() -> None:
    unseen = (
        "\u2800\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u08e2\u0890\u0891\U000110bd\U00013430\ufffe\U0001fffe"
    )
    assert clean(f"a{unseen}b") == "ab"
    assert clean("\u2801") == "\u2801"


def test_every_format_character_of_unicode_is_removed() -> None:
    left = [
        hex(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Cf" and clean(chr(code))
    ]
    assert left == []


@given(st.text(), st.integers(1, 100))
def test_a_preview_is_one_short_line(text: str, limit: int) -> None:
    line = preview(text, limit)

    assert len(line) <= limit
    assert "\n" not in line
    assert line == line.strip()


def test_a_preview_ends_in_an_ellipsis_only_when_it_was_cut() -> None:
    assert preview("a\n b\t c") == "a b c"
    assert preview("x" * 64) == "x" * 64
    assert preview("x" * 65) == "x" * 63 + "…"
    assert preview("word " * 1_000_000, 12) == "word word w…"
    assert preview("\u200b" * 1000) == ""
