"""The proof: an independent look at a loaded copy, beside its source and before the swap, for what must not be there.

It shares no code with masks, policy or copy, and imports `seedtool.postgres` and `seedtool.errors` alone: a fault of
theirs is then none of the proof.
"""

from seedtool.refreshing.proof.prove import Classified, Count, Finding, Given, Proof, compare_structure, prove

__all__ = ["Classified", "Count", "Finding", "Given", "Proof", "compare_structure", "prove"]
