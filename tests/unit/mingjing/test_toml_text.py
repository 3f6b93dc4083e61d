import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mingjing.toml_text import toml_text

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = texts | st.integers(-(2**63), 2**63 - 1) | st.booleans()
flat = st.dictionaries(names, scalars | st.lists(texts, max_size=4), max_size=4)
tables = st.dictionaries(names, scalars | flat | st.lists(flat, min_size=1, max_size=3), max_size=5)


@given(tables)
def test_what_is_written_is_read_back(table: dict[str, Any]) -> None:
    """Any text, number or nesting that settings use survives the way through the file."""
    assert tomllib.loads(toml_text(table, heading="made by a test\n两行")) == table
