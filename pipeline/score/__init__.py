"""Batch scoring: a table of any size through a registered model, in bounded memory. What `loop score` does.

read (source) → decode and check (decode) → features and look-ups (prepare) → graph → write (sink), each stage a thread
ahead of the next (stages). What was scored is in a journal, from which a killed run goes on. No prediction is logged:
the prediction log is about what was answered.
"""
