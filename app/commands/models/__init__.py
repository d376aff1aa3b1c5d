"""`charlie models`: one file manages the files of models, one says which would fit."""
