"""What happened: a timeline for the terminal and one HTML page, both read back from what the platform recorded.

`timeline.timeline` and `timeline.table` are for the terminal, `page.write` for the page. Nothing is decided, written
to a store, or remembered here: anybody can make the same report later from the prediction store and the registry.
"""
