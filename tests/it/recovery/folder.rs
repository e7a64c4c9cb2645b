//! What becomes of a folder of checkpoints: clean stops, damage, other processes, changed apps.
