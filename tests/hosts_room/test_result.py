"""What a failed script tells."""

from orchestrator.hosts.base import Result


def test_the_tail_has_no_colours_and_no_cursor_moves() -> None:
    said = "\x1b[?25l\x1b[2K\x1b[1Ggathering \x1b[K\x1b[?25h\n\x1b[31mError: unexpected EOF\x1b[0m\n"
    assert Result(1, "", said).tail() == "gathering \nError: unexpected EOF"
    assert Result(1, "only this", "\x1b[K").tail() == "only this"
    assert Result(1, "", "a\nb\nc").tail(2) == "b\nc"
