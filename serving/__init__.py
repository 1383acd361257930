"""The model server: answers requests with what the registry has released. It decides nothing and trains nothing."""
