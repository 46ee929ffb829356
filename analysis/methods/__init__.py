"""The methods of attribution: each module yields the rows of one question about one task of a study."""
