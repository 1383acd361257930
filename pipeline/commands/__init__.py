"""The commands of `loop`, by subject. Each imports what it needs when it runs; none holds logic."""
