"""The training and the evaluation of the starter models: everything from words and a grammar of our own."""
