"""The journal and its folds: the only layer that stores anything."""
