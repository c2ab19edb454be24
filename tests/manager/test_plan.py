"""Which processes offer what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.errors import ConfigurationError
from geartrain.manager.plan import COMMON, FunctionPlan, plan


def offers(function: str, processes: int, **functions: FunctionPlan) -> int:
    """How many of all processes offer a function."""
    return sum(
        function not in group.withheld(seat + 1) and group.only in ("", function)
        for group in plan(processes, functions)
        for seat in range(group.processes)
    )


def test_without_plans_all_processes_offer_everything() -> None:
    assert offers("wc", 4) == 4


def test_a_dedicated_function_is_offered_by_its_own_processes_alone() -> None:
    groups = plan(2, {"invoice": FunctionPlan(3, dedicated=True)})

    assert [(group.name, group.processes) for group in groups] == [(COMMON, 2), ("invoice", 3)]
    assert groups[0].withheld(1) == {"invoice"}
    assert offers("invoice", 2, invoice=FunctionPlan(3, dedicated=True)) == 3


def test_a_function_with_a_number_is_offered_by_so_many_of_the_common_processes() -> None:
    assert offers("resize", 8, resize=FunctionPlan(3)) == 3


def test_functions_with_a_number_do_not_all_fall_to_the_first_processes() -> None:
    common = plan(4, {"a": FunctionPlan(2), "b": FunctionPlan(2)})[0]

    assert [sorted(common.withheld(seat)) for seat in (1, 2, 3, 4)] == [["b"], ["b"], ["a"], ["a"]]


def test_a_process_added_while_running_offers_nothing_that_has_a_number() -> None:
    assert plan(2, {"a": FunctionPlan(2)})[0].withheld(3) == {"a"}


def test_more_than_there_are_is_an_error_that_names_both_ways_out() -> None:
    with pytest.raises(ConfigurationError, match=r"function\.a\.processes = 5.*dedicated = true"):
        plan(4, {"a": FunctionPlan(5)})


def test_no_process_at_all_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"worker\.processes"):
        plan(0, {})


@given(st.integers(1, 9), st.lists(st.integers(1, 9), max_size=5))
def test_every_function_is_offered_exactly_as_often_as_wanted(
    processes: int, counts: list[int]
) -> None:
    plans = {f"f{n}": FunctionPlan(min(count, processes)) for n, count in enumerate(counts)}

    for name, one in plans.items():
        assert offers(name, processes, **plans) == one.processes
