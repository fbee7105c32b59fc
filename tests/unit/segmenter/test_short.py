"""However many rules a workspace has, no question about them is longer than the store reads well."""

from typing import Any

import pytest

from cdp_segmenter.due import due_sql
from cdp_segmenter.rules.columns import Columns
from cdp_segmenter.rules.decide import Decided, together
from cdp_segmenter.rules.parse import parse
from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.rules.short import LONGEST_TEXT, in_short
from cdp_segmenter.rules.sql import members_sql
from tests.fakes.segmenter import MS, NOW

CHEAP = {"field": "computed.ltv", "operator": ">", "value": 1}


def buyers(number: int) -> dict[str, Any]:
    """Who bought something of one category within some days, a few times."""
    of_category = {"property": "category", "operator": "=", "value": f"category {number}"}
    bought = {"property": "products[]", "operator": "any", "where": [of_category]}
    return {"event": f"Bought {number}", "timeWindow": f"P{1 + number}D", "filters": [bought]}


@pytest.mark.parametrize("many", [1, 2, 500, 1001])
def test_rules_are_asked_about_in_their_order_in_questions_of_bounded_length(many: int) -> None:
    rules = [parse(buyers(number)) for number in range(many)]
    asked = in_short(
        rules, lambda some: (some, members_sql(some, Scope("w", NOW))), lambda question: len(question[1].sql)
    )
    assert [rule for some, _ in asked for rule in some] == rules
    assert max(len(question.sql) for _, question in asked) <= LONGEST_TEXT
    assert all(columns.longest(NOW) <= LONGEST_TEXT for columns in in_short(rules, Columns, lambda c: c.longest(NOW)))
    assert max(len(question.sql) for question in due_sql(rules, "w", NOW - MS, NOW)) <= LONGEST_TEXT


def test_few_rules_are_one_question() -> None:
    rules = [parse(CHEAP)] * 100
    assert len(in_short(rules, Columns, lambda columns: columns.longest(NOW))) == 1


def test_one_rule_is_one_question_however_long() -> None:
    assert in_short([parse(CHEAP)], list, lambda _: LONGEST_TEXT + 1) == [[parse(CHEAP)]]


def test_what_parts_of_the_rules_decide_is_one_decision() -> None:
    """Whoever may turn is looked at again when the first of all rules may turn."""
    whole = together([Decided([0b01, 0b10], {0: 50, 1: 70}), Decided([0b11], {1: 60, 2: 80})])
    assert whole == Decided([0b01, 0b10, 0b11], {0: 50, 1: 60, 2: 80})
