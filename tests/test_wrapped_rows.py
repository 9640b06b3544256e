"""A file whose one object holds the rows somewhere within: the way to them is named."""

import json
from typing import Any

import pytest

from external_rows import GOLD, write
from paribus.data.rows import read_rows
from paribus.errors import DataError

WRAPPED: list[tuple[Any, str, str]] = [  # around the rows, under which key they are, jq's program
    ({"samples": GOLD}, "'samples'", ".samples[]"),
    ({"version": 1, "results": GOLD}, "'results'", ".results[]"),
    ({"data": {"test": GOLD}}, "'test' in 'data'", ".data.test[]"),
    ({"my rows": GOLD}, "'my rows'", '.["my rows"][]'),
    ({"a": [1], "b": {"c": {"1": GOLD}}}, "'1' in 'c' in 'b'", '.b.c["1"][]'),
]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(("value", "named", "program"), WRAPPED)
def test_rows_within_an_object_are_named_with_the_way_to_them(
    tmp_path, value, named, program, indent
):
    file = tmp_path / "x.json"
    file.write_text(json.dumps(value, indent=indent))
    with pytest.raises(DataError) as told:
        list(read_rows(file))
    assert told.value.message.endswith(f"holds the rows as a list under {named}")
    assert f"jq -c '{program}' FILE" in told.value.remedy


ROWS_WITH_LISTS: list[dict[str, Any]] = [
    {"question": "?", "answer": "#### 1", "messages": [{"role": "user"}]},
    {"completion": "a", "steps": [{"n": 1}]},
    {"doc": {"shots": [{"question": "?"}]}, "resps": [["a"]]},
]


@pytest.mark.parametrize("row", ROWS_WITH_LISTS)
def test_a_row_that_holds_a_list_is_a_row(tmp_path, row):
    assert [found for _, found in read_rows(write(tmp_path / "x.jsonl", [row]))] == [row]
