"""What is promised, G1 to G9, checked by name on every commit and after every turn.

`folded` follows the log, `keeper` calls the checks; each of the others holds some of the promises.
"""
