from normadvisor.rulebook import load_rules
from normadvisor.rulebook.reads import read_written


def test_only_the_rules_on_written_out_operations_ask_for_them():
    assert [rule.id for rule in load_rules().rules.values() if read_written([rule])] == ["NA704", "NA705"]
