"""Detectors over arguments and results, each over a well-kept library. What they find are facts for policies.

Their libraries are an extra: `pip install 'remit[guardrails]'`.
"""
