"""Why was this answered? From the id of one prediction: what was asked, what the model saw, where the model is from.

It reads the prediction store, the online store and the registry, and changes nothing.
"""
