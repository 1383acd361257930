"""From a table to a problem: look at it, infer what can be inferred, refuse what would mislead, write problems/NAME.

`source` reads, `kinds` says what each column is, `target`, `time` and `leaks` judge, `plan` decides, `write` writes.
Nothing here is used by the loop itself: what it writes is ordinary code, and the user's from then on.
"""
