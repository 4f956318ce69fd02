"""For policy owners: cases and their coverage, explanations, differences, and backtests. Pure, over the core.

Read in this order: `toolset` (which tools there are), `casefiles` (what `*.cases.yaml` may say), `situations` (a case
made into what a decision sees), `cases` (playing them), `coverage`, `explain`, `diff`, `backtest`, `reports` (for
other programs: SARIF, JUnit).
"""
