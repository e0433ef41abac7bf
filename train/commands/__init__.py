"""The commands of `python -m train`, one a file: its options, and what it does."""
