"""The command line: from your file to a model folder, and on to predictions.

`main` reads the arguments; `sources` says how data is read, in parts; the other files are commands.
"""
