"""Tables: columns out of files and frames, what they hold, and how they become the numbers that a network reads."""
