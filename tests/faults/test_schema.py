"""One schema: command line and TOML mean the same, errors name what and where, docs are true."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.cli.main import cli
from ctgkit.errors import ScenarioError
from ctgkit.faults.schema import (
    COMMON,
    KINDS,
    FaultError,
    fault_as_dict,
    listing,
    own_parameters,
    parse_fault,
    read_fault,
    tables,
)
from ctgkit.simulate.scenario import parse_scenario

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


@given(st.data())
def test_command_line_and_toml_mean_the_same(data):
    """Any kind with any of its parameters, written both ways, and read back."""
    kind = data.draw(st.sampled_from(list(KINDS)))
    table = {"kind": kind}
    parameters = [*own_parameters(KINDS[kind]), *COMMON.values()]
    for p in data.draw(st.lists(st.sampled_from(parameters), unique_by=lambda p: p.name)):
        if p.words:
            table[p.name] = data.draw(st.sampled_from(p.words))
        elif p.whole:
            table[p.name] = data.draw(st.integers(int(p.low), int(p.high)))
        else:
            table[p.name] = data.draw(st.floats(p.low, p.high))
    if "at" in table or not table.get("from", 0) < table.get("to", 1e9):
        table.pop("from", None)
        table.pop("to", None)
    fault = read_fault(table)
    text = ",".join(f"{name}={value}" for name, value in table.items() if name != "kind")
    assert parse_fault(f"{kind}:{text}" if text else kind) == fault
    assert read_fault(fault_as_dict(fault)) == fault


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("drp", "kind: unknown fault 'drp'; did you mean 'drop'?"),
        ("drop:rat=1", "rat: unknown parameter; did you mean 'rate'?"),
        ("drop:copies=1", "copies: unknown parameter; drop has"),
        ("drop:rate=2", "rate: 2 is outside 0 to 1"),
        ("drop:rate=nan", "rate: expected a number"),
        ("drop:rate", "rate: expected NAME=VALUE"),
        ("drop:rate=1,rate=0", "rate: given twice"),
        ("drop:at=1,from=0", "at: is a single moment: omit from and to"),
        ("drop:from=2,to=2", "to: 2 is not after from, 2"),
        ("reorder:by=1.5", "by: 1.5 is not a whole number"),
        ("corrupt:field=fh", "field: 'fh' is not one of fhr, uterus"),
        ("", "kind: unknown fault ''"),
    ],
)
def test_errors_name_the_parameter(text, complaint):
    with pytest.raises(FaultError) as caught:
        parse_fault(text)
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize(
    ("toml", "key", "reason"),
    [
        ('[[fault]]\nkind = "drop"\n[[fault]]\nkind = "dely"', "fault[1].kind", "'delay'"),
        ('[[fault]]\nkind = "drop"\nrate = "often"', "fault[0].rate", "expected a number"),
        ("[[fault]]\nrate = 1", "fault[0].kind", "missing"),
        ("[[fault]]\nkind = [1]", "fault[0].kind", "unknown fault [1]"),
        ('[fault]\nkind = "drop"', "fault", "expected [[fault]]"),
        ("fault = [3]", "fault[0]", "expected a table"),
        ('[[fault]]\nkind = "drop"\ndirection = "up"', "fault[0].direction", "what it sends"),
    ],
)
def test_errors_in_scenarios_carry_their_path(toml, key, reason):
    """As for any other part of a scenario."""
    with pytest.raises(ScenarioError) as caught:
        parse_scenario("mine", lambda name: toml)
    assert caught.value.key == key
    assert reason in caught.value.reason
    assert caught.value.exit_code == 4


def test_scenarios_add_faults_to_those_that_they_extend():
    texts = {
        "base": '[[fault]]\nkind = "drop"\nrate = 0.1',
        "mine": '[meta]\nextends = "base"\n[[fault]]\nkind = "partition"\nat = 60\nfor = 5',
    }
    scenario = parse_scenario("mine", texts.__getitem__)
    assert [fault_as_dict(f) for f in scenario.faults] == [
        {"kind": "drop", "rate": 0.1}, {"kind": "partition", "for": 5.0, "at": 60.0},
    ]  # fmt: skip


@pytest.mark.parametrize("command", [["sensor"], ["proxy", "--listen", "0", "--to", "ws://x"]])
def test_the_command_line_exits_with_2(command):
    """With the whole text of the fault, and what is near."""
    done = CliRunner().invoke(cli, [*command, "--fault", "drop:rat=1"], prog_name="ctgkit")
    assert done.exit_code == 2
    assert "drop:rat=1: rat: unknown parameter; did you mean 'rate'?" in done.output


def test_the_page_has_the_tables_of_the_schema():
    """After a change put what `ctgkit.faults.schema.tables()` returns into docs/faults.md."""
    assert tables() in PAGE.read_text()


def test_toml_of_the_page_is_valid():
    """Its example parses."""
    toml = PAGE.read_text().partition("```toml\n")[2].partition("```")[0]
    faults = [read_fault(table) for table in tomllib.loads(toml)["fault"]]
    assert len(faults) >= 2


def test_the_list_names_every_fault_and_parameter():
    text = "\n".join(listing())
    done = CliRunner().invoke(cli, ["proxy", "--list"], prog_name="ctgkit")
    assert (done.exit_code, done.output) == (0, text + "\n")
    for kind, cls in KINDS.items():
        assert kind in text
        for parameter in own_parameters(cls):
            assert f"{parameter.name}=" in text
