"""`remit policy shadow`."""

from __future__ import annotations

from shops import POLICY, Shell, is_harmless

LATER = """
policy: later
mode: shadow
rules:
  - {id: much, tools: [pay], deny: args.amount > 5, because: "{{args.amount}} to {{args.to}}"}
  - {id: rest, tools: [hang], deny: "true"}
"""


def test_shadow_says_what_would_have_been_and_changes_nothing(shell: Shell) -> None:
    assert shell("run", "--input", "amounts:=[3, 7]").code == 0
    shell.write({"policies/later.yaml": LATER})
    assert shell("run", "--input", "amounts:=[3, 7, 8]", "--input", "to=A\x1b[2J").code == 0
    assert shell("run", "--input", "amounts:=[2000]").code == 1
    rows = {row["rule"]: row for row in shell("policy", "shadow", "--json").rows}
    assert rows["later/much"]["calls"] == 4 and rows["later/much"]["applied"] == 3
    assert rows["later/much"]["changes"] == [{"was": "allow", "would_be": "deny", "calls": 2}]
    assert rows["later/rest"]["applied"] == rows["later/rest"]["calls"] == 0 and rows["later/rest"]["newest"]
    text = shell("policy", "shadow")
    assert text.code == 0 and "denied 3" in text.out and "was allow, would be deny: 8 to A" in text.out
    assert is_harmless(text.out.replace("\n", ""))
    assert shell("audit", "export", "--all", "-o", "e").code == 0
    export = shell("policy", "shadow", "--export", "e", "--json").rows
    assert {row["rule"]: row for row in export} == rows
    assert shell("policy", "shadow", "--since", "2999-01-01T00:00:00Z", "--json").rows[0]["calls"] == 0
    assert shell("policy", "shadow", "--since", "soon").code == 2
    (shell.folder / "policies/later.yaml").unlink()
    shell.write({"policies/shop.yaml": POLICY.replace("args.amount <= 10", "args.amount <= 11")})
    assert shell("run", "--input", "amounts:=[3]").code == 0
    assert {row["newest"] for row in shell("policy", "shadow", "--json").rows} == {False}


def test_without_a_rule_in_shadow_it_says_so(shell: Shell) -> None:
    assert shell("run", "--input", "amounts:=[3]").code == 0
    assert shell("policy", "shadow").err == "no rule is, or was, in mode shadow\n"
    assert shell("policy", "shadow", "--json").rows == []
