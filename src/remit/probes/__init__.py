"""Attacks on approvals, each made here on a real runtime over a real store: `python -m remit.probes` runs them.

Every probe is an async function whose name is the guarantee and whose docstring is the attack. It gets a
`Ground`, a world of its own in an empty folder, and raises AssertionError where the attack wins. Rulings are
signed with keys made in memory, in the format of `ssh-keygen -Y sign`.
"""
