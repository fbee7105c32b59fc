"""Statements grow without mixing up values, and names are quoted in one way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_clickhouse.statement import EMPTY, ParameterClash, Statement, identifier, join, value


def test_fragments_join_with_their_values():
    where = join(" AND ", ["deleted = 0", Statement("node_id = ") + value("node", "UUID", "n1"), EMPTY])
    assert where == Statement("deleted = 0 AND node_id = {node:UUID}", {"node": "n1"})


def test_the_same_value_may_be_used_twice_but_not_two_values_under_one_name():
    once = value("ws", "String", "demo")
    assert join(" ", [once, once]).parameters == {"ws": "demo"}
    with pytest.raises(ParameterClash, match="'ws' has two values"):
        once + value("ws", "String", "other")


def test_text_goes_before_and_after():
    assert "SELECT " + value("n", "UInt8", 1) + " AS n" == Statement("SELECT {n:UInt8} AS n", {"n": 1})


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("events", "`events`"), ("a.b", "`a.b`"), ("we`ird", "`we\\`ird`"), ("back\\slash", "`back\\\\slash`")],
)
def test_identifier_quotes_everything(name, quoted):
    assert identifier(name) == quoted


@pytest.mark.parametrize("name", ["", "nul\0"])
def test_identifier_refuses_what_is_no_name(name):
    with pytest.raises(ValueError, match="no name"):
        identifier(name)


@given(st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_a_quoted_name_closes_where_it_ends(name):
    inner = identifier(name)[1:-1]
    unescaped, position = [], 0
    while position < len(inner):
        assert inner[position] != "`", "a bare backtick would end the name early"
        position += inner[position] == "\\"
        unescaped.append(inner[position])
        position += 1
    assert "".join(unescaped) == name


def test_a_parameter_name_cannot_carry_sql():
    with pytest.raises(ValueError, match="no name of a parameter"):
        value("x:String} OR {y", "String", 1)
