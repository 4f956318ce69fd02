"""The parts of `remit.core.conditions`: CEL, checked by Google's checker and evaluated by us.

Read in this order: `values` (what a value is), `times`, `functions` (what the operators do), `shapes` (JSON
Schema), `syntax` (the checked tree, decoded), `dialect` (what the checker is told), `tree` (the tree we
evaluate), `interpret` (the meaning, and explanations), `compiler` (the same meaning, fast), `guards`, `choices`,
`problems`, `unparse`.
"""
