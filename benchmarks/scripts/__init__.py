"""How well, on what, and how fast the script rules work: a labelled corpus, installed packages, time."""
