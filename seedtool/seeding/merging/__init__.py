"""The parts of `merge.seed`: staging, images, checks, the ledger, pruning, writing."""
