"""Files on disk become pixels that know where they are."""
