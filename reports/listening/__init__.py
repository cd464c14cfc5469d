"""A listening test and back: a blind page from the sounds of a study (`page`), and its ratings as a table (`result`).

The page is MUSHRA [ITU-R BS.1534-3] or pairs against the study's reference. It holds sounds under numbers that say
nothing; which condition a number is stands in the plan beside it, which listeners do not get.
"""
