import pytest

from benchmarks.page import fill


def test_only_what_stands_between_the_comments_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- t -->\nold\n<!-- end of t -->\nb\n<!-- u -->\n<!-- end of u -->\n")
    fill(page, "t", "new\n")
    fill(page, "t", "newer")
    assert page.read_text() == (
        "a\n<!-- t -->\n\nnewer\n\n<!-- end of t -->\nb\n<!-- u -->\n<!-- end of u -->\n"
    )
    with pytest.raises(ValueError, match="has no place for 'v'"):
        fill(page, "v", "")
