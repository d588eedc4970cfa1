"""The version that the double says it is; ``archive.make_archive`` writes another one here."""

VERSION = "0.33.0"
